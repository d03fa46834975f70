"""The journey of one photo through a detector and the plugins; holds no state of any request."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import EmbeddingCalculatorError, PluginError
from embedding_calculator.imaging.align import ARCFACE_112, Crop, cut, needed_scale
from embedding_calculator.imaging.picture import Picture
from embedding_calculator.plugins.base import Calculator, Detections, Detector, FaceBatch, FacePlugin, Fields, Refiner
from embedding_calculator.plugins.registry import Configured
from embedding_calculator.results import Box

_FACES_AT_ONCE = 32
"""Engines keep memory for the largest batch they have met: with everything asked, 300 faces at once took 430 MB and
kept 420; 32 at a time take 100, and no more time."""

_SUSPICION = 0.5
"""Of a picture that is said to be a face, the detector need not be as sure as otherwise."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the plugins said.

    ``fields`` has one mapping a face. ``times`` says when a plugin, by its slug, began and ended with some of them, in
    seconds of ``time.perf_counter``; each plugin is in it at least once.
    """

    fields: Sequence[Fields]
    times: Sequence[tuple[str, float, float]]

    @property
    def milliseconds(self) -> dict[str, float]:
        """By slug, what one face cost on average."""
        sums: dict[str, float] = {}
        for slug, start, end in self.times:
            sums[slug] = sums.get(slug, 0.0) + (end - start) * 1000 / max(len(self.fields), 1)
        return sums


class Analyzer:
    """A detector and plugins, ready to run; safe to call from several threads at once."""

    def __init__(
        self,
        detector: Configured[Detector],
        calculator: Configured[Calculator],
        extras: Sequence[Configured[FacePlugin]] = (),
    ) -> None:
        self.detector = detector
        self.calculator = calculator
        self.plugins: tuple[Configured[FacePlugin], ...] = (calculator, *extras)

    @property
    def stored_chroma(self) -> bool:
        """Whether pictures are to be opened for a model of the original's; see ``imaging.chroma``."""
        return self.detector.stored_chroma or self.calculator.stored_chroma

    @property
    def versions(self) -> dict[str, str]:
        """Slug to plugin string of everything configured; where two share a slug the later one is meant."""
        return {configured.slug: configured.version for configured in (self.detector, *self.plugins)}

    def chosen(self, slugs: Collection[str]) -> tuple[Configured[FacePlugin], ...]:
        """The configured plugins with these slugs, in the order of the configuration; others are ignored."""
        return tuple(plugin for plugin in self.plugins if plugin.slug in slugs)

    def detect(self, picture: Picture, threshold: float | None = None) -> tuple[Detections, float]:
        """Every face more probable than ``threshold`` (default: the detector's own), largest box first.

        Returns:
            The faces, and the milliseconds it took to find one of them on average.

        Raises:
            ImageUnreadableError, ImageTooLargeError: the picture turns out to be broken, or larger than it said.
            BusyError: there is too little memory to decode it now.
            PluginError: the detector failed.
        """
        start = time.perf_counter()
        detector = self.detector.run
        with _failures_named(self.detector):
            found = detector.detect(picture, detector.default_threshold if threshold is None else threshold)
        areas = (found.boxes[:, 2] - found.boxes[:, 0]) * (found.boxes[:, 3] - found.boxes[:, 1])
        found = found[np.argsort(-areas, kind="stable")]
        return found, _milliseconds_each(start, len(found))

    def take_whole(self, picture: Picture) -> Detections:
        """The one face of a picture that the caller says is a face already: its box is the whole picture.

        The points are those of the largest face that the detector sees in it, because an embedding needs them; where
        it sees none they are unknown, NaN.
        """
        detector = self.detector.run
        points = np.full((1, 5, 2), np.nan, np.float32)
        seen, _ = self.detect(picture, min(detector.default_threshold, _SUSPICION))
        if len(seen):
            points = self._refined(picture, seen[:1])
        box = np.array([[0, 0, picture.width, picture.height]], np.float32)
        return Detections(box, np.ones(1, np.float32), points)

    def describe(
        self, picture: Picture, faces: Detections, plugins: Sequence[Configured[FacePlugin]], *, whole: bool = False
    ) -> Description:
        """Ask each plugin about all faces, a bounded number at a time; every crop is cut once and shared.

        ``whole`` says that ``faces`` are from ``take_whole``: their boxes do not frame the faces, so that a second
        look would look past them, and their points have had theirs.

        Raises:
            ImageUnreadableError, ImageTooLargeError, BusyError: as in ``detect``.
            PluginError: a plugin failed, or did not answer for each face; the text names it.
        """
        if not len(faces):
            now = time.perf_counter()
            return Description([], [(plugin.slug, now, now) for plugin in plugins])
        fields: list[dict[str, Any]] = [{} for _ in range(len(faces))]
        times = []
        # The smallest first: they need the finest pixels, which serve all others too.
        for first in reversed(range(0, len(faces), _FACES_AT_ONCE)):
            some = slice(first, first + _FACES_AT_ONCE)
            seen, crops = self._looked_at(picture, faces[some], plugins, whole)
            batch = FaceBatch(picture.width, picture.height, seen, crops)
            for plugin in plugins:
                start = time.perf_counter()
                with _failures_named(plugin):
                    for face, answer in zip(fields[some], plugin.run(batch), strict=True):
                        face.update(answer)
                times.append((plugin.slug, start, time.perf_counter()))
        return Description(fields, times)

    def _looked_at(
        self, picture: Picture, faces: Detections, plugins: Sequence[Configured[FacePlugin]], whole: bool
    ) -> tuple[Detections, dict[Crop, Any]]:
        """The faces with the best points to be had, and cut out as the plugins want them."""
        kinds = {plugin.run.crop for plugin in plugins if plugin.run.crop is not None}
        if plugins and not whole:
            if kinds:
                # At once as fine as the crops will want it: the second look wants less, and decoding would begin again.
                points = _known(faces.landmarks, faces.boxes)
                picture.raster(max(needed_scale(kind, faces.boxes, points) for kind in kinds))
            faces = replace(faces, landmarks=self._refined(picture, faces))
        points = _known(faces.landmarks, faces.boxes)
        return faces, {kind: cut(picture, kind, faces.boxes, points) for kind in kinds}

    def _refined(self, picture: Picture, faces: Detections) -> Floats:
        """The points of a second look, by detectors that have one."""
        detector = self.detector.run
        if not isinstance(detector, Refiner):
            return faces.landmarks
        with _failures_named(self.detector):
            return detector.refine(picture, faces)


@contextmanager
def _failures_named(plugin: Configured[object]) -> Iterator[None]:
    """What a plugin raises becomes a PluginError; our own errors, such as of a broken picture, stay what they are."""
    try:
        yield
    except EmbeddingCalculatorError:
        raise
    except Exception as error:
        raise PluginError(plugin.version, error) from error


def box_of(faces: Detections, index: int) -> Box:
    """One face's box in whole pixels."""
    x_min, y_min, x_max, y_max = np.rint(faces.boxes[index]).astype(int).tolist()
    return Box(x_min, y_min, x_max, y_max, float(faces.probabilities[index]))


def _known(landmarks: Floats, boxes: Floats) -> Floats:
    """The same ``(N, 5, 2)``; points that nobody looked for lie where they do if the box is an aligned crop."""
    unit = np.asarray(ARCFACE_112.template, np.float32) / np.asarray(ARCFACE_112.size, np.float32)
    corners, sides = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    return np.where(np.isnan(landmarks), corners + unit * sides, landmarks)


def _milliseconds_each(start: float, faces: int) -> float:
    return (time.perf_counter() - start) * 1000 / max(faces, 1)
