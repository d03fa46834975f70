"""The five points of a face, told to the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.imaging.align import Crop
from embedding_calculator.plugins.base import FaceBatch, Fields


class LandmarksDetector:
    """The detector's points, of its second look where it has one.

    Left eye, right eye, nose, mouth left, mouth right (left = left in the image).
    """

    slug: ClassVar[str] = "landmarks"
    crop: Crop | None = None

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"landmarks": five (x, y)}`` a face: whole pixels of the whole picture, fractions cut off.

        A face whose points nobody looked for has five empty ones, as the original told it.
        """
        return [{"landmarks": tuple(_whole(point) for point in points)} for points in faces.detections.landmarks]


def _whole(point: Floats) -> tuple[int, ...]:
    return tuple(int(value) for value in point) if np.isfinite(point).all() else ()
