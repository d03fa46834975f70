"""How well two photos of one person are told from photos of two: accuracy by folds, ROC, true accepts at few false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.evaluation.similarity import Distances, Labels, best_cut, deal

Folds: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """At every threshold, the strictest first: ``(N,)`` distances below which a pair is accepted, and the shares of
    pairs of different people (``false_accepts``) and of one person (``true_accepts``) that then are."""

    thresholds: Distances
    false_accepts: Distances
    true_accepts: Distances

    @property
    def area(self) -> float:
        """Under the curve: how likely a pair of one person is closer than a pair of two."""
        return float(np.trapezoid(self.true_accepts, self.false_accepts))

    def true_accepts_at(self, false_accepts: float) -> float:
        """The largest share of true accepts with at most this share of false ones."""
        return float(self.true_accepts[self.false_accepts <= false_accepts].max())


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Each fold judged at the threshold that suits the others best, as LFW's protocol has it.

    ``thresholds`` are distances of unit vectors. ``standard_error`` is that of the mean.
    """

    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the folds."""
        return float(np.mean(self.accuracies))

    @property
    def standard_error(self) -> float:
        """Of the mean, from the folds' spread."""
        return float(np.std(self.accuracies, ddof=1) / np.sqrt(len(self.accuracies)))


def roc(distances: Distances, same: Labels) -> Roc:
    """The curve for ``(N,)`` distances, and whether each pair is of one person.

    Raises:
        ValueError: there is no pair of one of the two kinds.
    """
    if not same.any() or same.all():
        raise ValueError("a ROC needs pairs of one person and pairs of different people")
    order = np.argsort(distances, kind="stable")
    true, false = np.cumsum(same[order]), np.cumsum(~same[order])
    last = np.append(np.diff(distances[order]) > 0, True)
    return Roc(
        np.concatenate([[0.0], distances[order][last]]),
        np.concatenate([[0.0], false[last] / (~same).sum()]),
        np.concatenate([[0.0], true[last] / same.sum()]),
    )


def accuracy_by_folds(distances: Distances, same: Labels, folds: Folds) -> FoldAccuracy:
    """Accuracy of every fold at the threshold chosen on all others; ``folds`` is ``(N,)``, any numbers.

    Raises:
        ValueError: there are fewer than two folds, or the others of some fold lack one kind of pairs.
    """
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError("accuracy by folds needs at least two folds")
    accuracies, thresholds = [], []
    for number in numbers:
        held_out = folds == number
        if same[~held_out].all() or not same[~held_out].any():
            raise ValueError(f"without fold {number} there are not both kinds of pairs")
        cut = best_cut(distances[~held_out], same[~held_out])
        thresholds.append(cut)
        accuracies.append(float(((distances[held_out] < cut) == same[held_out]).mean()))
    return FoldAccuracy(tuple(accuracies), tuple(thresholds))


def folds_of(names: Sequence[str], same: Labels) -> Folds:
    """Numbers for the folds' names as a table gives them; dealt out into ten where it gives fewer than two."""
    known = sorted(set(names))
    if len(known) < 2:
        return deal(same, min(10, int(same.sum()), int((~same).sum())))
    return np.array([known.index(name) for name in names], np.intp)
