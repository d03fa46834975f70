"""The head of RetinaFace's MXNet models: two square anchors in every cell of three grids.

Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild", https://arxiv.org/abs/1905.00641; anchors
and units are those of the published models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.plugins.base import Detections
from embedding_calculator.plugins.insightface.candidates import best

_ANCHORS = {32: (512, 256), 16: (128, 64), 8: (32, 16)}
"""Pixels a cell -> sides of its anchors in pixels."""

_FIRST_CENTRE = np.float32(7.5)
"""The first cell's anchors lie around the middle of a square of 16 pixels, whatever the stride."""


class RetinaFace:
    """Reads ``face_rpn_{cls_prob_reshape,bbox_pred,landmark_pred}_stride{32,16,8}_output``.

    Parameters: ``overlap``, above which two boxes are one face; ``landmark_std``, the unit of landmark offsets in
    anchor sides: 1.0 for the models that their authors call ``net3``, 0.2 for ``net3l``.
    """

    whole_pixels = True

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._overlap = float(parameters["overlap"])
        self._landmark_std = np.float32(parameters["landmark_std"])

    def decode(self, outputs: Mapping[str, Floats], canvas: tuple[int, int], threshold: float) -> Detections:
        """Faces at least as probable as ``threshold``, in pixels of the canvas (width, height).

        Raises ValueError where the outputs are those of another kind of network.
        """
        del canvas  # the outputs are grids already
        return best((self._decode_stride(outputs, stride, threshold) for stride in _ANCHORS), self._overlap)

    def _decode_stride(self, outputs: Mapping[str, Floats], stride: int, threshold: float) -> Detections:
        sides = np.array(_ANCHORS[stride], np.float32)
        # Channels: no face for each anchor, then face for each anchor.
        scores = _grid(outputs, "cls_prob_reshape", stride)[len(sides) :]
        anchors, rows, columns = np.nonzero(scores >= threshold)

        def chosen(kind: str) -> Floats:
            grid = _grid(outputs, kind, stride)
            values: Floats = grid.reshape(len(sides), -1, *grid.shape[1:])[anchors, :, rows, columns]
            return values

        side = sides[anchors, None]
        centre = np.stack([columns, rows], axis=1).astype(np.float32) * stride + _FIRST_CENTRE
        box = chosen("bbox_pred")
        middle = centre + box[:, :2] * side
        # To the outermost pixels' centres, which are a pixel less than the width apart.
        reach = (np.exp(box[:, 2:]) * side - 1) / 2
        points = chosen("landmark_pred").reshape(-1, 5, 2) * self._landmark_std
        return Detections(
            boxes=np.concatenate([middle - reach, middle + reach], axis=1),
            probabilities=scores[anchors, rows, columns],
            landmarks=centre[:, None] + points * side[:, None],
        )


def _grid(outputs: Mapping[str, Floats], kind: str, stride: int) -> Floats:
    """One output for the one picture, ``(channels, rows, columns)``."""
    name = f"face_rpn_{kind}_stride{stride}_output"
    if name not in outputs:
        raise ValueError(f"the head 'retinaface' reads the output {name}; this network has {', '.join(outputs)}")
    grid: Floats = outputs[name][0]
    return grid
