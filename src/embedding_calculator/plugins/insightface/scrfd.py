"""The head of SCRFD: distances to a box's edges and to five points from the anchors of every cell of three grids.

Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", https://arxiv.org/abs/2105.04714.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.plugins.base import Detections
from embedding_calculator.plugins.insightface.candidates import best

_STRIDES = (8, 16, 32)
_SCORE, _BOX, _POINTS = 1, 4, 10


class SCRFD:
    """Reads nine outputs, told apart by their last dimension (1 score, 4 distances, 10 offsets) and their length.

    Names differ from model to model, so they do not matter. Parameter: ``overlap``, above which two boxes are one face.
    """

    whole_pixels = False

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._overlap = float(parameters["overlap"])

    def decode(self, outputs: Mapping[str, Floats], canvas: tuple[int, int], threshold: float) -> Detections:
        """Faces at least as probable as ``threshold``, in pixels of the canvas (width, height; multiples of 32).

        Raises ValueError where the outputs are those of another kind of network.
        """
        grids = {
            width: sorted((array.reshape(-1, width) for array in outputs.values() if array.shape[-1] == width), key=len)
            for width in (_SCORE, _BOX, _POINTS)
        }
        if any(len(grid) != len(_STRIDES) for grid in grids.values()):
            shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
            raise ValueError(
                "the head 'scrfd' reads nine outputs, three each of 1, 4 and 10 numbers an anchor; "
                f"this network has {shapes}"
            )
        return best(
            (
                _decode_stride(
                    scores[:, 0], boxes, points, (stride, canvas[0] // stride, canvas[1] // stride), threshold
                )
                for stride, scores, boxes, points in zip(
                    reversed(_STRIDES), grids[_SCORE], grids[_BOX], grids[_POINTS], strict=True
                )
            ),
            self._overlap,
        )


def _decode_stride(
    scores: Floats, boxes: Floats, points: Floats, grid: tuple[int, int, int], threshold: float
) -> Detections:
    """One grid (stride, columns, rows): its rows one after the other, a cell's anchors together."""
    stride, columns, rows = grid
    anchors = len(scores) // (columns * rows)
    chosen = np.flatnonzero(scores >= threshold)
    cells = chosen // anchors
    centre = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32) * stride
    reach = boxes[chosen] * stride
    return Detections(
        boxes=np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1),
        probabilities=scores[chosen],
        landmarks=centre[:, None] + points[chosen].reshape(-1, 5, 2) * stride,
    )
