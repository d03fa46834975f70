"""How well ages are estimated and words (gender, mask) chosen, against what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.evaluation.detection import Doubles


@dataclass(frozen=True, slots=True)
class Decade:
    """People from ``first`` to ``first + 9`` years: how many, and by how many years they are mistaken on average."""

    first: int
    people: int
    error: float


@dataclass(frozen=True, slots=True)
class AgeReport:
    """``error``: mean absolute difference in years between the known age and the middle of the range told.

    ``bias``: mean difference, positive where people are made older. ``inside``: share of ranges that hold the age;
    ``claimed``: the mean probability told for them, which should be the same.
    """

    error: float
    bias: float
    inside: float
    claimed: float
    decades: tuple[Decade, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """``counts[truth, told]`` of ``labels``, ``(L, L)``."""

    labels: tuple[str, ...]
    counts: NDArray[np.intp]

    @property
    def accuracy(self) -> float:
        """Share that is told right."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def recalls(self) -> dict[str, float]:
        """Of each label that occurs, the share told right."""
        rows = self.counts.sum(axis=1)
        return {
            label: float(self.counts[row, row] / rows[row]) for row, label in enumerate(self.labels) if rows[row] > 0
        }

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the recalls: every label weighs the same, however many carry it."""
        return float(np.mean(list(self.recalls.values())))


def report_ages(years: Doubles, low: Doubles, high: Doubles, probability: Doubles) -> AgeReport:
    """Known ages ``(N,)`` against the ranges told, ``low`` to ``high``, both included, and their probabilities."""
    differences = (low + high) / 2 - years
    errors = np.abs(differences)
    decades = (years // 10).astype(int)
    return AgeReport(
        error=float(errors.mean()),
        bias=float(differences.mean()),
        inside=float(((low <= years) & (years <= high)).mean()),
        claimed=float(probability.mean()),
        decades=tuple(
            Decade(int(decade) * 10, int((decades == decade).sum()), float(errors[decades == decade].mean()))
            for decade in np.unique(decades)
        ),
    )


def confusion(known: Sequence[str], told: Sequence[str]) -> Confusion:
    """Counts over ``known`` and ``told`` words of equal number; the labels are in alphabetical order."""
    labels = tuple(sorted({*known, *told}))
    counts = np.zeros((len(labels), len(labels)), np.intp)
    for truth, word in zip(known, told, strict=True):
        counts[labels.index(truth), labels.index(word)] += 1
    return Confusion(labels, counts)
