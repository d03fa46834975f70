"""The contract between the engine and whoever has something to say about a face.

A plugin is called with **all** faces of a picture, or a bounded number of them at a time where there are very many, and
returns as many answers, in the same order; where there are no faces it is not called. It says as data which crop it
needs; the engine cuts every crop once and shares it. One face is a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.imaging.align import Crop
from embedding_calculator.imaging.picture import Picture

T = TypeVar("T")

Fields = Mapping[str, Any]
"""What a plugin adds to one face: field name -> value, e.g. ``{"age": Age(...)}``, ``{"embedding": array}``."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Faces of one picture, as parallel arrays, in coordinates of the whole picture.

    boxes: ``(N, 4)`` float32, x_min, y_min, x_max, y_max; not necessarily inside the picture.
    probabilities: ``(N,)`` float32, 0..1.
    landmarks: ``(N, 5, 2)`` float32: left eye, right eye, nose, mouth left, mouth right (left = left in the image);
        NaN where nobody looked for them.
    """

    boxes: Floats
    probabilities: Floats
    landmarks: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: slice | np.ndarray[Any, Any]) -> Detections:
        """The chosen rows, in the order chosen."""
        return Detections(self.boxes[index], self.probabilities[index], self.landmarks[index])


@dataclass(frozen=True, slots=True)
class FaceBatch:
    """The faces of one picture, or some of very many, one at least, as a plugin sees them.

    ``width`` and ``height`` are the whole picture's. ``crops`` holds what the configured plugins declared:
    ``faces.crops[self.crop]`` is ``(N, H, W, 3)`` uint8 RGB.
    """

    width: int
    height: int
    detections: Detections
    crops: Mapping[Crop, Pixels]
    _answers: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.detections)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What ``compute`` answers, computed only for the first who asks for ``key`` about these faces.

        So that plugins which speak for the same network (age and gender, say) run it once a picture.
        """
        if key not in self._answers:
            self._answers[key] = compute()
        return cast("T", self._answers[key])


LONGEST_SIDE = 4096
"""Long side in pixels of the largest picture that is searched: what "no limit" means, so that one photo can claim
neither gigabytes nor minutes."""


def bounded_side(max_side: int) -> int:
    """The long side at which a detector with this ``max_side`` searches at most; 0 means no limit."""
    return min(max_side, LONGEST_SIDE) if max_side else LONGEST_SIDE


@runtime_checkable
class Detector(Protocol):
    """Finds faces. Constructed once, with its open ``Model`` and ``max_side``; called from many threads.

    ``max_side`` is the long side in pixels to which pictures are reduced, see ``bounded_side``.
    """

    default_threshold: float

    def detect(self, picture: Picture, threshold: float) -> Detections:
        """Every face more probable than ``threshold`` (strictly), in any order."""
        ...


@runtime_checkable
class Refiner(Protocol):
    """A detector that can look again: better points for faces already found, whenever a plugin is asked about them."""

    def refine(self, picture: Picture, detections: Detections) -> Floats:
        """``(N, 5, 2)`` landmarks, at least as good as ``detections.landmarks``, of one face or more."""
        ...


@runtime_checkable
class Warmable(Protocol):
    """A detector that knows the shapes its networks will meet, for accelerators, which prepare themselves for each."""

    def warm_up(self) -> None:
        """Run every network once on every shape."""
        ...


@runtime_checkable
class FacePlugin(Protocol):
    """Says something about faces already found."""

    @property
    def slug(self) -> str:
        """Name in ``face_plugins``, ``plugins_versions`` and ``execution_time``."""
        ...

    @property
    def crop(self) -> Crop | None:
        """The crop it needs, or None if boxes and landmarks are enough."""
        ...

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """One mapping of fields a face, in order."""
        ...


def needs_detection(plugin: FacePlugin) -> bool:
    """Whether it needs what only a detector says of a face, so that it is left out where detection is switched off.

    A plugin that does has an attribute ``needs_detection`` that is true.
    """
    return bool(getattr(plugin, "needs_detection", False))


@runtime_checkable
class Calculator(FacePlugin, Protocol):
    """The plugin with the slug ``calculator``: adds ``embedding``, a ``(D,)`` float32 array, to every face."""

    @property
    def similarity_coefficients(self) -> tuple[float, float]:
        """``(c0, c1)``: two faces at distance d are alike by ``(tanh((c0 - d) * c1) + 1) / 2``.

        The distance is Euclidean, between embeddings of unit length.
        """
        ...
