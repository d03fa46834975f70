"""106 points along brows, eyes, nose, mouth and jaw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from embedding_calculator.arrays import Floats, Matrices
from embedding_calculator.imaging.align import Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields


@dataclass(frozen=True, slots=True)
class SquareCrop:
    """Around a box's middle, not turned; the box's longer side takes ``share`` of the crop."""

    size: tuple[int, int]
    share: float

    def matrices(self, boxes: Floats, landmarks: Floats) -> Matrices:  # noqa: ARG002 - the box says it all
        """Affine maps, whole-picture to crop coordinates: ``(N, 4)``, ``(N, 5, 2)`` -> ``(N, 2, 3)``."""
        corners = boxes.astype(np.float64)
        middles = np.trunc((corners[:, :2] + corners[:, 2:]) / 2)
        sides = (corners[:, 2:] - corners[:, :2]).max(axis=1)
        scales = self.size[0] * self.share / np.where(sides > 0, sides, np.inf)
        maps = np.zeros((len(boxes), 2, 3))
        maps[:, 0, 0] = maps[:, 1, 1] = scales
        maps[:, :, 2] = np.array(self.size) / 2 - middles * scales[:, None]
        return maps


_CROP = SquareCrop((192, 192), 2 / 3)


class Landmarks2d106Detector:
    """InsightFace's ``2d106det``. Its answer replaces the five points where both plugins are configured."""

    slug: ClassVar[str] = "landmarks2d106"

    def __init__(self, model: Model) -> None:
        self.crop: Crop | None = _CROP
        self._model = model

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"landmarks": (106, 2) int32}`` for each face: pixels of the whole picture, fractions cut off."""
        (answers,) = self._model.network.run(self._model.input.tensor(faces.crops[_CROP])).values()
        # The network's unit is half a crop, counted from its middle.
        in_crop = (answers.reshape(len(answers), -1, 2) + 1) * (np.array(_CROP.size) / 2)
        maps = _CROP.matrices(faces.detections.boxes, faces.detections.landmarks)
        in_picture = (in_crop - maps[:, None, :, 2]) / maps[:, None, [0, 1], [0, 1]]
        return [{"landmarks": points} for points in np.trunc(in_picture).astype(np.int32)]
