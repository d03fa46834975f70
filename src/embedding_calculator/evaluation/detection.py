"""How well faces are found: found boxes against annotated boxes, or against annotated noses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation.tables import read_table

Indices: TypeAlias = NDArray[np.intp]
Doubles: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]

EDGES = ("x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True, slots=True)
class Score:
    """Counts over a set of photos. Faces too small to matter are in none of them."""

    hits: int
    misses: int
    false: int

    @property
    def recall(self) -> float:
        """Share of the annotated faces that were found; NaN where there are none."""
        return _share(self.hits, self.hits + self.misses)

    @property
    def precision(self) -> float:
        """Share of the found boxes that are faces; NaN where nothing was found."""
        return _share(self.hits, self.hits + self.false)


@dataclass(frozen=True, slots=True, eq=False)
class Mistakes:
    """What is wrong with one photo's boxes: the rows of the faces ``missed``, and of the boxes that are ``false``."""

    missed: Indices
    false: Indices

    def __len__(self) -> int:
        return len(self.missed) + len(self.false)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision and recall ``(N,)`` at every threshold, the highest threshold first."""

    thresholds: Doubles
    precision: Doubles
    recall: Doubles
    average_precision: float


def read_boxes(path: Path) -> dict[str, Floats]:
    """Photo name -> its faces ``(N, 4)``, from a CSV with image, x_min, y_min, x_max, y_max.

    A row with empty coordinates says that a photo has no face.

    Raises:
        ParameterError: a column is absent, or a coordinate is not a number.
    """
    return _read_points(path, EDGES)


def read_noses(path: Path) -> dict[str, Floats]:
    """Photo name -> its faces' noses ``(N, 2)``, from a CSV with image, nose_x, nose_y; else as ``read_boxes``."""
    return _read_points(path, ("nose_x", "nose_y"))


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of every pair: ``(N, 4)``, ``(M, 4)`` -> ``(N, M)``."""
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None] + (others[:, 2:] - others[:, :2]).prod(axis=1)
    result: Floats = shared / (areas - shared)
    return result


def match_boxes(annotated: Floats, found: Floats, overlap: float) -> Indices:
    """Which annotated face each found box is: ``(M, 4)``, ``(N, 4)`` -> ``(N,)``, -1 for none.

    ``found`` has the most probable first; each takes the face it overlaps most of those still free, if by ``overlap``
    or more, as the PASCAL VOC challenge counts.
    """
    taken = np.full(len(found), -1, np.intp)
    free = np.ones(len(annotated), bool)
    if len(annotated):
        for number, row in enumerate(overlaps(found, annotated)):
            candidates = np.where(free, row, -1)
            best = int(candidates.argmax())
            if candidates[best] >= overlap:
                free[best] = False
                taken[number] = best
    return taken


def match_noses(noses: Floats, found: Floats) -> Indices:
    """Which nose each found box holds, every nose in one box at most: ``(M, 2)``, ``(N, 4)`` -> ``(N,)``, -1 for none.

    As many boxes as possible get a nose, so that two heads close together are not counted as a mistake.
    """
    inside = np.all((noses >= found[:, None, :2]) & (noses <= found[:, None, 2:]), axis=2)
    holder = np.full(len(noses), -1, np.intp)

    def place(box: int, tried: set[int]) -> bool:
        for nose in np.flatnonzero(inside[box]).tolist():
            if nose not in tried:
                tried.add(nose)
                if holder[nose] < 0 or place(int(holder[nose]), tried):
                    holder[nose] = box
                    return True
        return False

    for box in range(len(found)):
        place(box, set())
    taken = np.full(len(found), -1, np.intp)
    placed = holder >= 0
    taken[holder[placed]] = np.flatnonzero(placed)
    return taken


def mistakes(taken: Indices, matters: Flags) -> Mistakes:
    """From what ``match_boxes`` or ``match_noses`` says of a photo, and which of its faces ``(M,)`` matter."""
    missed = matters.copy()
    missed[taken[taken >= 0]] = False
    return Mistakes(np.flatnonzero(missed), np.flatnonzero(taken < 0))


def score_boxes(photos: Iterable[tuple[Floats, Floats]], overlap: float, min_width: float) -> Score:
    """Score of ``(annotated, found)`` boxes a photo; ``found`` with the most probable first.

    Annotated faces narrower than ``min_width`` count neither as misses nor, when found, as false.
    """
    hits = missed = false = 0
    for annotated, found in photos:
        matters = annotated[:, 2] - annotated[:, 0] >= min_width
        taken = match_boxes(annotated, found, overlap)
        hit = taken[taken >= 0]
        hits += int(matters[hit].sum())
        missed += int(matters.sum() - matters[hit].sum())
        false += int((taken < 0).sum())
    return Score(hits, missed, false)


def precision_recall(probabilities: Sequence[float] | Doubles, correct: Sequence[bool] | Flags, faces: int) -> Curve:
    """The curve of all found boxes ``(N,)`` of a set with so many annotated ``faces``.

    The average precision is the area under the curve where precision at a recall is the best at that recall or any
    higher one: the PASCAL VOC challenge's measure since 2010.
    """
    sure, right = np.asarray(probabilities, np.float64), np.asarray(correct, bool)
    order = np.argsort(-sure, kind="stable")
    hits = np.cumsum(right[order])
    # Boxes equally probable are found together or not at all.
    last = np.append(np.diff(sure[order]) != 0, True)[: len(order)]
    precision = (hits / np.arange(1, len(order) + 1))[last]
    recall = hits[last] / max(faces, 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    area = float(np.sum(np.diff(recall, prepend=0) * best))
    return Curve(sure[order][last], precision, recall, area)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _read_points(path: Path, columns: Sequence[str]) -> dict[str, Floats]:
    points: dict[str, list[list[float]]] = {}
    for row in read_table(path, ("image", *columns)):
        faces = points.setdefault(row["image"], [])
        if any(row[column].strip() for column in columns):
            faces.append([_number(row, column, path) for column in columns])
    return {name: np.array(rows, np.float32).reshape(-1, len(columns)) for name, rows in points.items()}


def _number(row: Mapping[str, str], column: str, path: Path) -> float:
    try:
        return float(row[column])
    except ValueError as error:
        raise ParameterError(f"{path}: {row['image']} has {column} {row[column]!r}, which is not a number") from error
