"""Detectors side by side on annotated photos: undetected faces, false detections, precision and recall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.evaluation import plots
from embedding_calculator.evaluation.datasets import AnnotatedPhoto
from embedding_calculator.evaluation.detection import (
    Curve,
    Mistakes,
    Score,
    match_boxes,
    match_noses,
    mistakes,
    precision_recall,
    score_boxes,
)
from embedding_calculator.evaluation.detectors import Bench, find
from embedding_calculator.evaluation.mistakes import draw_mistakes
from embedding_calculator.evaluation.report import Report, Section, Table
from embedding_calculator.imaging.draw import Mark
from embedding_calculator.plugins.base import Detector

LOWEST = 0.05
"""Boxes are asked for down to this probability: a precision-recall curve needs what the threshold hides."""

Answers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Result:
    """What one detector is worth.

    ``missed`` of ``noses`` are in no box of their own, ``false`` of ``boxes`` hold none: at the detector's own
    ``threshold``, counted as the original tool did. ``score`` (at the same threshold) and ``curve`` compare boxes by
    their overlap; they are None where only noses are annotated. ``unreadable`` photos count nowhere.
    """

    threshold: float
    photos: int
    unreadable: int
    missed: int
    noses: int
    false: int
    boxes: int
    score: Score | None
    curve: Curve | None

    @property
    def line(self) -> str:
        """As the original printed it."""
        return f"Undetected faces: {self.missed}/{self.noses}, False face detections: {self.false}/{self.boxes}"

    def summary(self) -> dict[str, Any]:
        """Everything in numbers, for programs."""
        return {
            "threshold": self.threshold,
            "photos": self.photos,
            "unreadable": self.unreadable,
            "undetected_faces": self.missed,
            "faces": self.noses,
            "false_detections": self.false,
            "detections": self.boxes,
            "recall": self.score and self.score.recall,
            "precision": self.score and self.score.precision,
            "average_precision": self.curve and self.curve.average_precision,
        }


def ask(bench: Bench, detector: Detector, photo: bytes) -> dict[str, Any]:
    """Every box down to ``LOWEST``, the most probable first, for the journal.

    Raises:
        InputError: the photo cannot be used.
    """
    found = find(detector, bench.open(photo), LOWEST)
    return {"boxes": found.boxes, "probabilities": found.probabilities}


def found_in(answer: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Boxes ``(N, 4)`` and probabilities ``(N,)`` of what ``ask`` wrote."""
    return (
        np.asarray(answer["boxes"], np.float32).reshape(-1, 4),
        np.asarray(answer["probabilities"], np.float32),
    )


def assess(
    photos: Sequence[AnnotatedPhoto], answers: Answers, threshold: float, overlap: float, min_width: float
) -> Result:
    """Judge what ``ask`` wrote for every photo.

    Args:
        threshold: the detector's own, for everything but the curve.
        overlap: intersection over union from which a box is the annotated face.
        min_width: annotated boxes narrower than this, in pixels, count neither as missed nor as false.
    """
    readable = [photo for photo in photos if "boxes" in answers[photo.name]]
    missed = noses = false = total = 0
    for photo, (boxes, _) in _each(readable, answers, threshold):
        matters, taken = photo.matters(min_width), match_noses(photo.noses, boxes)
        wrong = mistakes(taken, matters)
        missed, noses = missed + len(wrong.missed), noses + int(matters.sum())
        false, total = false + len(wrong.false), total + int((taken < 0).sum() + matters[taken[taken >= 0]].sum())
    boxed = all(photo.boxes is not None for photo in photos)
    return Result(
        threshold=threshold,
        photos=len(readable),
        unreadable=len(photos) - len(readable),
        missed=missed,
        noses=noses,
        false=false,
        boxes=total,
        score=_score(readable, answers, threshold, overlap, min_width) if boxed else None,
        curve=_curve(readable, answers, overlap, min_width) if boxed else None,
    )


def wrong_photos(
    photos: Sequence[AnnotatedPhoto], answers: Answers, threshold: float, overlap: float, min_width: float
) -> list[tuple[AnnotatedPhoto, Mistakes]]:
    """The photos with mistakes at the threshold, the worst first."""
    readable = [photo for photo in photos if "boxes" in answers[photo.name]]
    judged = [
        (photo, mistakes(photo.match(boxes, overlap), photo.matters(min_width)))
        for photo, (boxes, _) in _each(readable, answers, threshold)
    ]
    return sorted((each for each in judged if len(each[1])), key=lambda each: -len(each[1]))


def save_mistakes(
    bench: Bench, photo: AnnotatedPhoto, answer: Mapping[str, Any], threshold: float, wrong: Mistakes, path: Path
) -> None:
    """Draw what one photo's boxes above the threshold got wrong, at most 1200 pixels a side, as JPEG."""
    boxes, probabilities = found_in(answer)
    marks = [
        Mark((box[0], box[1], box[2], box[3]), f"{sure * 100:.0f} %")
        for box, sure in zip(boxes.tolist(), probabilities.tolist(), strict=True)
        if sure > threshold
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_mistakes(bench.open(photo.path.read_bytes()), marks, photo.noses, wrong).save(path, quality=88)


def write_report(
    results: Mapping[str, Result],
    galleries: Mapping[str, Sequence[tuple[Path, str]]],
    folder: Path,
    asked: Sequence[tuple[str, str]],
) -> Path:
    """Draw the curves and write ``report.html`` into the folder; returns its path."""
    first = next(iter(results.values()))
    curves = {name: result.curve for name, result in results.items() if result.curve}
    best = max(curves, key=lambda name: curves[name].average_precision, default=None)
    header = ["detector", "undetected", "false", "recall", "precision", "AP", "threshold"]
    rows = [
        [
            name,
            f"{result.missed} / {result.noses}",
            f"{result.false} / {result.boxes}",
            _percent(result.score.recall) if result.score else "",
            _percent(result.score.precision) if result.score else "",
            f"{result.curve.average_precision:.3f}" if result.curve else "",
            f"{result.threshold:g}",
        ]
        for name, result in results.items()
    ]
    facts = [(str(first.photos), "photos"), (str(first.noses), "annotated faces")]
    if best:
        facts += [
            (f"{curves[best].average_precision:.3f}", f"best average precision: {best}"),
            (_percent((results[best].score or Score(0, 0, 0)).recall), "of the faces found by it"),
        ]
    sections = [
        Section(
            "Detectors side by side",
            "Undetected: no box holds the middle of the face. False: a box that holds no such middle. Recall and "
            "precision compare boxes by their overlap. All at each detector's own threshold.",
            table=Table(header, rows),
        )
    ]
    if curves:
        sections.append(
            Section(
                "Precision and recall",
                "Every point of a curve is a threshold; the higher and the further right, the better. The average "
                "precision (AP) is the area below.",
                plots.save(plots.precision_recall(curves), folder, "precision-recall"),
            )
        )
    sections += [
        Section(
            f"Where {name} is mistaken most",
            "Green: found. Red box: no face is annotated there. Red cross: a face that was not found.",
            gallery=pictures,
        )
        for name, pictures in galleries.items()
        if pictures
    ]
    left = f" {first.unreadable} photos could not be read." if first.unreadable else ""
    lead = f"{len(results)} detector{'s' * (len(results) > 1)} on {first.photos} photos with known faces.{left}"
    path = folder / "report.html"
    Report("Face detection", lead, facts, sections, asked).write(path)
    return path


def _each(
    photos: Sequence[AnnotatedPhoto], answers: Answers, threshold: float
) -> Iterator[tuple[AnnotatedPhoto, tuple[Floats, Floats]]]:
    for photo in photos:
        boxes, probabilities = found_in(answers[photo.name])
        chosen = probabilities > threshold
        yield photo, (boxes[chosen], probabilities[chosen])


def _score(
    photos: Sequence[AnnotatedPhoto], answers: Answers, threshold: float, overlap: float, min_width: float
) -> Score:
    pairs = [(photo.boxes, boxes) for photo, (boxes, _) in _each(photos, answers, threshold) if photo.boxes is not None]
    return score_boxes(pairs, overlap, min_width)


def _curve(photos: Sequence[AnnotatedPhoto], answers: Answers, overlap: float, min_width: float) -> Curve:
    sure: list[Floats] = []
    right: list[Any] = []
    faces = 0
    for photo, (boxes, probabilities) in _each(photos, answers, 0):
        if photo.boxes is not None:
            matters = photo.matters(min_width)
            taken = match_boxes(photo.boxes, boxes, overlap)
            counted = np.array([face < 0 or matters[face] for face in taken.tolist()], bool)
            sure.append(probabilities[counted])
            right.append((taken >= 0)[counted])
            faces += int(matters.sum())
    return precision_recall(np.concatenate([*sure, []]), np.concatenate([*right, np.zeros(0, bool)]), faces)


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
