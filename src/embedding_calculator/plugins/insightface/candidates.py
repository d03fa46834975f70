"""Thinning out what a detection network says several times about the same face."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from embedding_calculator.plugins.base import Detections
from embedding_calculator.plugins.suppression import suppress


def best(parts: Iterable[Detections], overlap: float) -> Detections:
    """The most probable candidate of every face, most probable first, from the candidates of all strides.

    Two boxes whose intersection over union exceeds ``overlap`` are the same face, see ``suppress``.
    """
    boxes, probabilities, landmarks = (
        np.concatenate(arrays)
        for arrays in zip(*((part.boxes, part.probabilities, part.landmarks) for part in parts), strict=True)
    )
    return Detections(boxes, probabilities, landmarks)[suppress(boxes, probabilities, overlap, "union")]
