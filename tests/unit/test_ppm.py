"""PPM and its kin, as Pillow reads them, number by number, and as their inventors describe them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from embedding_calculator.arrays import Pixels
from embedding_calculator.errors import ImageUnreadableError
from embedding_calculator.imaging.decode import Limits, open_picture

LIMITS = Limits(max_bytes=50_000_000, max_pixels=10_000_000)
BLANKS = [b" ", b"\n", b"\r\n", b"\t", b"  \n", b"\n# a comment\n", b" #\r"]


def read(data: bytes) -> Pixels:
    return open_picture(data, limits=LIMITS).raster(1.0).pixels


def by_pillow(data: bytes) -> Any:
    """In eight bits; Pillow's grey of more than eight goes to 65535."""
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.mode == "I":
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def header(kind: bytes, numbers: NDArray[Any], white: int) -> bytes:
    height, width = numbers.shape[:2]
    return b"%s %d %d%s\n" % (kind, width, height, b"" if kind in {b"P1", b"P4"} else b" %d" % white)


def numbers_up_to(white: int, channels: int) -> st.SearchStrategy[NDArray[Any]]:
    shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(channels))
    return shapes.flatmap(lambda shape: arrays.arrays(np.uint16, shape, elements=st.integers(0, white)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_numbers_mean_what_pillow_says(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([b"P1", b"P2", b"P3", b"P5", b"P6"]))
    white = 1 if kind == b"P1" else data.draw(st.sampled_from([1, 2, 15, 100, 254, 255, 256, 1023, 4095, 65534, 65535]))
    numbers = data.draw(numbers_up_to(white, 3 if kind in {b"P3", b"P6"} else 1))
    head = header(kind, numbers, white)
    if kind in {b"P5", b"P6"}:
        file = head + numbers.astype(">u2" if white > 255 else "u1").tobytes()
    else:
        blanks = st.sampled_from([*BLANKS, b""] if kind == b"P1" else BLANKS)
        file = head + b"".join(b"%d" % number + data.draw(blanks) for number in numbers.ravel())
    # Both round, Pillow's grey of more than eight bits twice.
    allowed = 1 if white > 255 and kind in {b"P2", b"P5"} else 0
    assert np.abs(read(file).astype(int) - by_pillow(file)).max() <= allowed


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (b"P1 3 1 10 1", [0, 255, 0]),
        (b"P1 3 1 101 and what follows", [0, 255, 0]),
        (b"P2 3 1 255 1 2 3 and what follows", [1, 2, 3]),
        (b"P2 3 1 100 50 100 200", [128, 255, 255]),
        (b"P2 # width\n3 1 # white\n2#5\n55 7 # seven\n 8 9", [7, 8, 9]),
        (b"P2 3 1 255 7 8", [7, 8, 0]),
        (b"P2 3 1 65535 65535 257 128", [255, 1, 0]),
        (b"P2 3 1 255 1 99999999999999999999999999 3", [1, 255, 3]),
        (b"P5 3 1 65535\n\x01\x01\x00\x80\xff", [1, 0, 0]),
        (b"P5 3 1 15\n\x00\x0f\xff", [0, 255, 255]),
    ],
)
def test_what_is_said_is_read(file: bytes, expected: list[int]) -> None:
    pixels = read(file)
    assert pixels.shape == (1, 3, 3)
    assert pixels[0, :, 0].tolist() == expected
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize(
    "file",
    [
        b"P1 2 2 1 0 2 1",
        b"P1 2 2",
        b"P2 2 2 255 1 2 x 4",
        b"P2 2 2 255 1 -2 3 4",
        b"P2 2 2 255 1 2.5 3 4",
        b"P2 2 2 255   \n ",
        b"P3 1 1 255 # nothing",
        b"P5 2 2 300 \x01",
        b"P6 2 2 255\n",
    ],
)
def test_what_is_no_number_is_no_pixel(file: bytes) -> None:
    with pytest.raises(ImageUnreadableError):
        read(file)


@pytest.mark.parametrize("kind", [b"P1", b"P3"])
def test_text_is_read_across_the_blocks_in_which_it_is_read(kind: bytes) -> None:
    side, channels = (2000, 1) if kind == b"P1" else (1000, 3)
    white = 1 if kind == b"P1" else 255
    numbers = np.random.default_rng(0).integers(0, white + 1, (side, side, channels))
    file = header(kind, numbers, white) + b"\n".join(b"%d" % number for number in numbers.ravel())
    assert len(file) > 7_000_000
    expected = np.broadcast_to(255 * (1 - numbers) if kind == b"P1" else numbers, (side, side, 3))
    assert np.array_equal(read(file), expected)
