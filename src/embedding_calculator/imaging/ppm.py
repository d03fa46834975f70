"""Pixels of PPM files and their grey and black and white kin, at NumPy's speed.

Pillow, which reads the header, reads numbers that are text, and binary ones whose white is not 255, one by one in
Python: up to 0.3 seconds a megabyte, and a stranger may send dozens of megabytes. Here it is a hundredth at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Pixels
from embedding_calculator.errors import ImageUnreadableError

PPM_KINDS = frozenset({b"P1", b"P2", b"P3", b"P5", b"P6"})
"""The files that ``decode_ppm`` reads, by their first two bytes."""

_LONGEST_HEADER = 1 << 16  # Bytes. Pillow reads a header byte by byte.
_MOST_COMMENTS = 1000  # Of a file in text; programs write one.
_BLOCK = 1 << 20  # Bytes or numbers looked at in one step, in which they take up to eight times the room.
_BLANKS = b" \t\n\r\v\f"
_BLANK = re.compile(rb"\s")
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")


def refuse_costly_ppm(data: bytes) -> None:
    """Refuse comments and blanks by the megabyte, of whatever begins like a PPM, before anybody reads its header.

    Raises:
        ImageUnreadableError: there are too many.
    """
    bits, text = data[1:2] in b"14", data[1:2] in b"123"
    if text and data.count(b"#") > _MOST_COMMENTS:
        raise ImageUnreadableError(f"the PPM has more than {_MOST_COMMENTS} comments")
    words = 3 if bits else 4  # Kind, width, height, and the largest value where pixels are not bits.
    start = _COMMENT.sub(b"", data[:_LONGEST_HEADER])
    if len(data) > _LONGEST_HEADER and len(start.split(maxsplit=words - 1)) < words:
        raise ImageUnreadableError(f"the PPM's header is longer than {_LONGEST_HEADER} bytes")


def decode_ppm(data: bytes, start: int, size: tuple[int, int]) -> Pixels:
    """``(H, W, 3)`` uint8 RGB of a file among ``PPM_KINDS`` (https://netpbm.sourceforge.net/doc).

    Its header, which is known to be sound, ends at ``start``; ``size`` is width and height in pixels. Numbers beyond
    the header's white are white. What a file that was cut short has lost is black.

    Raises:
        ImageUnreadableError: nothing is left of the pixels, or there are not only numbers among them.
    """
    kind = data[:2]
    white = 1 if kind == b"P1" else int(_COMMENT.sub(b"", data[:start]).split()[3])
    channels = 3 if kind in {b"P3", b"P6"} else 1
    values = np.zeros(size[0] * size[1] * channels, np.uint8)
    # Rounded as Pillow rounds, by a table of all numbers that there are.
    levels = np.rint(np.arange(white + 1) / white * 255).astype(np.uint8)
    filled = 0
    for numbers in _numbers(data, kind, start, white):
        place = values[filled : filled + numbers.size]
        np.take(levels, numbers[: place.size], out=place, mode="clip")
        filled += place.size
        if filled == values.size:
            break
    if not filled:
        raise ImageUnreadableError("the PPM ends before its first pixel")
    pixels = values.reshape(size[1], size[0], channels)
    return pixels if channels == 3 else np.repeat(pixels, 3, axis=2)


def _numbers(data: bytes, kind: bytes, start: int, white: int) -> Iterator[NDArray[np.integer[Any]]]:
    """What stands for the pixels, a part at a time; what comes after the last one may be anything."""
    if kind in {b"P5", b"P6"}:
        number = np.dtype(">u2" if white > 255 else "u1")
        numbers = np.frombuffer(data, number, (len(data) - start) // number.itemsize, start)
        yield from (numbers[first : first + _BLOCK] for first in range(0, numbers.size, _BLOCK))
        return
    text = data[start:]
    if b"#" in text:
        text = _COMMENT.sub(b"", text)
    if junk := text.translate(None, _BLANKS + (b"01" if kind == b"P1" else b"0123456789")):
        text = text[: text.index(junk[:1])]
    position = 0
    while position < len(text):
        blank = _BLANK.search(text, position + _BLOCK)
        end = blank.start() if blank else len(text)
        if block := text[position:end].strip():
            yield _bits(block) if kind == b"P1" else np.fromstring(block, np.int64, sep=" ")
        position = end + 1
    if junk:
        raise ImageUnreadableError("there are not only numbers among the PPM's pixels")


def _bits(text: bytes) -> NDArray[np.uint8]:
    """Of P1, where blanks between the digits are optional, and 1 is black."""
    return np.uint8(ord("1")) - np.frombuffer(text.translate(None, _BLANKS), np.uint8)
