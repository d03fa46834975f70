"""From labelled pairs of faces to the coefficients that turn a distance into a probability.

The similarity of two faces at distance ``d`` (see ``plugins.base.Calculator``) is the logistic function of
``2 * c1 * (c0 - d)``: one half at ``c0``, the steeper the larger ``c1``. It is the probability that both are of one
person where, before looking, one person is as likely as two: both labels weigh the same here, however many pairs carry
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.plugins.embedding import similarity

Distances: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.bool_]

_RESAMPLES = 200
_BINS = 10
_STEPS = 100


class Coefficients(NamedTuple):
    """``c0`` is a distance of unit vectors, 0..2; ``c1`` is in units of 1/distance."""

    c0: float
    c1: float

    @property
    def difference_threshold(self) -> float:
        """The squared distance at which the similarity is one half."""
        return self.c0**2


@dataclass(frozen=True, slots=True)
class Report:
    """What the coefficients are worth on pairs they were not fitted to, each fold judged by a fit to the others.

    ``accuracy``: share of pairs on the right side of one half. ``brier``: mean squared error of the probability; 0.25
    is a coin. ``calibration_error``: how far, on average, the probability told is from the share of pairs of one
    person among those it is told of, in ten bins (expected calibration error). All with both labels weighing the same.
    """

    accuracy: float
    brier: float
    calibration_error: float


def fit(distances: Distances, same: Labels) -> Coefficients:
    """The coefficients for ``(N,)`` distances and whether each pair is of one person.

    ``c0`` is the threshold that separates best, ``c1`` the likeliest slope through it. Pairs that are almost separable
    would make the slope grow without end; so the targets are not 1 and 0 but those of Platt, "Probabilistic outputs for
    support vector machines", 1999: what one expects having seen so many pairs of each kind and no more.

    Raises:
        ValueError: there are not at least two pairs of each kind.
    """
    if same.sum() < 2 or (~same).sum() < 2:
        raise ValueError("fitting needs at least two pairs of one person and two of different people")
    c0 = _threshold(distances, same)
    return Coefficients(c0, _slope(c0 - distances, same))


def cross_validate(distances: Distances, same: Labels, folds: int = 10) -> Report:
    """What ``fit`` is worth on pairs it has not seen, both kinds dealt out evenly to ``folds`` parts.

    Raises:
        ValueError: there are fewer than ``folds`` pairs of one kind.
    """
    if min(same.sum(), (~same).sum()) < folds:
        raise ValueError(f"{folds} folds need at least {folds} pairs of one person and {folds} of different people")
    fold = deal(same, folds)
    told = np.empty(len(same))
    for part in range(folds):
        held_out = fold == part
        told[held_out] = similarity(distances[held_out], fit(distances[~held_out], same[~held_out]))
    weights = _balanced(same)
    return Report(
        accuracy=float(weights @ ((told > 0.5) == same)),
        brier=float(weights @ (told - same) ** 2),
        calibration_error=_calibration_error(told, same, weights),
    )


def deal(same: Labels, folds: int) -> NDArray[np.intp]:
    """Fold numbers ``(N,)``, both kinds of pairs dealt out evenly."""
    numbers = np.empty(len(same), np.intp)
    for label in (same, ~same):
        numbers[label] = np.arange(label.sum()) % folds
    return numbers


def _balanced(same: Labels) -> Distances:
    """Weights that sum to one, half of it for either label."""
    weights: Distances = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    return weights


def _threshold(distances: Distances, same: Labels) -> float:
    """The distance that separates best: the mean over resamples, because a single sample's best hangs on few pairs."""
    random = np.random.default_rng(0)
    ones, others = np.flatnonzero(same), np.flatnonzero(~same)
    cuts = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([random.choice(ones, ones.size), random.choice(others, others.size)])
        cuts.append(best_cut(distances[chosen], same[chosen]))
    return float(np.mean(cuts))


def best_cut(distances: Distances, same: Labels) -> float:
    """The distance that separates ``(N,)`` pairs best, both labels weighing the same: the middle of the widest gap."""
    order = np.argsort(distances)
    ordered = distances[order]
    weights = np.where(same, 1, -1) * _balanced(same)
    correct = np.cumsum(weights[order])[:-1]
    gaps = np.where(np.isclose(correct, correct[np.diff(ordered) > 0].max()), np.diff(ordered), 0)
    widest = int(gaps.argmax())
    return float((ordered[widest] + ordered[widest + 1]) / 2)


def _slope(margins: Distances, same: Labels) -> float:
    """c1 by Newton's method on the balanced cross-entropy of ``tanh``'s logistic form, a convex function of c1."""
    smoothed = np.where(same, 1 - 1 / (same.sum() + 2), 1 / ((~same).sum() + 2))
    weights = _balanced(same)
    c1 = 1.0
    for _ in range(_STEPS):
        told = similarity(-margins, (0.0, c1))
        slope = weights @ (2 * margins * (told - smoothed))
        curvature = weights @ (4 * margins**2 * told * (1 - told))
        step = float(np.clip(slope / (curvature + 1e-12), -1.0, 1.0))
        c1 -= step
        if abs(step) < 1e-9:
            break
    return c1


def _calibration_error(told: Distances, same: Labels, weights: Distances) -> float:
    bins = np.minimum((told * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights * (told - same), _BINS)
    return float(np.abs(gaps).sum())
