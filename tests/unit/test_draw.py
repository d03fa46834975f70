"""What is drawn where, on a real face; how it looks is judged by people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.data

from embedding_calculator.arrays import Pixels
from embedding_calculator.imaging.draw import FOUND, WRONG, Mark, annotate, marks_of
from embedding_calculator.imaging.picture import ArrayPicture
from embedding_calculator.results import Age, Box, Face, Gender

ASTRONAUT: Pixels = skimage.data.astronaut()  # type: ignore[no-untyped-call]
BOX = (176.0, 68.0, 272.0, 192.0)
POINTS = np.array([[200, 110], [245, 108], [222, 135], [206, 158], [245, 156]], np.float32)


def draw(picture: ArrayPicture, marks: list[Mark], **options: Any) -> Pixels:
    return np.array(annotate(picture, marks, **options))


def changed(drawn: Pixels) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = (drawn != ASTRONAUT).any(axis=2)
    return mask


def test_box_and_points_are_drawn_where_they_are() -> None:
    drawn = draw(ArrayPicture(ASTRONAUT), [Mark(BOX, landmarks=POINTS)])
    assert drawn.shape == ASTRONAUT.shape
    for x, y in [(176, 130), (272, 130), (224, 68), (224, 192)]:
        assert np.abs(drawn[y - 3 : y + 4, x - 3 : x + 4].astype(int) - FOUND).sum(axis=2).min() < 30
    for x, y in POINTS.astype(int):
        assert drawn[y, x].min() > 240
    touched = changed(drawn)
    touched[60:200, 168:280] = False
    assert not touched.any()
    inside = changed(drawn)[80:180, 188:260]
    assert inside.mean() < 0.1  # The face itself stays visible.


def test_label_stands_above_the_box_and_is_legible() -> None:
    drawn = draw(ArrayPicture(ASTRONAUT), [Mark(BOX, "1: female, 25-32 (0.99)")])
    above = drawn[48:64, 180:260].astype(int)
    assert (np.abs(above - FOUND).sum(axis=2) < 30).mean() > 0.4
    assert (above.sum(axis=2) < 150).mean() > 0.05


@pytest.mark.parametrize(
    "box", [(0, 0, 512, 512), (-50, -60, 40, 30), (480, 500, 700, 900), (5, 400, 60, 511), (9, 9, 9, 9)]
)
def test_labels_stay_in_the_picture(box: tuple[float, float, float, float]) -> None:
    without = draw(ArrayPicture(ASTRONAUT), [Mark(box)])
    drawn = draw(ArrayPicture(ASTRONAUT), [Mark(box, "1 (0.99)")])
    rows, columns = np.nonzero((drawn != without).any(axis=2))
    assert rows.max() - rows.min() >= 12
    assert columns.max() - columns.min() >= 35


def test_missed_points_are_red_crosses() -> None:
    drawn = draw(ArrayPicture(ASTRONAUT), [], crosses=[(400, 100)])
    assert tuple(drawn[100, 400]) == WRONG
    assert changed(drawn).sum() < 800


def test_large_pictures_are_made_smaller() -> None:
    large = np.tile(ASTRONAUT, (4, 3, 1))
    drawn = draw(ArrayPicture(large), [Mark((0, 0, 1536, 2048))])
    assert drawn.shape == (1200, 900, 3)
    assert draw(ArrayPicture(large), [], longest_side=100).shape == (100, 75, 3)


def test_faces_become_marks() -> None:
    face = Face(
        Box(176, 68, 272, 192, 0.987),
        landmarks=tuple((int(x), int(y)) for x, y in POINTS),
        age=Age(25, 32, 0.9),
        gender=Gender("female", 0.99),
    )
    known, unknown = marks_of([face, Face(Box(1, 2, 3, 4, 1.0))])
    assert known.label == "1: female, 25-32 (0.99)"
    assert known.box == (176, 68, 272, 192)
    assert known.landmarks is not None
    assert np.array_equal(known.landmarks, POINTS)
    assert (unknown.label, unknown.landmarks) == ("2 (1.00)", None)


def test_an_age_that_is_one_year_is_told_once() -> None:
    assert (Age(26, 26, 1.0).years, Age(25, 32, 1.0).years) == ("26", "25-32")
