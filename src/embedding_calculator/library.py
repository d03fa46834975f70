"""The engine for Python programs: ``FaceAnalyzer``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from traceback import clear_frames
from typing import Any, TypeAlias, TypeVar

import numpy as np

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.engine.admission import pixel_budget, pixels_of
from embedding_calculator.engine.analyzer import box_of
from embedding_calculator.engine.assembly import build
from embedding_calculator.engine.intake import take_in
from embedding_calculator.engine.many import side_by_side
from embedding_calculator.errors import InputError, unknown_names
from embedding_calculator.imaging.picture import ArrayPicture, EncodedPicture
from embedding_calculator.plugins.base import FacePlugin
from embedding_calculator.plugins.embedding import similarity
from embedding_calculator.plugins.registry import Configured
from embedding_calculator.results import Box, Face, Found
from embedding_calculator.settings import Settings

Photo: TypeAlias = str | Path | bytes | Pixels
P = TypeVar("P", bound=Photo)

_KNOWN_FIELDS = frozenset(field.name for field in fields(Face)) - {"box", "extra"}


class FaceAnalyzer:
    """Finds and describes faces, in this process. Opening the models takes a second; keep one and use it everywhere.

    Safe to call from several threads at once.
    """

    def __init__(self, **settings: Any) -> None:
        """Any setting of the service by its name in lower case, e.g. ``face_detection_plugin="facenet.FaceDetector"``.

        What is not given here is read from the environment, and else has its default.

        Raises:
            ConfigurationError: a setting, a plugin or a model does not exist.
            ModelError: a model is missing; the text says which command fetches it.
        """
        self._settings = Settings(**settings)
        self._analyzer = build(self._settings).named()
        self._pixels = pixel_budget(self._settings)

    @property
    def plugins(self) -> tuple[str, ...]:
        """The slugs that ``find_faces`` understands."""
        return tuple(plugin.slug for plugin in self._analyzer.plugins)

    @property
    def versions(self) -> dict[str, str]:
        """Slug to plugin of everything configured, the detector included."""
        return self._analyzer.versions

    @property
    def similarity_coefficients(self) -> tuple[float, float]:
        """What ``similarity`` makes of a distance; see ``plugins.base.Calculator``."""
        return self._analyzer.calculator.run.similarity_coefficients

    def find_faces(
        self,
        photo: Photo,
        *,
        plugins: Iterable[str] | None = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> list[Face]:
        """Every face in a photo, largest first; an empty list if there is none.

        Args:
            photo: a path, the bytes of an encoded picture, or ``(H, W, 3)`` uint8 RGB pixels.
            plugins: slugs of what to compute (see ``plugins``); all by default.
            threshold: keep faces more probable than this, 0..1; the detector's own by default.
            limit: only the n largest faces.

        Raises:
            ImageUnreadableError, ImageTooLargeError: the photo cannot be used.
            BusyError: there is too little memory to decode it now.
            InputError: a slug is unknown, or the pixels have another shape or type.
            OSError: the file cannot be read.
        """
        return self._find(photo, self._chosen(plugins), threshold, limit)

    def find_faces_in(
        self,
        photos: Iterable[P],
        *,
        plugins: Iterable[str] | None = None,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> Iterator[Found[P]]:
        """Every face in each of many photos, in the order in which they are ready; else as ``find_faces``.

        As many photos are computed at once as the setting ``uwsgi_threads`` says, by default the processors that are
        granted. A generator of a million paths is read only a few photos ahead, and a file is read when its turn
        comes, so that memory stays flat. What is wrong with one photo is told in its ``Found.error``.

        Raises:
            InputError: a slug is unknown.
        """
        chosen, threads = self._chosen(plugins), self._settings.uwsgi_threads

        def find(job: tuple[int, P]) -> tuple[Found[P]]:
            index, photo = job
            try:
                return (Found(index, photo, self._find(photo, chosen, threshold, limit)),)
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is this photo's, and the caller is told
                _let_go(error)
                return (Found(index, photo, error=error),)

        return side_by_side(enumerate(photos), find, threads=threads, ahead=threads)

    def similarity(self, first: Floats, second: Floats) -> float:
        """How alike two embeddings are, 0..1; 0.5 is the threshold at which two faces are best told apart.

        Args:
            first, second: ``(D,)`` embeddings of this analyzer's calculator, of any length.
        """
        distance = np.linalg.norm(first / np.linalg.norm(first) - second / np.linalg.norm(second))
        return float(similarity(np.asarray(distance, np.float64), self.similarity_coefficients))

    def _chosen(self, plugins: Iterable[str] | None) -> tuple[Configured[FacePlugin], ...]:
        chosen = self.plugins if plugins is None else tuple(plugins)
        if unknown := sorted(set(chosen) - set(self.plugins)):
            raise InputError(unknown_names("plugin", unknown, self.plugins))
        return self._analyzer.chosen(chosen)

    def _find(
        self, photo: Photo, plugins: tuple[Configured[FacePlugin], ...], threshold: float | None, limit: int | None
    ) -> list[Face]:
        picture = self._open(photo)
        # Pixels that the caller holds anyway take no more room.
        pixels = 0 if isinstance(picture, ArrayPicture) else pixels_of(picture.working_bytes)
        self._pixels.take(pixels, lambda: None)
        try:
            found, _ = self._analyzer.detect(picture, threshold)
            found = found[:limit]
            description = self._analyzer.describe(picture, found, plugins)
        finally:
            del picture
            self._pixels.give_back(pixels)
        return [_face(box_of(found, index), answers) for index, answers in enumerate(description.fields)]

    def _open(self, photo: Photo) -> EncodedPicture | ArrayPicture:
        if isinstance(photo, np.ndarray):
            if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
                raise InputError(f"pixels must be (H, W, 3) uint8 RGB, not {photo.shape} {photo.dtype}")
            return ArrayPicture(photo)
        data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        return take_in(data, self._settings, stored_chroma=self._analyzer.stored_chroma)


def _let_go(error: BaseException | None) -> None:
    """Of the pictures that the frames behind an error hold for as long as it lives."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _face(box: Box, answers: Mapping[str, Any]) -> Face:
    known = {name: value for name, value in answers.items() if name in _KNOWN_FIELDS}
    extra = {name: value for name, value in answers.items() if name not in _KNOWN_FIELDS}
    return Face(box, **known, extra=extra)
