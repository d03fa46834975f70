"""Measures of accuracy against annotated boxes, for tests and benchmarks.

python tests/accuracy.py FOLDER DETECTOR... compares detectors by them.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.library import FaceAnalyzer


@dataclass(frozen=True, slots=True)
class Score:
    """Counts over a set of photos. Faces too small to matter are in none of them."""

    hits: int
    misses: int
    false: int

    @property
    def recall(self) -> float:
        return self.hits / (self.hits + self.misses)

    @property
    def precision(self) -> float:
        return self.hits / (self.hits + self.false)


def read_boxes(path: Path) -> dict[str, Floats]:
    """Photo name -> its faces ``(N, 4)``, from a CSV with image, x_min, y_min, x_max, y_max."""
    faces: defaultdict[str, list[list[float]]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            faces[row["image"]].append([float(row[edge]) for edge in ("x_min", "y_min", "x_max", "y_max")])
    return {name: np.array(boxes, np.float32) for name, boxes in faces.items()}


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of every pair: ``(N, 4)``, ``(M, 4)`` -> ``(N, M)``."""
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None] + (others[:, 2:] - others[:, :2]).prod(axis=1)
    result: Floats = shared / (areas - shared)
    return result


def score_boxes(photos: Iterable[tuple[Floats, Floats]], overlap: float, min_width: float) -> Score:
    """Score of ``(annotated, found)`` boxes a photo; ``found`` with the most probable first.

    Each found box takes the annotated face it overlaps most of those still free, if by ``overlap`` or more.
    Annotated faces narrower than ``min_width`` count neither as misses nor, when found, as false.
    """
    hits = misses = false = 0
    for annotated, found in photos:
        matters = annotated[:, 2] - annotated[:, 0] >= min_width
        free = np.ones(len(annotated), bool)
        for row in overlaps(found, annotated):
            candidates = np.where(free, row, -1)
            best = int(candidates.argmax())
            if candidates[best] >= overlap:
                free[best] = False
            else:
                false += 1
        hits += int((matters & ~free).sum())
        misses += int((matters & free).sum())
    return Score(hits, misses, false)


def main(folder: Path, *detectors: str) -> None:
    """Print recall and precision of detectors on a folder with boxes.csv and images/, as lines of a Markdown table."""
    annotated = read_boxes(folder / "boxes.csv")
    edges = ("x_min", "y_min", "x_max", "y_max")
    for detector in detectors:
        analyzer = FaceAnalyzer(face_detection_plugin=detector, extra_plugins=())
        pairs = []
        for name, boxes in annotated.items():
            faces = sorted(
                analyzer.find_faces(folder / "images" / name, plugins=()), key=lambda face: -face.box.probability
            )
            found = np.array([[getattr(face.box, edge) for edge in edges] for face in faces], np.float32)
            pairs.append((boxes, found.reshape(-1, 4)))
        score = score_boxes(pairs, overlap=0.4, min_width=24)
        print(f"| `{detector}` | {score.recall:.3f} | {score.precision:.3f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
