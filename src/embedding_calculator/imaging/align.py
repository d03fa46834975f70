"""From a face in a picture to the square of pixels a network was trained on."""

from __future__ import annotations

from typing import Protocol

from embedding_calculator.arrays import Floats, Matrices, Pixels
from embedding_calculator.imaging.picture import Picture


class Crop(Protocol):
    """A way to cut a face, as data: hashable, so that plugins with the same needs share one cut."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the crop in pixels."""
        ...

    def matrices(self, boxes: Floats, landmarks: Floats) -> Matrices:
        """Affine maps, whole-picture to crop coordinates: ``(N, 4)``, ``(N, 5, 2)`` -> ``(N, 2, 3)``."""
        ...


def cut(picture: Picture, crop: Crop, boxes: Floats, landmarks: Floats) -> Pixels:
    """Every face's crop, ``(N, H, W, 3)`` uint8 RGB, from pixels no finer than needed; outside the picture is black."""
    raise NotImplementedError
