"""Greedy suppression: the best box wins, and what counts as overlap is said by the caller."""

from __future__ import annotations

import numpy as np

from embedding_calculator.plugins.suppression import suppress

BOXES = np.array([[0, 0, 9, 9], [0, 0, 9, 4], [20, 20, 29, 29], [0, 0, 9, 9]])


def test_keeps_the_best_of_each_place_in_order_of_score() -> None:
    assert suppress(BOXES, np.array([0.7, 0.6, 0.95, 0.9]), 0.7, "smaller").tolist() == [2, 3]


def test_a_part_overlaps_little_of_the_union_and_all_of_the_smaller() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    assert suppress(BOXES, scores, 0.5, "union").tolist() == [0, 1, 2]
    assert suppress(BOXES, scores, 0.5, "smaller").tolist() == [0, 2]


def test_overlap_of_just_the_limit_is_kept() -> None:
    assert suppress(BOXES[:2], np.array([0.9, 0.8]), 0.5, "union").tolist() == [0, 1]
    assert suppress(BOXES[:2], np.array([0.9, 0.8]), 0.499, "union").tolist() == [0]


def test_nothing_in_nothing_out() -> None:
    assert suppress(np.empty((0, 4)), np.empty(0), 0.5, "union").tolist() == []
