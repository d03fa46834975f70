"""The default face detector: YuNet on canvases that suit it, and a closer look where it hesitates."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.imaging.picture import Picture
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import Detections, bounded_side
from embedding_calculator.plugins.opencv_zoo import refine, yunet

_CANVAS = 640
"""Long side, in pixels, of the canvas for a photo of ordinary size. Smaller photos are enlarged to it, which finds
small faces: on street photos of 400 px it lifts recall by 4 points. More than 640 gains nothing there."""

_COARSEST = 320
"""A canvas this long is not halved again: a face that fills it is of a size YuNet was trained on (up to 300 px)."""

_LARGE = 128
"""Width in canvas pixels from which a face is found more surely, and boxed better, on a canvas half the size."""

_HINT = 0.4
"""Share of the default threshold from which the network is taken to hesitate rather than to see no face."""

_SMALLEST = 10
"""Width in canvas pixels below which a suspicion is dismissed: YuNet was not trained on smaller faces."""

_WINDOW = 160
"""Side in pixels of the window for a closer look."""

_WINDOW_MARGIN = 2.5
"""The window's side in faces: the face becomes 64 px, the size YuNet knows best, and shows its surroundings."""

_WINDOWS = 32
"""Closer looks a picture, at the most probable suspicions: a crowd costs no more than a second canvas."""


class FaceDetector:
    """Faces of a whole picture, large and small.

    ``max_side`` bounds the long side in pixels at which a picture is looked at; 0 means its full size, at most 4096.
    The catalogue entry's parameters: ``threshold``, the default for ``detect``; ``overlap``, above which two boxes
    are one face (intersection over union); ``min_size``, the width in pixels of the whole picture below which a face
    is not reported, being too small to tell anybody apart.

    Canvases have few shapes (sides are multiples of 64, beyond 640 of 128), because inference engines keep memory for
    every shape they have met.
    """

    def __init__(self, model: Model, max_side: int) -> None:
        self.default_threshold = float(model.parameters["threshold"])
        self._hint = self.default_threshold * _HINT
        self._model = model
        self._max_side = bounded_side(max_side)
        self._overlap = float(model.parameters["overlap"])
        self._min_size = float(model.parameters["min_size"])

    def detect(self, picture: Picture, threshold: float) -> Detections:
        """Every face more probable than ``threshold``, the most probable first.

        What is less probable than the default threshold is a suspicion, and gets a closer look of its own; the surer
        of the two looks counts. On street photos that allows a threshold higher by 0.1 at the same recall; it costs a
        sixteenth of a canvas for each suspicion, of which most photos have none. How probable a face is does not
        depend on ``threshold``.
        """
        side = max(picture.width, picture.height)
        scale = min(max(side, _CANVAS), self._max_side) / side
        pixels = picture.raster(min(scale, 1.0)).pixels
        size = (picture.width, picture.height)

        survey = yunet.suppress(self._survey(pixels, scale, size, min(threshold, self._hint)), self._overlap)
        survey = survey[_widths(survey) >= self._min_size]
        doubtful = (survey.probabilities > self._hint) & (survey.probabilities <= self.default_threshold)
        suspicions = survey[doubtful & (_widths(survey) * scale >= _SMALLEST)][:_WINDOWS]
        closer = self._look_closer(pixels, size, suspicions)
        found = yunet.suppress(_together([survey, closer]), self._overlap)
        return found[(found.probabilities > threshold) & (_widths(found) >= self._min_size)]

    def refine(self, picture: Picture, detections: Detections) -> Floats:
        """Points from a second look at each face, in one batch: ``(N, 5, 2)``, see ``refine.refine``."""
        return refine.refine(picture, detections, self._model.networks["onet"], self._model.inputs["onet"])

    def warm_up(self) -> None:
        """Look once at every canvas that photos lead to, and at a window.

        With a ``max_side`` beyond 640: of photos that are reduced to it, and of those enlarged to 640. What is in
        between has many shapes, and each is met for the first time.
        """
        canvases = _canvases(min(_CANVAS, self._max_side)) | _canvases(self._max_side)
        for height, width in sorted(canvases | {(_WINDOW, _WINDOW)}):
            yunet.find(self._model, np.zeros((1, height, width, 3), np.uint8), self.default_threshold)

    def _survey(self, pixels: Pixels, scale: float, size: tuple[int, int], threshold: float) -> Detections:
        """Opinions about the whole picture, unsuppressed.

        Large faces are looked for on halved canvases too, but only where there may be some: where a look suspects a
        large face, finds nothing for sure, or was at a canvas too large to show any.
        """
        image = _resized(pixels, scale * max(size) / max(pixels.shape[:2]))
        levels: list[Detections] = []
        while True:
            _, opinions = yunet.find(self._model, _padded(image)[None], threshold)
            widths = _widths(opinions)
            if levels:
                opinions = opinions[widths >= _LARGE / 2]
            levels.append(_moved(opinions, np.zeros(2), np.divide(size, image.shape[1::-1])))

            side = max(image.shape[:2])
            found = bool((opinions.probabilities > self.default_threshold).any())
            worthwhile = side > _CANVAS or not found or bool((widths >= _LARGE).any())
            if side <= _COARSEST or not worthwhile:
                return _together(levels)
            image = _resized(image, 0.5)

    def _look_closer(self, pixels: Pixels, size: tuple[int, int], suspicions: Detections) -> Detections:
        """Opinions about the faces suspected, from a window around each."""
        if len(suspicions) == 0:
            return suspicions
        scale = np.divide(size, pixels.shape[1::-1])
        windows, corners, sides = _windows(pixels, suspicions.boxes / np.tile(scale, 2))
        which, opinions = yunet.find(self._model, windows, self._hint)
        opinions = _moved(opinions, corners[which], sides[which, None] / _WINDOW)
        opinions = _moved(opinions, np.zeros(2), scale)
        return opinions[_overlaps(opinions.boxes, suspicions.boxes[which]) > self._overlap]


def _widths(found: Detections) -> Floats:
    widths: Floats = found.boxes[:, 2] - found.boxes[:, 0]
    return widths


def _overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union, row by row: two of ``(N, 4)`` -> ``(N,)``."""
    top_left, bottom_right = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    shared = np.clip(bottom_right - top_left, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (others[:, 2:] - others[:, :2]).prod(axis=1)
    overlaps: Floats = shared / (areas - shared)
    return overlaps


def _together(parts: list[Detections]) -> Detections:
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
    )


def _moved(found: Detections, origin: NDArray[np.float64], scale: NDArray[np.float64]) -> Detections:
    """Multiplied by ``scale``, then shifted by ``origin``: x and y, for all ``(2,)`` or for each ``(N, 2)``."""
    shape = (len(found), 2)
    offset, factor = np.broadcast_to(origin, shape), np.broadcast_to(scale, shape)
    return Detections(
        (found.boxes * np.tile(factor, 2) + np.tile(offset, 2)).astype(np.float32),
        found.probabilities,
        (found.landmarks * factor[:, None] + offset[:, None]).astype(np.float32),
    )


def _resized(image: Pixels, factor: float) -> Pixels:
    if factor == 1:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    # Averaging over areas takes four times as long; down to half the size no pixel goes unseen without it.
    interpolation = cv2.INTER_AREA if factor <= 0.5 else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)


def _padded(image: Pixels) -> Pixels:
    """The image at the top left of a black canvas of one of few shapes."""
    height, width = image.shape[:2]
    canvas = np.zeros((*_canvas(height, width), 3), np.uint8)
    canvas[:height, :width] = image
    return canvas


def _canvas(height: int, width: int) -> tuple[int, int]:
    """Height and width of the canvas for an image."""
    step = 64 if max(height, width) <= _CANVAS else 128
    return -(-height // step) * step, -(-width // step) * step


def _canvases(longest: int) -> set[tuple[int, int]]:
    """Height and width of all canvases for images with this long side, and for what they are halved to."""
    wide = {_canvas(shorter, longest) for shorter in range(1, longest + 1)}
    smaller = _canvases(round(longest * 0.5)) if longest > _COARSEST else set()
    return wide | {(width, height) for height, width in wide} | smaller


def _windows(image: Pixels, boxes: Floats) -> tuple[Pixels, NDArray[np.float64], NDArray[np.float64]]:
    """A square around each box, ``(N, 160, 160, 3)``, with its top left corner ``(N, 2)`` and side ``(N,)``.

    Corners and sides are whole pixels of ``image``; outside it is black.
    """
    sides = np.ceil((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * _WINDOW_MARGIN).astype(int)
    corners = np.floor((boxes[:, :2] + boxes[:, 2:] - sides[:, None]) / 2).astype(int)
    windows = np.zeros((len(boxes), _WINDOW, _WINDOW, 3), np.uint8)
    for window, corner, side in zip(windows, corners, sides, strict=True):
        left, top = np.maximum(corner, 0)
        right, bottom = np.maximum(corner + side, 0)
        inside = image[top:bottom, left:right]
        if inside.size:
            shrunk = _resized(inside, _WINDOW / side)
            x, y = np.round(np.maximum(-corner, 0) * (_WINDOW / side)).astype(int)
            target = window[y : y + shrunk.shape[0], x : x + shrunk.shape[1]]
            target[:] = shrunk[: target.shape[0], : target.shape[1]]
    return windows, corners.astype(float), sides.astype(float)
