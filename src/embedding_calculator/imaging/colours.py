"""From whatever colours a file has to RGB of eight bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedding_calculator.arrays import Pixels


def to_rgb(image: Image.Image) -> Pixels:
    """``(H, W, 3)`` uint8 RGB of a decoded image of any mode; transparent pixels lie on white."""
    if image.mode in {"F", "I"} or image.mode.startswith("I;16"):
        grey = to_eight_bits(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), _as(image, "RGBA"))
    return np.array(_as(image, "RGB"))


def to_eight_bits(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey of more than eight bits to 0..255, by its range and not by its low byte.

    Of uint16, 65535 is white. Formats do not say what is white among floats and 32-bit integers: it is taken to be the
    smallest of 1 (floats only), 255, 65535 and the largest number there is that nothing exceeds. What is negative or
    not a number is black.
    """
    levels = np.nan_to_num(grey.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if grey.dtype.kind == "u":  # Of 16 bits, in either order of bytes.
        white = 65535.0
    else:
        largest = float(levels.max())
        candidates = (1.0, 255.0, 65535.0) if grey.dtype.kind == "f" else (255.0, 65535.0)
        white = next((candidate for candidate in candidates if largest <= candidate), largest)
    eight: NDArray[np.uint8] = np.rint(levels * (255.0 / white)).clip(0, 255).astype(np.uint8)
    return eight


def _as(image: Image.Image, mode: str) -> Image.Image:
    """Pillow copies even what has the mode already: four bytes a pixel."""
    return image if image.mode == mode else image.convert(mode)
