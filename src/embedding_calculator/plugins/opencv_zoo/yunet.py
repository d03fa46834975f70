"""YuNet: the network's numbers to faces, for any number of canvases at once.

Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20 (2023),
https://doi.org/10.1007/s11633-023-1423-y. Anchor-free: every cell of three grids says how likely it lies in a face,
and where that face's box and five points are, measured in cells.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import Detections

STRIDES = (8, 16, 32)
"""Pixels a cell; a canvas's sides are multiples of the largest."""

Indices = NDArray[np.intp]


def find(model: Model, canvases: Pixels, threshold: float) -> tuple[Indices, Detections]:
    """Every cell's opinion more probable than ``threshold``: usually several a face, see ``suppress``.

    ``canvases`` is ``(N, H, W, 3)`` uint8 RGB, H and W multiples of 32. Returns for each of M opinions the canvas it
    is about, ``(M,)`` with values 0..N-1, and the M boxes, probabilities and landmarks in pixels of that canvas. The
    network calls the person's right eye and mouth corner the first; seen from the front these are the left ones of
    the image, so the order is already the one ``Detections`` promises.
    """
    outputs = model.networks["network"].run(model.input.tensor(canvases))
    levels = [_decode(outputs, stride, canvases.shape[2] // stride, threshold) for stride in STRIDES]
    which, boxes, probabilities, landmarks = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    return which, Detections(boxes, probabilities, landmarks)


def _decode(
    outputs: Mapping[str, Floats], stride: int, columns: int, threshold: float
) -> tuple[Indices, Floats, Floats, Floats]:
    """One grid: the canvas, box, probability and landmarks of every cell above the threshold."""
    probabilities = np.sqrt(outputs[f"cls_{stride}"] * outputs[f"obj_{stride}"])[..., 0]
    which, cells = np.nonzero(probabilities > threshold)
    corner = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)

    shape = outputs[f"bbox_{stride}"][which, cells]
    centre, half = corner + shape[:, :2], np.exp(shape[:, 2:]) / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1) * stride
    landmarks = (corner[:, None] + outputs[f"kps_{stride}"][which, cells].reshape(-1, 5, 2)) * stride
    return which, boxes, probabilities[which, cells], landmarks


def suppress(detections: Detections, overlap: float) -> Detections:
    """The most probable opinion about each face, the most probable face first.

    Of two boxes whose intersection over union exceeds ``overlap`` the less probable is dropped.
    """
    if len(detections) == 0:
        return detections
    corners = detections.boxes[:, :2]
    rectangles = np.concatenate([corners, detections.boxes[:, 2:] - corners], axis=1).astype(float)
    kept = cv2.dnn.NMSBoxes(rectangles.tolist(), detections.probabilities.tolist(), 0.0, overlap)
    return detections[np.asarray(kept, np.intp).reshape(-1)]
