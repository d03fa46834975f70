"""A second look at faces already found, because an embedding is only as good as the points it is aligned by.

On the canvas of a whole picture a face is as large as chance has it, and YuNet places points best on upright faces of
about 64 pixels. So each face is cut out, turned upright and brought to that size, and looked at together with its
mirror image, whose errors to the left and right are the opposite ones. Measured with SFace on 807 portraits, all pairs:
true accepts at one false accept in 10,000 rise from 97.6 to 98.3 %, the separation of same from different (d') from
6.18 to 6.32, which is what a detector of ten times the size achieves.

The size of the canvas hardly matters: 128, 160 and 192 pixels, with faces from 0.4 to 0.6 of them, differ by less than
0.04 in d'. This one is the window of the detector's own closer look, so engines meet no further shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Floats, Matrices, Pixels
from embedding_calculator.imaging.align import cut, turning_maps
from embedding_calculator.imaging.picture import Picture
from embedding_calculator.plugins.base import Detections

Look: TypeAlias = Callable[[Pixels], tuple[NDArray[np.intp], Detections]]
"""Canvases ``(N, H, W, 3)`` to opinions, several a face: the canvas each is about, and where it sees a face there."""

_MIRRORED = [1, 0, 2, 4, 3]
"""What each of the five points becomes in a mirror."""

_OVERLAP = 0.5
"""Intersection over union with the expected box, from which an opinion is about the same face."""


@dataclass(frozen=True, slots=True)
class UprightBoxCrop:
    """A square canvas with the face upright in its middle, the longer side of its box ``face`` of the canvas.

    ``size`` is the canvas's width and height in pixels, equal. Upright means: the eyes level, by the landmarks known;
    a face whose points nobody looked for (not finite) is taken to be upright.
    """

    size: tuple[int, int]
    face: float

    def matrices(self, boxes: Floats, landmarks: Floats) -> Matrices:
        """Affine maps, whole-picture to crop coordinates: ``(N, 4)``, ``(N, 5, 2)`` -> ``(N, 2, 3)``."""
        corners = boxes.astype(np.float64)
        middles = (corners[:, :2] + corners[:, 2:]) / 2
        sides = (corners[:, 2:] - corners[:, :2]).max(axis=1)
        eyes = (landmarks[:, 1] - landmarks[:, 0]).astype(np.float64)
        side = self.size[0]
        scales = self.face * side / np.where(sides > 0, sides, np.inf)
        rolls = np.nan_to_num(np.arctan2(eyes[:, 1], eyes[:, 0]))
        factors = scales * (np.cos(rolls) - 1j * np.sin(rolls))
        return turning_maps(factors, middles[:, 0] + 1j * middles[:, 1], complex(side / 2, side / 2))


SECOND_LOOK = UprightBoxCrop(size=(160, 160), face=0.4)


def refine(picture: Picture, detections: Detections, look: Look) -> Floats:
    """Landmarks ``(N, 5, 2)`` from a second look; the detector's own where that finds no face in the expected place.

    ``look`` is asked once, for all faces and their mirror images. Its opinions about a face are averaged, each
    weighing its probability.

    Raises:
        ImageUnreadableError: the encoded data turns out to be broken.
    """
    count = len(detections)
    if count == 0:
        return detections.landmarks
    canvases = cut(picture, SECOND_LOOK, detections.boxes, detections.landmarks)
    which, opinions = look(np.concatenate([canvases, canvases[:, :, ::-1]]))

    side = SECOND_LOOK.size[0]
    weights = np.where(_overlap_with_centre(opinions.boxes, side) > _OVERLAP, opinions.probabilities, 0.0)
    mirrored = which >= count
    points = opinions.landmarks.astype(np.float64)
    points[mirrored] = points[mirrored][:, _MIRRORED] * (-1, 1) + (side, 0)

    faces = which % count
    total = np.bincount(faces, weights, count)
    sums = np.zeros((count, 5, 2))
    np.add.at(sums, faces, points * weights[:, None, None])
    refined = detections.landmarks.copy()
    seen = np.flatnonzero(total > 0)
    maps = SECOND_LOOK.matrices(detections.boxes[seen], detections.landmarks[seen])
    found = sums[seen] / total[seen, None, None] - maps[:, None, :, 2]
    refined[seen] = np.linalg.solve(maps[:, :, :2], found.transpose(0, 2, 1)).transpose(0, 2, 1)
    return refined


def _overlap_with_centre(boxes: Floats, side: int) -> NDArray[np.float64]:
    """Intersection over union of each of ``(N, 4)`` with the square in which the face was put, ``(N,)``."""
    expected = side * SECOND_LOOK.face
    low, high = (side - expected) / 2, (side + expected) / 2
    sizes = boxes[:, 2:] - boxes[:, :2]
    shared = np.clip(np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low), 0, None).prod(axis=1)
    overlap: NDArray[np.float64] = shared / (sizes.prod(axis=1) + expected**2 - shared)
    return overlap
