"""What the library answers: frozen, typed, with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from embedding_calculator.arrays import Floats

Photo_co = TypeVar("Photo_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Box:
    """Where a face is, in pixels of the whole picture as a person sees it; may reach beyond its edges."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    probability: float


@dataclass(frozen=True, slots=True)
class Age:
    """An age range in years, both ends included; ``probability`` 0..1 of the range."""

    low: int
    high: int
    probability: float

    @property
    def years(self) -> str:
        """For people to read: ``25-32``, or ``26``."""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Gender:
    """As the network labels it; ``probability`` 0..1 of ``value``."""

    value: Literal["male", "female"]
    probability: float


@dataclass(frozen=True, slots=True)
class Mask:
    """Whether a mask is worn, in the original's words; ``probability`` 0..1 of ``value``."""

    value: Literal["without_mask", "with_mask", "mask_weared_incorrect"]
    probability: float


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the head points, in degrees; zero looks into the camera."""

    pitch: float
    yaw: float
    roll: float


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face and what was asked about it; what was not asked is None.

    ``landmarks`` are five ``(x, y)``: left eye, right eye, nose, mouth left, mouth right (left = left in the image).
    ``embedding`` is ``(D,)`` float32. ``extra`` holds what plugins of other packages add.
    """

    box: Box
    embedding: Floats | None = None
    landmarks: tuple[tuple[int, int], ...] | None = None
    age: Age | None = None
    gender: Gender | None = None
    mask: Mask | None = None
    pose: Pose | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Found(Generic[Photo_co]):
    """What became of one photo of many.

    ``index`` is its place among them, from 0, and ``photo`` what was given for it. ``faces`` are as ``find_faces``
    tells them; there are none if there is an ``error``, which is what ``find_faces`` would have raised.
    """

    index: int
    photo: Photo_co
    faces: list[Face] = field(default_factory=list)
    error: Exception | None = None
