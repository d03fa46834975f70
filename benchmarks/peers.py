"""Other people's face recognition, where it is installed: ``pip install face_recognition dlib-bin`` and the like."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
from PIL import Image


def installed() -> dict[str, Callable[[bytes], object]]:
    """Name -> answer one encoded photo with faces and embeddings, for every peer that can be imported."""
    found = {}
    with contextlib.suppress(ImportError):
        found["peer: face_recognition (dlib, HOG)"] = _dlib()
    return found


def _dlib() -> Callable[[bytes], object]:
    import face_recognition

    def answer(photo: bytes) -> object:
        with Image.open(io.BytesIO(photo)) as image:
            # As its own tools do with large photos: 1600 pixels are as many as its detector handles in reasonable time.
            image.thumbnail((1600, 1600))
            pixels = np.array(image.convert("RGB"))
        places = face_recognition.face_locations(pixels)
        return face_recognition.face_encodings(pixels, places)

    return answer
