"""The 106 points: what the network sees of a face, and where its answers lie in the picture.

Every pixel of the picture here says in its colours where it is, so whatever a crop shows tells where that was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.imaging.align import cut
from embedding_calculator.imaging.picture import ArrayPicture
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import Detections, FaceBatch
from embedding_calculator.plugins.insightface import Landmarks2d106Detector

ROWS, COLUMNS = np.mgrid[:256, :256].astype(np.uint8)
MAP: Pixels = np.stack([COLUMNS, ROWS, np.zeros_like(ROWS)], axis=2)
BOXES = np.array([[40, 30, 101, 120], [150.5, 96, 230.5, 176], [-20, 180, 40, 240]], np.float32)
"""Upright, square with a middle between pixels, and reaching beyond the picture."""
POINTS = np.stack(np.meshgrid(np.linspace(60, 130, 53), [70, 120]), axis=2).reshape(106, 2).round()
"""In the crop, inside every one of the boxes, but for the part of the last that is outside the picture."""


@dataclass
class Network:
    """Answers ``POINTS`` for every face, in the published network's unit: half a crop, from its middle."""

    seen: list[Floats] = field(default_factory=list)

    def run(self, batch: Floats) -> Mapping[str, Floats]:
        self.seen.append(batch)
        answer = (POINTS / 96 - 1).astype(np.float32).reshape(1, 212)
        return {"fc1_output": np.repeat(answer, len(batch), axis=0)}


def look(boxes: Floats) -> tuple[list[Floats], Floats]:
    """The landmarks of every face, and what the network saw."""
    network = Network()
    entry = Catalog.load().entry("2d106det")
    plugin = Landmarks2d106Detector(Model(entry.name, entry.input, entry.parameters, {"network": network}))
    assert plugin.crop is not None
    faces = Detections(boxes, np.ones(len(boxes), np.float32), np.full((len(boxes), 5, 2), np.nan, np.float32))
    crops = cut(ArrayPicture(MAP), plugin.crop, faces.boxes, faces.landmarks)
    answers = plugin(FaceBatch(256, 256, faces, {plugin.crop: crops}))
    (seen,) = network.seen
    return [answer["landmarks"] for answer in answers], seen


def test_points_lie_where_the_network_saw_them() -> None:
    landmarks, seen = look(BOXES)
    assert seen.shape == (3, 3, 192, 192)
    assert seen.dtype == np.float32
    columns, rows = POINTS.astype(int).T
    for points, planes in zip(landmarks, seen, strict=True):
        assert points.shape == (106, 2)
        assert points.dtype == np.int32
        told = planes[:2, rows, columns].T
        inside = (points > 0).all(axis=1) & (points < 255).all(axis=1)
        assert inside.sum() >= 53
        # A colour is rounded, a coordinate cut off.
        np.testing.assert_array_less(np.abs(points - told)[inside], 1.51)


def test_the_box_takes_two_thirds_of_the_crop_around_its_middle() -> None:
    _, seen = look(BOXES)
    for (left, top, right, bottom), planes in zip(BOXES.tolist(), seen, strict=True):
        side = max(right - left, bottom - top)
        middle = np.trunc([(left + right) / 2, (top + bottom) / 2])
        for place in (48, 96, 144):
            expected = middle + (place - 96) / 192 * side * 1.5
            if expected.min() > 0:
                np.testing.assert_allclose(planes[:2, place, place], expected, atol=1)
