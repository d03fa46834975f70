"""Thinning out what a detection network says several times about the same face."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.plugins.base import Detections


def best(parts: Iterable[Detections], overlap: float) -> Detections:
    """The most probable candidate of every face, most probable first, from the candidates of all strides.

    Two boxes whose intersection over union exceeds ``overlap`` are the same face. A box covers the pixels of both its
    edges, so that its width is ``x_max - x_min + 1``.
    """
    boxes, probabilities, landmarks = (
        np.concatenate(arrays)
        for arrays in zip(*((part.boxes, part.probabilities, part.landmarks) for part in parts), strict=True)
    )
    order = np.argsort(-probabilities, kind="stable")
    kept: list[int] = []
    while order.size:
        first, order = order[0], order[1:]
        kept.append(int(first))
        order = order[_overlaps(boxes[first], boxes[order]) <= overlap]
    return Detections(boxes, probabilities, landmarks)[np.array(kept, np.intp)]


def _overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of one box, ``(4,)``, with each of the others, ``(N, 4)``."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + 1
    shared = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2] + 1, axis=1)
    overlaps: Floats = shared / (np.prod(box[2:] - box[:2] + 1) + areas - shared)
    return overlaps
