"""A picture that decodes itself only as finely as somebody needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from embedding_calculator.arrays import Pixels


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels of a whole picture at some scale.

    ``pixels`` is ``(H, W, 3)`` uint8 RGB. A point ``(x, y)`` of the whole picture lies at
    ``(x * scale_x, y * scale_y)`` here; scales are at most 1.
    """

    pixels: Pixels
    scale_x: float
    scale_y: float


class Picture(Protocol):
    """What detectors and the aligner see of a photo.

    ``width`` and ``height`` are those of the whole picture as a person sees it, after orientation, known before
    anything is decoded.
    """

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def raster(self, scale: float) -> Raster:
        """Pixels at ``scale`` or finer, never finer than the picture itself.

        Asking again for the same or a coarser scale returns the pixels already decoded.

        Raises:
            ImageUnreadableError, ImageTooLargeError: the encoded data turns out to be broken, or larger than it said.
            BusyError: there is too little memory to decode it now.
        """
        ...


def at_scale(picture: Picture, scale: float, minify: float = 1.0) -> Pixels:
    """The picture at exactly ``scale``, at most 1: each side rounded half to even, pixels averaged by area.

    They are averaged from pixels at least ``minify`` times as fine, where the picture has such.

    Raises:
        ImageUnreadableError, ImageTooLargeError, BusyError: see ``Picture.raster``.
    """
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    pixels = picture.raster(min(minify * scale, 1.0)).pixels
    if pixels.shape[1::-1] == size:
        return pixels
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


class EncodedPicture(Picture, Protocol):
    """A picture that is still to be decoded; ``working_bytes`` is the most memory that decoding it takes."""

    @property
    def working_bytes(self) -> int: ...


class ArrayPicture:
    """A picture that is pixels already: ``(H, W, 3)`` uint8 RGB, used as they are and not copied."""

    def __init__(self, pixels: Pixels) -> None:
        self.height, self.width = pixels.shape[:2]
        self._raster = Raster(pixels, 1.0, 1.0)

    def raster(self, scale: float) -> Raster:  # noqa: ARG002 -- nothing is cheaper than what is there
        """All of it, whatever the scale."""
        return self._raster
