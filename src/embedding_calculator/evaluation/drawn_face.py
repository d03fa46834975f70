"""A face drawn here, for loads and trials where nobody gives a photo: detectors take it for one, nobody is in it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_SKIN, _SHADE, _HAIR, _DARK = (222, 176, 148), (190, 142, 115), (58, 40, 30), (20, 16, 14)
_LIPS, _WHITE, _COAT, _WALL = (176, 84, 80), (245, 243, 240), (52, 64, 96), (150, 170, 185)


def drawn_face(side: int = 640) -> bytes:
    """A portrait of ``side`` pixels a side as JPEG, its face from 30 to 70 % of either."""
    image = Image.new("RGB", (side, side), _WALL)
    pen = ImageDraw.Draw(image)
    unit = side / 100

    def scaled(*values: float) -> list[float]:
        return [value * unit for value in values]

    def ellipse(x: float, y: float, radius_x: float, radius_y: float, fill: tuple[int, int, int]) -> None:
        pen.ellipse(scaled(x - radius_x, y - radius_y, x + radius_x, y + radius_y), fill=fill)

    pen.rounded_rectangle(scaled(22, 78, 78, 120), 14 * unit, fill=_COAT)
    pen.rectangle(scaled(43, 62, 57, 82), fill=_SHADE)
    ellipse(50, 42, 20, 24, _HAIR)
    ellipse(50, 47, 16.5, 21, _SKIN)
    for x in (43, 57):
        ellipse(x, 43, 3.6, 1.9, _WHITE)
        ellipse(x, 43, 1.8, 1.8, _HAIR)
        ellipse(x, 43, 0.9, 0.9, _DARK)
        pen.line(scaled(x - 4.4, 39.4, x, 38, x + 4.4, 39.4), fill=_HAIR, width=max(1, round(1.3 * unit)))
    pen.polygon(scaled(49, 44, 51, 44, 53, 52, 47, 52), fill=_SHADE)
    for x in (48, 52):
        ellipse(x, 52, 1, 0.7, _HAIR)
    ellipse(50, 58.5, 5.6, 1.9, _LIPS)
    pen.line(scaled(44.6, 58.4, 55.4, 58.4), fill=_DARK, width=max(1, round(0.5 * unit)))
    pen.chord(scaled(31, 18, 69, 56), 180, 360, fill=_HAIR)

    smooth = np.asarray(image.filter(ImageFilter.GaussianBlur(unit / 2)), np.float32)
    grain = np.random.default_rng(0).normal(0, 4, (side, side, 1))
    stream = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()
