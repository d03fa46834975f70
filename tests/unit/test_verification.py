"""ROC, folds and thresholds on pairs few enough to judge by hand."""

from __future__ import annotations

import numpy as np
import pytest

from embedding_calculator.evaluation.verification import accuracy_by_folds, folds_of, roc

DISTANCES = np.array([0.2, 0.4, 0.5, 0.7, 0.9, 1.1])
SAME = np.array([True, True, False, True, False, False])


def test_a_roc_by_hand() -> None:
    curve = roc(DISTANCES, SAME)
    np.testing.assert_allclose(curve.true_accepts, [0, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    np.testing.assert_allclose(curve.false_accepts, [0, 0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    assert curve.area == pytest.approx(8 / 9)  # Of nine pairs of pairs, only (0.7, 0.5) is the wrong way round.
    assert curve.true_accepts_at(0) == pytest.approx(2 / 3)
    assert curve.true_accepts_at(0.3) == pytest.approx(2 / 3)
    assert curve.true_accepts_at(0.34) == 1


def test_equal_distances_are_accepted_together() -> None:
    curve = roc(np.array([0.5, 0.5, 1.0]), np.array([True, False, False]))
    np.testing.assert_allclose(curve.true_accepts, [0, 1, 1])
    np.testing.assert_allclose(curve.false_accepts, [0, 0.5, 1])
    assert curve.area == pytest.approx(0.75)


def test_a_roc_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="different people"):
        roc(np.array([0.1, 0.2]), np.array([True, True]))


def test_a_fold_is_judged_by_the_threshold_of_the_others() -> None:
    distances = np.array([0.1, 0.9, 0.2, 0.8, 0.6, 0.7])
    same = np.array([True, False, True, False, True, False])
    result = accuracy_by_folds(distances, same, np.array([0, 0, 1, 1, 2, 2]))
    # Without fold 2 the widest gap is 0.2 to 0.8: its middle puts the pair at 0.6 on the wrong side.
    assert result.thresholds[2] == pytest.approx(0.5)
    assert result.accuracies == (1, 1, 0.5)
    assert result.mean == pytest.approx(5 / 6)
    assert result.standard_error == pytest.approx(1 / 6)


def test_folds_come_from_the_table_or_are_dealt() -> None:
    assert folds_of(["b", "a", "b"], np.array([True, False, True])).tolist() == [1, 0, 1]
    assert folds_of(["1"] * 4, np.array([True, True, False, False])).tolist() == [0, 1, 0, 1]
