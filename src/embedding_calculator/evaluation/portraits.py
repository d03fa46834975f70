"""Photos of one person each: which face is meant, and room around it where a photo shows nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from embedding_calculator.imaging.picture import Picture
from embedding_calculator.results import Face


class FaceFinder(Protocol):
    """What ``FaceAnalyzer`` and ``ServiceClient`` have in common: faces of an encoded picture."""

    @property
    def plugins(self) -> tuple[str, ...]: ...

    def find_faces(
        self,
        photo: bytes,
        *,
        plugins: Iterable[str] = ...,
        threshold: float | None = None,
        limit: int | None = None,
    ) -> list[Face]: ...


def central(faces: Sequence[Face], picture: Picture) -> Face | None:
    """The face whose middle is nearest to the picture's; None where there is none."""

    def distance(face: Face) -> float:
        box = face.box
        return float(np.hypot(box.x_min + box.x_max - picture.width, box.y_min + box.y_max - picture.height))

    return min(faces, key=distance, default=None)


def padded(picture: Picture, pixels: int) -> bytes:
    """The picture with so many black pixels on every side, as PNG: detectors want to see where a head ends.

    Raises:
        ImageUnreadableError: the picture's encoded data turns out to be broken.
    """
    stream = io.BytesIO()
    raster = picture.raster(1.0).pixels
    Image.fromarray(np.pad(raster, ((pixels, pixels), (pixels, pixels), (0, 0)))).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
