"""The fit of similarity coefficients, on distances whose probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest

from embedding_calculator.evaluation.similarity import Coefficients, cross_validate, fit
from embedding_calculator.plugins.embedding import similarity


def drawn(c0: float, c1: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs at evenly spread distances, of one person as often as the coefficients say."""
    random = np.random.default_rng(7)
    distances = random.uniform(2 * c0 - 1.9, 1.9, count)
    return distances, random.random(count) < similarity(distances, Coefficients(c0, c1))


def test_recovers_the_coefficients_that_drew_the_labels() -> None:
    fitted = fit(*drawn(1.2, 6.0, 20_000))
    assert fitted.c0 == pytest.approx(1.2, abs=0.02)
    assert fitted.c1 == pytest.approx(6.0, rel=0.05)
    assert fitted.difference_threshold == fitted.c0**2


def test_probabilities_hold_for_unseen_pairs() -> None:
    report = cross_validate(*drawn(1.2, 6.0, 5_000))
    assert report.calibration_error < 0.03
    assert report.accuracy > 0.9


def test_one_half_at_c0_and_falling() -> None:
    told = similarity(np.array([0.0, 1.1, 1.2, 1.3, 2.0]), Coefficients(1.2, 6.0))
    assert told[2] == 0.5
    assert (np.diff(told) < 0).all()


@pytest.mark.parametrize("count", [2, 30, 300])
def test_separable_pairs_give_a_finite_slope_that_grows_with_evidence(count: int) -> None:
    same = np.arange(2 * count) < count
    distances = np.where(same, np.linspace(0.5, 1.0, 2 * count), np.linspace(1.2, 1.6, 2 * count))
    fitted = fit(distances, same)
    assert distances[same].max() < fitted.c0 < distances[~same].min()
    assert 1 < fitted.c1 < 5 * np.log(count + 2) / 0.2


def test_a_surplus_of_one_label_does_not_shift_the_probability() -> None:
    distances, same = drawn(1.2, 6.0, 20_000)
    kept = same | (np.arange(len(same)) % 5 == 0)
    fitted = fit(distances[kept], same[kept])
    assert fitted.c0 == pytest.approx(1.2, abs=0.03)
    assert fitted.c1 == pytest.approx(6.0, rel=0.1)


def test_too_few_pairs_are_told() -> None:
    with pytest.raises(ValueError, match="at least two pairs"):
        fit(np.array([0.5, 1.5, 1.6]), np.array([True, False, False]))
    with pytest.raises(ValueError, match="10 folds"):
        cross_validate(np.linspace(0, 2, 12), np.arange(12) < 6)
