"""Masks on faces that are boxed and labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation import plots
from embedding_calculator.evaluation.attributes import Confusion, confusion
from embedding_calculator.evaluation.detection import EDGES, match_boxes, read_boxes
from embedding_calculator.evaluation.people import confusion_summary, confusion_table
from embedding_calculator.evaluation.portraits import FaceFinder
from embedding_calculator.evaluation.report import Report, Section
from embedding_calculator.evaluation.tables import read_table

WORDS = ("without_mask", "with_mask", "mask_weared_incorrect")


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The faces of one photo: boxes ``(N, 4)`` and the word known of each."""

    boxes: Floats
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """``confusion`` is over the faces that were found; ``missed`` counts those that were not."""

    confusion: Confusion
    missed: int

    def summary(self) -> dict[str, Any]:
        """Everything in numbers, for programs."""
        return {"faces": int(self.confusion.counts.sum()), "missed": self.missed, **confusion_summary(self.confusion)}


def read_masks(path: Path) -> dict[str, Labelled]:
    """Photo name -> its faces, from a CSV with image, x_min, y_min, x_max, y_max, mask.

    Raises:
        ParameterError: a column is absent, or a word or a coordinate is not what it should be.
    """
    words: dict[str, list[str]] = {}
    for row in read_table(path, ("image", *EDGES, "mask")):
        if row["mask"] not in WORDS:
            raise ParameterError(
                f"{path}: {row['image']} has the mask {row['mask']!r}; it is one of {', '.join(WORDS)}"
            )
        words.setdefault(row["image"], []).append(row["mask"])
    return {name: Labelled(boxes, tuple(words[name])) for name, boxes in read_boxes(path).items()}


def ask(finder: FaceFinder, photo: bytes) -> dict[str, Any]:
    """Boxes and masks of a photo's faces, the most probable first, for the journal.

    Raises:
        InputError: the photo cannot be used.
    """
    faces = sorted(finder.find_faces(photo, plugins=("mask",)), key=lambda face: -face.box.probability)
    return {
        "boxes": [[getattr(face.box, edge) for edge in EDGES] for face in faces],
        "masks": [face.mask and face.mask.value for face in faces],
    }


def assess(photos: Mapping[str, Labelled], answers: Mapping[str, Mapping[str, Any]], overlap: float) -> Masks:
    """What is known against what ``ask`` told, for every annotated face that a found box overlaps by ``overlap``.

    Raises:
        ParameterError: no annotated face was found.
    """
    known, told, faces = [], [], 0
    for name, labelled in photos.items():
        faces += len(labelled.words)
        boxes = np.asarray(answers[name].get("boxes", ()), np.float32).reshape(-1, 4)
        for found, face in enumerate(match_boxes(labelled.boxes, boxes, overlap)):
            if face >= 0:
                known.append(labelled.words[face])
                told.append(answers[name]["masks"][found])
    if not known:
        raise ParameterError("none of the annotated faces was found")
    return Masks(confusion(known, told), faces - len(known))


def write_report(result: Masks, folder: Path, asked: Sequence[tuple[str, str]]) -> Path:
    """Draw the plot and write ``report.html`` into the folder; returns its path."""
    counts = result.confusion
    faces = int(counts.counts.sum())
    report = Report(
        title="Masks",
        lead=f"Annotated faces found and judged: {faces}. Not found, and not counted: {result.missed}.",
        facts=[
            (f"{counts.accuracy:.1%}".replace("%", " %"), "told right"),
            (f"{counts.balanced_accuracy:.1%}".replace("%", " %"), "told right, every word weighing the same"),
            (str(faces), "faces"),
        ],
        sections=[
            Section(
                "What was known and what was told",
                "",
                plots.save(plots.confusion_matrix(counts), folder, "masks"),
                confusion_table(counts),
            )
        ],
        asked=asked,
    )
    path = folder / "report.html"
    report.write(path)
    return path
