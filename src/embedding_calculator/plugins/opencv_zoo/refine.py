"""A second look at faces already found, because an embedding is only as good as the points it is aligned by.

On the canvas of a whole picture a face is as large as chance has it. So each face is cut out, turned upright and shown
to a network that does nothing but judge one face: the last stage of MTCNN (Zhang, Zhang, Li, Qiao: "Joint Face
Detection and Alignment using Multi-task Cascaded Convolutional Networks", https://arxiv.org/abs/1604.02878), together
with its mirror image, whose errors to the left and right are the opposite ones.

Measured on 807 portraits, all 325,000 pairs; d' is how many standard deviations lie between pairs of one person and of
two, for two recognisers:

======================================  =====  ===========
points by                               SFace  MobileFaceNet
======================================  =====  ===========
YuNet on the whole picture               6.18         5.81
YuNet, second look upright and mirrored  6.32         5.83
this                                     6.39         6.03
======================================  =====  ===========
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Floats, Matrices
from embedding_calculator.imaging.align import cut, turning_maps
from embedding_calculator.imaging.picture import Picture
from embedding_calculator.models.runtime import Network
from embedding_calculator.models.spec import InputSpec
from embedding_calculator.plugins.base import Detections

_MIRRORED = [1, 0, 2, 4, 3]
"""What each of the five points becomes in a mirror."""

_CERTAIN = 0.5
"""Probability from which what the network sees is a face, and its points are worth having. From 0.3 to 0.9 no embedding
of 503 photos of LFW changes."""


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


SECOND_LOOK = UprightBoxCrop(size=(48, 48), face=1.09)
"""YuNet's boxes are a little looser than those the network was trained on. From 1.0 to 1.2 nothing changes."""


def refine(picture: Picture, detections: Detections, network: Network, spec: InputSpec) -> Floats:
    """Landmarks ``(N, 5, 2)`` from a second look; the detector's own where that sees no face.

    ``network`` is asked once, for all faces and their mirror images. Its outputs are ``probability`` ``(N, 1)`` and
    ``landmarks`` ``(N, 10)``: five x, then five y, in units of the canvas.

    Raises:
        ImageUnreadableError: the encoded data turns out to be broken.
    """
    count = len(detections)
    canvases = cut(picture, SECOND_LOOK, detections.boxes, detections.landmarks)
    answer = network.run(spec.tensor(np.concatenate([canvases, canvases[:, :, ::-1]])))

    points: NDArray[np.float64] = answer["landmarks"].reshape(-1, 2, 5).transpose(0, 2, 1).astype(np.float64)
    points[count:] = points[count:, _MIRRORED] * (-1, 1) + (1, 0)
    found = (points[:count] + points[count:]) / 2 * SECOND_LOOK.size

    refined = detections.landmarks.copy()
    seen = np.flatnonzero(answer["probability"].reshape(2, count).mean(axis=0) > _CERTAIN)
    maps = SECOND_LOOK.matrices(detections.boxes[seen], detections.landmarks[seen])
    offsets = (found[seen] - maps[:, None, :, 2]).transpose(0, 2, 1)
    refined[seen] = np.linalg.solve(maps[:, :, :2], offsets).transpose(0, 2, 1)
    return refined
