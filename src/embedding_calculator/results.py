"""What the library answers: frozen, typed, with units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
