"""The five points a detector found, told to the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from embedding_calculator.imaging.align import Crop
from embedding_calculator.plugins.base import FaceBatch, Fields


class LandmarksDetector:
    """The detector's own points: left eye, right eye, nose, mouth left, mouth right (left = left in the image)."""

    slug: ClassVar[str] = "landmarks"
    crop: Crop | None = None

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"landmarks": (5, 2) int32}`` a face: pixels of the whole picture, fractions cut off."""
        return [{"landmarks": points} for points in np.trunc(faces.detections.landmarks).astype(np.int32)]
