"""Pictures of what was found, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from embedding_calculator.arrays import Floats
from embedding_calculator.imaging.picture import Picture
from embedding_calculator.results import Face

Colour: TypeAlias = tuple[int, int, int]
"""RGB, 0..255."""

FOUND: Colour = (52, 211, 120)
WRONG: Colour = (240, 62, 62)

_SMOOTH = 3
"""Lines are drawn this many times larger and averaged down: Pillow draws without smoothing."""
_DARK: Colour = (16, 20, 24)
_LIGHT: Colour = (255, 255, 255)


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """One face to draw, in pixels of the whole picture.

    ``box``: x_min, y_min, x_max, y_max. ``landmarks``: ``(5, 2)`` float32, or None. ``label``: one short line, such
    as ``1: female, 25-32 (0.99)``; may be empty.
    """

    box: tuple[float, float, float, float]
    label: str = ""
    landmarks: Floats | None = None
    colour: Colour = FOUND


def annotate(
    picture: Picture,
    marks: Sequence[Mark],
    *,
    crosses: Sequence[tuple[float, float]] = (),
    longest_side: int = 1200,
) -> Image.Image:
    """The picture, at most ``longest_side`` pixels a side, with a box, five points and a label for every mark.

    It is an RGB image of Pillow's, to be shown or saved. ``crosses`` are points of the whole picture that should have
    been found and were not: red crosses.

    Raises:
        ImageUnreadableError: the picture's encoded data turns out to be broken.
    """
    scale = min(1.0, longest_side / max(picture.width, picture.height))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    shown = cv2.resize(picture.raster(scale).pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    unit = max(1.35, max(size) / 600)  # Thickness of a line; all else is measured in it.
    image = Image.fromarray(shown)
    for mark in marks:
        _draw_mark(image, mark, scale, unit)
    for x, y in crosses:
        _draw_cross(image, x * scale, y * scale, unit)
    canvas = ImageDraw.Draw(image)
    taken: list[tuple[float, float, float, float]] = []
    for mark in marks:
        if mark.label:
            _draw_label(canvas, mark, scale, unit, taken)
    return image


def describe(number: int, face: Face) -> str:
    """What is written at a face: its number, what is known of it, and how sure the detector is that it is one.

    As ``1: female, 25-32 (0.99)``. In the font that Pillow carries a blank or a dot between two numbers hardly shows.
    """
    known = [face.gender and face.gender.value, face.age and face.age.years]
    told = ", ".join(one for one in known if one)
    return f"{number}{told and f': {told}'} ({face.box.probability:.2f})"


def marks_of(faces: Sequence[Face]) -> list[Mark]:
    """A mark for every face, numbered from 1."""
    return [
        Mark(
            (face.box.x_min, face.box.y_min, face.box.x_max, face.box.y_max),
            describe(number, face),
            np.array(face.landmarks, np.float32) if face.landmarks else None,
        )
        for number, face in enumerate(faces, 1)
    ]


def _draw_mark(image: Image.Image, mark: Mark, scale: float, unit: float) -> None:
    x_min, y_min, x_max, y_max = (value * scale for value in mark.box)
    side = max(1.0, min(x_max - x_min, y_max - y_min))
    line = min(1.5 * unit, max(1.2, side / 20))
    reach = round(line * 2 + 4)
    frame = _Layer(image, (x_min - reach, y_min - reach, x_max + reach, y_max + reach))
    box = frame.inside(x_min, y_min, x_max, y_max)
    # A dark edge around a bright line shows on every background.
    radius = min(side * 0.12, 10 * unit) * _SMOOTH
    edge = (line + 1.5) * _SMOOTH
    frame.pen.rounded_rectangle(_grown(box, edge / 2), radius + edge / 2, outline=(*_DARK, 90), width=round(edge))
    frame.pen.rounded_rectangle(
        _grown(box, line * _SMOOTH / 2), radius, outline=(*mark.colour, 255), width=round(line * _SMOOTH)
    )
    dot = max(1.2, min(1.6 * unit, side / 36))
    for x, y in [] if mark.landmarks is None else (mark.landmarks * scale).tolist():
        frame.dot(x, y, dot + 0.8, (*_DARK, 150))
        frame.dot(x, y, dot, (*_LIGHT, 255))
    frame.lay()


def _draw_cross(image: Image.Image, x: float, y: float, unit: float) -> None:
    arm = 7 * unit
    frame = _Layer(image, (x - 2 * arm, y - 2 * arm, x + 2 * arm, y + 2 * arm))
    for colour, width in (((*_LIGHT, 220), 4 * unit), ((*WRONG, 255), 2.2 * unit)):
        for slope in (1, -1):
            ends = frame.inside(x - arm, y - arm * slope, x + arm, y + arm * slope)
            frame.pen.line(ends, fill=colour, width=round(width * _SMOOTH))
    frame.lay()


def _draw_label(
    canvas: ImageDraw.ImageDraw,
    mark: Mark,
    scale: float,
    unit: float,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Above the box, or below it, or inside: where it is wholly seen and covers no label written before."""
    x_min, y_min, x_max, y_max = (value * scale for value in mark.box)
    width, height = canvas.im.size
    smallest = max(11.0, 6.5 * unit)
    wanted = min(max((x_max - x_min) / 9, smallest), 2 * smallest)
    font = ImageFont.load_default(wanted)
    left, _, right, _ = font.getbbox(mark.label)
    pad = wanted * 0.35
    tag_width, tag_height = right - left + 2 * pad, wanted * 1.1 + pad
    gap = 2.5 * unit
    x = min(max(x_min, 0.0), max(width - tag_width, 0.0))
    places = [y_min - tag_height - gap, y_max + gap, y_min + gap, y_max - tag_height - gap]
    tags = [
        (x, y, x + tag_width, y + tag_height)
        for y in (min(max(place, 0.0), max(height - tag_height, 0.0)) for place in places)
    ]
    tag = next(
        (
            tag
            for tag, place in zip(tags, places, strict=True)
            if tag[1] == place and not any(_overlap(tag, other) for other in taken)
        ),
        tags[0],
    )
    taken.append(tag)
    canvas.rounded_rectangle(tag, radius=tag_height * 0.25, fill=mark.colour)
    ink = (
        _DARK
        if sum(weight * value for weight, value in zip((0.3, 0.6, 0.1), mark.colour, strict=True)) > 110
        else _LIGHT
    )
    canvas.text((tag[0] + pad, (tag[1] + tag[3]) / 2), mark.label, font=font, fill=ink, anchor="lm")


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _grown(box: tuple[float, float, float, float], by: float) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = box
    return x_min - by, y_min - by, max(x_max, x_min) + by, max(y_max, y_min) + by


class _Layer:
    """A transparent piece over a region of an image, drawn large and laid on smoothly."""

    def __init__(self, image: Image.Image, region: tuple[float, float, float, float]) -> None:
        self._image = image
        # A box may reach far outside; only what can be seen is drawn.
        self._x, self._y = max(int(region[0]), 0), max(int(region[1]), 0)
        right, bottom = min(int(region[2]) + 1, image.width), min(int(region[3]) + 1, image.height)
        self._size = max(1, right - self._x), max(1, bottom - self._y)
        self._large = Image.new("RGBA", (self._size[0] * _SMOOTH, self._size[1] * _SMOOTH))
        self.pen = ImageDraw.Draw(self._large)

    def inside(self, x_1: float, y_1: float, x_2: float, y_2: float) -> tuple[float, float, float, float]:
        """Two points of the image in coordinates of this layer."""
        return (
            (x_1 - self._x) * _SMOOTH,
            (y_1 - self._y) * _SMOOTH,
            (x_2 - self._x) * _SMOOTH,
            (y_2 - self._y) * _SMOOTH,
        )

    def dot(self, x: float, y: float, radius: float, colour: tuple[int, int, int, int]) -> None:
        self.pen.ellipse(self.inside(x - radius, y - radius, x + radius, y + radius), fill=colour)

    def lay(self) -> None:
        layer = self._large.reduce(_SMOOTH)
        self._image.paste(layer.convert("RGB"), (self._x, self._y), layer.getchannel("A"))
