"""Matching, mistakes and average precision on boxes few enough to judge by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation.detection import (
    match_boxes,
    match_noses,
    mistakes,
    precision_recall,
    read_boxes,
    read_noses,
    score_boxes,
)


def boxes(*edges: tuple[float, float, float, float]) -> Floats:
    return np.array(edges, np.float32).reshape(-1, 4)


def noses(*points: tuple[float, float]) -> Floats:
    return np.array(points, np.float32).reshape(-1, 2)


def test_the_surest_box_takes_the_face() -> None:
    annotated = boxes((0, 0, 10, 10), (20, 0, 30, 10))
    found = boxes((1, 0, 11, 10), (0, 0, 10, 10), (50, 50, 60, 60))
    taken = match_boxes(annotated, found, 0.5)
    assert taken.tolist() == [0, -1, -1]
    wrong = mistakes(taken, np.array([True, True]))
    assert wrong.missed.tolist() == [1]
    assert wrong.false.tolist() == [1, 2]
    assert len(wrong) == 3
    assert mistakes(taken, np.array([True, False])).missed.tolist() == []
    assert match_boxes(boxes(), found, 0.5).tolist() == [-1, -1, -1]
    assert match_boxes(annotated, boxes(), 0.5).tolist() == []


def test_two_heads_close_together_each_get_their_nose() -> None:
    # The wide box holds both noses, the narrow one only the first: the wide one has to make room.
    found = boxes((0, 0, 20, 10), (0, 0, 10, 10))
    assert match_noses(noses((5, 5), (15, 5)), found).tolist() == [1, 0]
    assert match_noses(noses((5, 5)), found).tolist() == [0, -1]
    assert match_noses(noses(), found).tolist() == [-1, -1]
    assert match_noses(noses((5, 5)), boxes()).tolist() == []


def test_faces_too_small_to_matter_count_nowhere() -> None:
    annotated = boxes((0, 0, 40, 40), (100, 100, 108, 108))
    score = score_boxes([(annotated, boxes((0, 0, 40, 40), (100, 100, 108, 108)))], 0.5, 20)
    assert (score.hits, score.misses, score.false) == (1, 0, 0)
    assert score_boxes([(annotated, boxes())], 0.5, 20).misses == 1
    assert np.isnan(score_boxes([], 0.5, 0).recall)


def test_an_average_precision_by_hand() -> None:
    curve = precision_recall([0.9, 0.8, 0.7, 0.6], [True, False, True, True], faces=4)
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 3 / 4])
    np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 4, 2 / 4, 3 / 4])
    # Precision at each quarter of recall is the best there or further on: 1, 3/4, 3/4 and, never reached, 0.
    assert curve.average_precision == pytest.approx((1 + 0.75 + 0.75) / 4)


def test_boxes_equally_sure_are_found_together() -> None:
    curve = precision_recall([0.5, 0.9, 0.5], [False, True, True], faces=2)
    np.testing.assert_allclose(curve.thresholds, [0.9, 0.5])
    np.testing.assert_allclose(curve.precision, [1, 2 / 3])
    assert precision_recall([], [], faces=3).average_precision == 0


def test_a_row_without_coordinates_says_that_there_is_no_face(tmp_path: Path) -> None:
    table = tmp_path / "noses.csv"
    table.write_text("image,nose_x,nose_y\na.jpg,1,2\na.jpg,3,4\nb.jpg,,\n")
    read = read_noses(table)
    assert read["a.jpg"].tolist() == [[1, 2], [3, 4]]
    assert read["b.jpg"].shape == (0, 2)


def test_a_table_that_is_none_is_told(tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    with pytest.raises(ParameterError, match="cannot be read"):
        read_boxes(table)
    table.write_text("image,x_min\na.jpg,1\n")
    with pytest.raises(ParameterError, match="lacks the columns y_min, x_max, y_max; "):
        read_boxes(table)
    table.write_text("image,x_min,y_min,x_max,y_max\na.jpg,1,2,x,4\n")
    with pytest.raises(ParameterError, match="x_max 'x', which is not a number"):
        read_boxes(table)
