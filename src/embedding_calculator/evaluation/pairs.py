"""Verification on pairs of photos: is it one person or are they two?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation import plots
from embedding_calculator.evaluation.detection import Doubles
from embedding_calculator.evaluation.portraits import FaceFinder, central
from embedding_calculator.evaluation.report import Report, Section, Table
from embedding_calculator.evaluation.similarity import Coefficients, Distances, Labels, cross_validate, fit
from embedding_calculator.evaluation.similarity import Report as Calibration
from embedding_calculator.evaluation.tables import read_table
from embedding_calculator.evaluation.verification import FoldAccuracy, Folds, Roc, accuracy_by_folds, folds_of, roc
from embedding_calculator.imaging.decode import Limits, open_picture
from embedding_calculator.plugins.embedding import similarity

FALSE_ACCEPTS = (1e-2, 1e-3)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photos by their names, whether they are ``same``, and the ``fold`` they belong to; empty if to none."""

    first: str
    second: str
    same: bool
    fold: str


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """``distances`` and ``same`` are those of the pairs that could be judged; ``left_out`` counts the others.

    ``configured`` are the coefficients that the calculator has now.
    """

    distances: Distances
    same: Labels
    left_out: int
    configured: Coefficients
    folds: FoldAccuracy
    roc: Roc

    @property
    def accuracy_at_half(self) -> float:
        """Share of pairs on the right side of similarity one half."""
        return float(((self.distances < self.configured.c0) == self.same).mean())

    def summary(self) -> dict[str, Any]:
        """Everything in numbers, for programs."""
        return {
            "pairs": len(self.same),
            "left_out": self.left_out,
            "accuracy": self.folds.mean,
            "accuracy_standard_error": self.folds.standard_error,
            "accuracy_by_fold": self.folds.accuracies,
            "threshold_distance": float(np.mean(self.folds.thresholds)),
            "threshold_similarity": self.threshold_similarity,
            "accuracy_at_similarity_half": self.accuracy_at_half,
            "area_under_roc": self.roc.area,
            "true_accepts": {f"{share:g}": self.true_accepts_at(share) for share in FALSE_ACCEPTS},
        }

    def true_accepts_at(self, false_accepts: float) -> float | None:
        """The share of true accepts with so many false ones; None where too few pairs of two people could tell."""
        return self.roc.true_accepts_at(false_accepts) if (~self.same).sum() * false_accepts >= 1 else None

    @property
    def threshold_similarity(self) -> float:
        """The mean of the folds' thresholds, as a similarity."""
        return float(similarity(np.array([np.mean(self.folds.thresholds)]), self.configured)[0])


def read_pairs(path: Path) -> list[Pair]:
    """A CSV with image_a, image_b, same (1 or 0) and perhaps fold.

    Raises:
        ParameterError: a column is absent, or ``same`` is neither 1 nor 0.
    """
    pairs = []
    for row in read_table(path, ("image_a", "image_b", "same")):
        if row["same"] not in {"0", "1"}:
            raise ParameterError(f"{path}: same is {row['same']!r}; it is 1 for two photos of one person, else 0")
        pairs.append(Pair(row["image_a"], row["image_b"], row["same"] == "1", row.get("fold", "")))
    return pairs


def embed(finder: FaceFinder, photo: bytes) -> dict[str, Any]:
    """The embedding of the face nearest to the photo's middle, for the journal; None where there is no face.

    Raises:
        InputError: the photo cannot be used.
    """
    faces = finder.find_faces(photo, plugins=("calculator",))
    face = central(faces, open_picture(photo, limits=Limits(len(photo), 2**31)))
    return {"embedding": None if face is None else face.embedding}


def verify(pairs: Sequence[Pair], answers: Mapping[str, Mapping[str, Any]], configured: Coefficients) -> Verification:
    """Judge the pairs by the embeddings of their photos, as ``embed`` gives them.

    Raises:
        ParameterError: what is left has not at least two pairs of each kind.
    """
    vectors = {
        name: np.asarray(answer["embedding"], np.float64)
        for name, answer in answers.items()
        if answer.get("embedding") is not None
    }
    judged = [pair for pair in pairs if pair.first in vectors and pair.second in vectors]
    same = np.array([pair.same for pair in judged], bool)
    if same.sum() < 2 or (~same).sum() < 2:
        raise ParameterError("there must be at least two pairs of one person and two of different people with faces")
    distances = np.array([_distance(vectors[pair.first], vectors[pair.second]) for pair in judged])
    folds: Folds = folds_of([pair.fold for pair in judged], same)
    by_folds = accuracy_by_folds(distances, same, folds)
    return Verification(distances, same, len(pairs) - len(judged), configured, by_folds, roc(distances, same))


def calibrate(verification: Verification) -> tuple[Coefficients, Calibration]:
    """Coefficients fitted to the pairs, and what such a fit is worth on pairs it has not seen.

    Raises:
        ParameterError: there are fewer than ten pairs of one kind.
    """
    try:
        return (
            fit(verification.distances, verification.same),
            cross_validate(verification.distances, verification.same),
        )
    except ValueError as error:
        raise ParameterError(str(error)) from error


def write_report(verification: Verification, folder: Path, asked: Sequence[tuple[str, str]]) -> Path:
    """Draw the plots and write ``report.html`` into the folder; returns its path."""
    result, folds = verification, verification.folds
    curve = plots.save(plots.roc_curve(result.roc), folder, "roc")
    threshold = result.configured.c0
    histogram = plots.save(plots.distance_histogram(result.distances, result.same, threshold), folder, "distances")
    accepted = [
        (_percent(result.true_accepts_at(share)), f"true accepts at {share * 100:g} % false ones")
        for share in FALSE_ACCEPTS
    ]
    others = int((~result.same).sum())
    least = f"{1 / others:.2%}".replace("%", " %")
    coarse = f" With {others} pairs of two people no share of false accepts below {least} can be told."
    report = Report(
        title="Verification: one person or two?",
        lead=f"{len(result.same)} pairs of photos were judged by the distance of their embeddings"
        + (f"; left out, because a photo shows no face: {result.left_out}." if result.left_out else "."),
        facts=[
            (f"{folds.mean:.2%}".replace("%", " %"), f"accuracy, ± {folds.standard_error * 100:.2f}"),
            *accepted,
            (f"{result.roc.area:.4f}", "area under the ROC curve"),
        ],
        sections=[
            Section(
                "Distances",
                "Pairs of one person should stand on the left, pairs of two on the right, and the calculator's "
                "threshold, where the similarity is one half, between them: there "
                f"{result.accuracy_at_half:.2%} of the pairs are on their side.".replace("%", " %"),
                histogram,
            ),
            Section(
                "True accepts and false ones",
                "The higher and the further left, the better." + (coarse if others < 1000 else ""),
                curve,
            ),
            Section(
                "Folds",
                "Each fold is judged at the threshold that suits all others best.",
                table=Table(
                    ["fold", "accuracy", "threshold (distance)"],
                    [
                        [str(number), f"{accuracy:.2%}".replace("%", " %"), f"{threshold:.3f}"]
                        for number, (accuracy, threshold) in enumerate(
                            zip(folds.accuracies, folds.thresholds, strict=True), 1
                        )
                    ],
                ),
            ),
        ],
        asked=asked,
    )
    path = folder / "report.html"
    report.write(path)
    return path


def _percent(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else f"{share:.1%}".replace("%", " %")


def _distance(first: Doubles, second: Doubles) -> float:
    return float(np.linalg.norm(first / np.linalg.norm(first) - second / np.linalg.norm(second)))
