"""The face detectors that InsightFace publishes: RetinaFace, as the original component used it, and SCRFD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.imaging.picture import Picture, at_scale
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import Detections, bounded_side
from embedding_calculator.plugins.insightface.retinaface import RetinaFace
from embedding_calculator.plugins.insightface.scrfd import SCRFD

_CANVAS_STEP = 160
"""Sides of a canvas are multiples of this: inference engines keep memory for every shape they have met."""

_USUAL = 640
"""Long side in pixels up to which photos come in any shape: what they are reduced to by default."""


class Head(Protocol):
    """How a network's outputs mean faces."""

    whole_pixels: bool
    """Whether boxes are cut to whole pixels, of the canvas and again of the picture, as the original component did."""

    def decode(self, outputs: Mapping[str, Floats], canvas: tuple[int, int], threshold: float) -> Detections:
        """Faces at least as probable as ``threshold``, in pixels of a canvas of (width, height)."""
        ...


_HEADS: Mapping[str, Callable[[Mapping[str, Any]], Head]] = {"retinaface": RetinaFace, "scrfd": SCRFD}


class FaceDetector:
    """Faces of a whole picture, looked at once.

    ``max_side`` bounds the long side in pixels at which a picture is looked at; 0 means its full size, at most 4096.
    The catalogue entry's parameters: ``head`` (``retinaface`` or ``scrfd``) and what that head needs; ``threshold``,
    the default for ``detect``.
    """

    def __init__(self, model: Model, max_side: int) -> None:
        self.default_threshold = float(model.parameters["threshold"])
        self._model = model
        self._max_side = bounded_side(max_side)
        self._head = _HEADS[model.parameters["head"]](model.parameters)

    def detect(self, picture: Picture, threshold: float) -> Detections:
        """Every face more probable than ``threshold``, the most probable first.

        Boxes may reach beyond the picture: the networks guess at what its edge cuts off.
        """
        scale = min(1.0, self._max_side / max(picture.width, picture.height))
        canvas = _on_canvas(at_scale(picture, scale))
        outputs = self._model.network.run(self._model.input.tensor(canvas[None]))
        faces = self._head.decode(outputs, (canvas.shape[1], canvas.shape[0]), threshold)
        faces = faces[faces.probabilities > threshold]
        boxes = faces.boxes / scale
        if self._head.whole_pixels:
            boxes = np.trunc(np.trunc(faces.boxes.astype(np.float64)) * (1 / scale)).astype(np.float32)
        return Detections(boxes, faces.probabilities, faces.landmarks / scale)

    def warm_up(self) -> None:
        """Look once at every canvas that photos lead to.

        With a ``max_side`` beyond 640: of photos that are reduced to it, and of those no longer than 640. What is in
        between has many shapes, and each is met for the first time.
        """
        usual, longest = _stretched(min(_USUAL, self._max_side)), _stretched(self._max_side)
        sides = range(_CANVAS_STEP, longest + 1, _CANVAS_STEP)
        for height in sides:
            for width in sides:
                if max(height, width) <= usual or max(height, width) == longest:
                    self._model.network.run(self._model.input.tensor(np.zeros((1, height, width, 3), np.uint8)))


def _stretched(side: int) -> int:
    """A picture's side -> its canvas's."""
    return -(-side // _CANVAS_STEP) * _CANVAS_STEP


def _on_canvas(pixels: Pixels) -> Pixels:
    """The same pixels with black to the right and below, so that both sides are multiples of the step."""
    height, width = pixels.shape[:2]
    canvas = np.zeros((_stretched(height), _stretched(width), 3), np.uint8)
    canvas[:height, :width] = pixels
    return canvas
