"""Greedy non-maximum suppression, with the pixel convention of MTCNN and RetinaFace."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Overlap = Literal["union", "smaller"]


def suppress(boxes: NDArray[Any], scores: NDArray[Any], limit: float, overlap: Overlap) -> NDArray[np.intp]:
    """Indices of the boxes that no better kept box overlaps by more than ``limit``, best first.

    ``boxes`` is ``(N, 4)``, both corners included, so that a box from 3 to 5 is three pixels wide; ``scores`` ``(N,)``.
    Of equal scores the later box is the better. The overlap is the common area over the union of both, or over the
    smaller of both.
    """
    corners = np.asarray(boxes, np.float64)
    low, high = corners[:, :2], corners[:, 2:]
    areas = np.prod(high - low + 1, axis=1)
    rest = np.argsort(scores, kind="stable")[::-1]
    kept: list[np.intp] = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        sides = np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest]) + 1
        common = np.prod(np.maximum(sides, 0), axis=1)
        smaller = np.minimum(areas[best], areas[rest])
        whole = areas[best] + areas[rest] - common if overlap == "union" else smaller
        rest = rest[common <= limit * whole]
    return np.asarray(kept, np.intp)
