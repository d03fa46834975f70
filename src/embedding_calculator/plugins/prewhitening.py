"""How FaceNet's world makes faces in light and shade alike."""

from __future__ import annotations

import numpy as np

from embedding_calculator.arrays import Floats, Pixels


def prewhitened(crops: Pixels) -> Floats:
    """``(N, H, W, 3)`` uint8 RGB to ``(N, 3, H, W)`` float32: each face with mean 0 and deviation 1.

    Mean and deviation are over all its pixels and colours. A face of one colour is not blown up: the deviation counts
    as 1 / sqrt(3HW) at least, of pixels from 0 to 1.
    """
    planes = crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    over = (1, 2, 3)
    means = planes.mean(axis=over, keepdims=True, dtype=np.float64)
    deviations = planes.std(axis=over, keepdims=True, dtype=np.float64)
    least = 1 / np.sqrt(np.prod(planes.shape[1:]))
    return np.ascontiguousarray((planes - means) / np.maximum(deviations, least), np.float32)
