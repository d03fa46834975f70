"""MTCNN, with the answers of the component this one replaces.

Method: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016
(https://arxiv.org/abs/1604.02878). A small network looks at every place of a pyramid of the picture; a second and a
third one judge and refine what it proposes. Rounding, thresholds and margins are the original's, so that boxes, and
with them the crops and the embeddings that users have stored, stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.imaging.picture import Picture, at_scale
from embedding_calculator.models.runtime import Model, Network
from embedding_calculator.plugins.base import Detections, bounded_side
from embedding_calculator.plugins.suppression import suppress

_Doubles = NDArray[np.float64]

_CELL = 12
"""Pixels that one cell of the first network sees."""

_STRIDE = 2
"""Pixels from one cell of the first network to the next."""

_MINIFY = 2
"""How much finer than the small picture the photo is decoded, so that shrinking averages pixels as the original did."""

_STRIP_PIXELS = 1 << 19
"""How many pixels the first network is shown at once: more than any level of a picture of 640 pixels has."""


@dataclass(frozen=True, slots=True)
class _Faces:
    """Parallel arrays: boxes ``(N, 4)`` in pixels of the small picture, scores ``(N,)``, points ``(N, 5, 2)``."""

    boxes: _Doubles
    scores: Floats
    points: _Doubles


class FaceDetector:
    """Faces of 20 pixels and more in a picture shrunk to ``max_side``; 0 is 4096."""

    def __init__(self, model: Model, max_side: int) -> None:
        parameters = model.parameters
        self.default_threshold: float = parameters["threshold"]
        self._max_side = bounded_side(max_side)
        self._first_scale = _CELL / parameters["min_face"]
        self._scale_factor: float = parameters["scale_factor"]
        self._thresholds: dict[str, float] = dict(parameters["stage_thresholds"])
        self._overlaps: dict[str, float] = dict(parameters["overlaps"])
        self._margins = np.asarray(parameters["margins"], np.float64)
        self._max_candidates: int = parameters["max_candidates"]
        self._batch: int = parameters["batch"]
        self._networks = model.networks
        self._tensor = model.input.tensor

    def detect(self, picture: Picture, threshold: float) -> Detections:
        """Every face more probable than ``threshold``; the third network's own threshold (0.55) is the lowest."""
        small, enlargement = self._small(picture)
        candidates = self._refine(small, self._propose(small))
        faces = self._decide(small, candidates)
        chosen = faces.scores > threshold
        boxes = self._widen(faces.boxes[chosen], small.shape[1], small.shape[0])
        return Detections(
            np.trunc(boxes * enlargement).astype(np.float32),
            faces.scores[chosen],
            (np.trunc(faces.points[chosen]) * enlargement).astype(np.float32),
        )

    def _small(self, picture: Picture) -> tuple[Pixels, float]:
        scale = min(1.0, self._max_side / max(picture.width, picture.height))
        return at_scale(picture, scale, _MINIFY), 1 / scale

    def _propose(self, small: Pixels) -> _Doubles:
        """First stage: square candidates from every level of the pyramid."""
        found = [self._level(small, scale) for scale in self._scales(small)]
        if not found:
            return np.empty((0, 4))
        cells, offsets, scores = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        kept = suppress(cells, scores, self._overlaps["pyramid"], "union")[: self._max_candidates]
        cells, offsets = cells[kept], offsets[kept]
        sides = cells[:, 2:] - cells[:, :2]
        return np.trunc(_square(cells + offsets * np.tile(sides, 2)))

    def _scales(self, small: Pixels) -> Iterator[float]:
        shorter, power = min(small.shape[:2]) * self._first_scale, 0
        while shorter >= _CELL:
            yield self._first_scale * self._scale_factor**power
            shorter *= self._scale_factor
            power += 1

    def _level(self, small: Pixels, scale: float) -> tuple[_Doubles, Floats, Floats]:
        """What the first network finds at one level: boxes ``(n, 4)``, offsets ``(n, 4)``, scores ``(n,)``."""
        height, width = small.shape[:2]
        size = math.ceil(width * scale), math.ceil(height * scale)
        probability, offsets = self._cells(_shrunk(small, size))
        rows, columns = np.nonzero(probability >= self._thresholds["pnet"])
        scores = probability[rows, columns]
        corners = np.stack([columns, rows], axis=1) * _STRIDE
        boxes = np.concatenate([np.trunc((corners + 1) / scale), np.trunc((corners + _CELL) / scale)], axis=1)
        best = np.argsort(scores, kind="stable")[-self._max_candidates :]
        kept = best[suppress(boxes[best], scores[best], self._overlaps["level"], "union")]
        return boxes[kept], offsets[:, rows[kept], columns[kept]].T, scores[kept]

    def _cells(self, level: Pixels) -> tuple[Floats, Floats]:
        """The first network's ``(h, w)`` probabilities and ``(4, h, w)`` offsets of a level.

        It goes over a large level in strips, which changes nothing but the memory: a row of cells sees twelve rows of
        pixels and no more.
        """
        height, width = level.shape[:2]
        rows = math.ceil((height - _CELL) / _STRIDE) + 1
        step = max(1, _STRIP_PIXELS // (_STRIDE * width))
        answers = []
        for first in range(0, rows, step):
            end = _STRIDE * (first + step - 1) + _CELL if first + step < rows else height
            strip = self._tensor(level[None, _STRIDE * first : end])
            answers.append(self._networks["pnet"].run(strip))
        probability = np.concatenate([answer["probability"][0, 0] for answer in answers])
        return probability, np.concatenate([answer["offsets"][0] for answer in answers], axis=1)

    def _refine(self, small: Pixels, squares: _Doubles) -> _Doubles:
        """Second stage: fewer and better squares."""
        if not len(squares):
            return squares
        answer = self._judge(self._networks["rnet"], small, squares, 24)
        scores = answer["probability"][:, 0]
        passed = np.flatnonzero(scores > self._thresholds["rnet"])
        kept = passed[suppress(squares[passed], scores[passed], self._overlaps["rnet"], "union")]
        return np.trunc(_square(_moved(squares[kept], answer["offsets"][kept])))

    def _decide(self, small: Pixels, squares: _Doubles) -> _Faces:
        """Third stage: faces, their boxes no longer square, and their five points."""
        if not len(squares):
            return _Faces(squares, np.empty(0, np.float32), np.empty((0, 5, 2)))
        answer = self._judge(self._networks["onet"], small, squares, 48)
        scores = answer["probability"][:, 0]
        passed = np.flatnonzero(scores > self._thresholds["onet"])
        squares, scores = squares[passed], scores[passed]
        sides = squares[:, 2:] - squares[:, :2] + 1
        parts = answer["landmarks"][passed].reshape(-1, 2, 5).transpose(0, 2, 1)
        points = parts * sides[:, None] + squares[:, None, :2] - 1
        boxes = _moved(squares, answer["offsets"][passed])
        kept = suppress(boxes, scores, self._overlaps["onet"], "smaller")
        return _Faces(boxes[kept], scores[kept], points[kept])

    def _judge(self, network: Network, small: Pixels, squares: _Doubles, side: int) -> dict[str, Floats]:
        """A network's answers for every square; the candidates of a picture are few batches, never one of any size."""
        chunks = np.array_split(squares, max(1, math.ceil(len(squares) / self._batch)))
        answers = [network.run(self._tensor(_windows(small, chunk, side))) for chunk in chunks]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _widen(self, boxes: _Doubles, width: int, height: int) -> _Doubles:
        """The box as the original reports it: whole pixels, with margins, inside the picture."""
        low = np.maximum(np.trunc(boxes[:, :2]), 0)
        sides = np.maximum(np.trunc(boxes[:, 2:] - low), 0)
        wide = np.concatenate([low, low + sides], axis=1) + self._margins * np.tile(sides, 2)
        return np.asarray(np.trunc(np.clip(wide, 0, [width, height, width, height])), np.float64)


def _shrunk(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _moved(boxes: _Doubles, offsets: Floats) -> _Doubles:
    """Each edge moved by its offset, in units of the box's sides, both corners included."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + offsets * np.tile(sides, 2)


def _square(boxes: _Doubles) -> _Doubles:
    """The square around each box's centre with its longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    low = boxes[:, :2] + sides * 0.5 - longer * 0.5
    return np.concatenate([low, low + longer], axis=1)


def _windows(small: Pixels, squares: _Doubles, side: int) -> Floats:
    """Every square resized to ``side`` by area: ``(N, side, side, 3)``, 0..255; black outside the picture.

    The first pixel of a square is the one before its corner: the authors' code counts pixels from one.
    """
    height, width = small.shape[:2]
    windows = np.zeros((len(squares), side, side, 3), np.float32)
    for window, (left, top, right, bottom) in zip(windows, squares.astype(int) - (1, 1, 0, 0), strict=True):
        inside = small[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)].astype(np.float32)
        if inside.size:
            beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
            whole = cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_CONSTANT) if any(beyond) else inside
            cv2.resize(whole, (side, side), window, interpolation=cv2.INTER_AREA)
    return windows
