"""Limits, and damage of every kind: a picture or one of two errors, at a small cost."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import (
    HEIGHT,
    KINDS,
    LIMITS,
    PICTURE,
    SMALL,
    SOURCE,
    WIDTH,
    WITH_ALPHA,
    difference,
    encode,
    pixels_or_refusal,
    png,
    tiff_entry,
    turned,
    whole,
)
from PIL import Image

from embedding_calculator.errors import ImageTooLargeError, ImageUnreadableError
from embedding_calculator.imaging.decode import Limits, open_picture


def _declaring(width: int, height: int) -> dict[str, bytes]:
    """Small files that claim to be large."""
    size = struct.pack(">HH", height % 65536, width % 65536)
    jpeg = encode(PICTURE, "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    tiff = encode(PICTURE, "TIFF")
    webp = encode(WITH_ALPHA, "WEBP")
    assert webp[12:16] == b"VP8X"
    icon = encode(PICTURE.resize((64, 64)), "ICO", sizes=[(64, 64)], bitmap_format="bmp")
    return {
        "png": png(width, height, 8, 2, (b"IDAT", zlib.compress(bytes(100)))),
        "jpeg": jpeg[: frame + 5] + size + jpeg[frame + 9 :],
        "gif": b"GIF89a" + struct.pack("<HH", width, height) + encode(PICTURE.quantize(), "GIF")[10:],
        "bmp": encode(PICTURE, "BMP")[:18] + struct.pack("<ii", width, -height) + encode(PICTURE, "BMP")[26:],
        "tiff": tiff.replace(tiff_entry(256, 4, 1, WIDTH), tiff_entry(256, 4, 1, width)).replace(
            tiff_entry(257, 4, 1, HEIGHT), tiff_entry(257, 4, 1, height)
        ),
        "webp": webp[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + webp[30:],
        "ppm": b"P6 %d %d 255\n" % (width, height) + bytes(100),
        "ico": icon[:26] + struct.pack("<ii", width, 2 * height) + icon[34:],
        "ico of png": b"\0\0\1\0\1\0"
        + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 1000, 22)
        + png(width, height, 8, 2, (b"IDAT", b"")),
    }


@pytest.mark.parametrize("name", _declaring(60_000, 60_000))
def test_too_many_declared_pixels_are_refused_before_decoding(name: str) -> None:
    data = _declaring(60_000, 60_000)[name]
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLargeError, match="limit"):
            open_picture(data, limits=LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_limit_on_pixels_of_containers(kind: str) -> None:
    with pytest.raises(ImageTooLargeError, match=r"320 x 256, 81,920 pixels; 81,919 is the limit"):
        open_picture(turned(kind, 1), limits=Limits(max_bytes=10_000_000, max_pixels=WIDTH * HEIGHT - 1))


def test_limits_are_inclusive() -> None:
    data = encode(PICTURE, "PNG")
    assert open_picture(data, limits=Limits(len(data), WIDTH * HEIGHT)).width == WIDTH
    with pytest.raises(ImageTooLargeError, match="is the limit"):
        open_picture(data, limits=Limits(len(data) - 1, WIDTH * HEIGHT))
    with pytest.raises(ImageTooLargeError, match="is the limit"):
        open_picture(data, limits=Limits(len(data), WIDTH * HEIGHT - 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"nonsense" * 100,
        b"%PDF-1.7\n" + b"0" * 1000,
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        encode(PICTURE, "TGA"),
        encode(PICTURE, "JPEG2000"),
        encode(PICTURE.quantize(), "PCX"),
        encode(PICTURE, "DDS"),
        encode(PICTURE, "PNG")[:40],
        encode(PICTURE, "JPEG")[:300],
        b"P6 0 9 255\n" + bytes(99),
        b"P2 2 2 255\n1 2 x 4",
        b"P5 2 2 0\nabcd",
    ],
    ids=lambda data: data[:8].hex(),
)
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(ImageUnreadableError):
        whole(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM", "TIFF", "GIF"])
def test_half_a_file_is_half_a_picture(kind: str) -> None:
    image = PICTURE.quantize() if kind == "GIF" else PICTURE
    data = encode(image, kind, interlace=False)
    pixels = whole(data[: len(data) // 2])
    rows = 48
    upper = slice(HEIGHT - rows, None) if kind == "BMP" else slice(0, rows)  # A BMP starts at the bottom.
    assert difference(pixels[upper], np.asarray(image.convert("RGB"))[upper]) < 5
    assert difference(pixels, SOURCE) > 20


def test_half_a_jpeg_is_half_a_picture_in_the_originals_colours_too() -> None:
    data = encode(PICTURE, "JPEG", quality=95)
    pixels = whole(data[: len(data) // 2], stored_chroma=True)
    assert difference(pixels[:48], SOURCE[:48]) < 5
    assert difference(pixels, SOURCE) > 20


@pytest.mark.parametrize("stored_chroma", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_before_its_first_pixels_is_broken_and_not_grey(progressive: bool, stored_chroma: bool) -> None:
    thumbnail = encode(PICTURE.resize((32, 32)), "JPEG")  # As cameras write one, with scan and end of its own.
    tags = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    data = encode(PICTURE, "JPEG", quality=95, progressive=progressive)
    start = data.rindex(b"\xff\xda") if not progressive else data.index(b"\xff\xda")
    cut = data[:2] + tags + data[2 : start + 14]
    with pytest.raises(ImageUnreadableError, match="cut short before its pixels"):
        whole(cut, stored_chroma=stored_chroma)
    with pytest.raises(ImageUnreadableError, match="cut short before its pixels"):
        open_picture(cut, limits=LIMITS, stored_chroma=stored_chroma).raster(0.1)


def test_a_whole_jpeg_of_one_colour_is_a_picture() -> None:
    data = encode(Image.new("RGB", (64, 64), "grey"), "JPEG") + b"what some programs append"
    assert (whole(data) == 128).all()


@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere(kind: str) -> None:
    data = SMALL[kind]
    for length in [*range(0, min(len(data), 200)), *range(200, len(data), 29)]:
        pixels_or_refusal(data[:length])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(KINDS), changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6))
def test_changed_bytes(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL[kind])
    for place, value in changes:
        data[place % len(data)] = value
    pixels_or_refusal(bytes(data))


SIGNATURES = [b"", *{data[:4] for data in SMALL.values()}, b"P1 ", b"P2 9 9 9 ", b"P4 9 9 ", b"II+\0", b"MM\0*"]


@settings(max_examples=200, deadline=None)
@given(start=st.sampled_from(SIGNATURES), rest=st.binary(max_size=300))
def test_random_bytes(start: bytes, rest: bytes) -> None:
    pixels_or_refusal(start + rest)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "jpeg of a million markers": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000,
    "jpeg of fill bytes": lambda: b"\xff\xd8" + b"\xff" * 5_000_000,
    "jpeg of thousands of scans": lambda: (
        encode(PICTURE, "JPEG", progressive=True)[:-2] + b"\xff\xda\0\x08\1\1\0\0\0\0" * 5000
    ),
    "png of a million chunks": lambda: png(9, 9, 8, 2, *[(b"IDAT", b"")] * 300_000),
    "gif of a million comments": lambda: encode(PICTURE.quantize(), "GIF")[:781] + b"!\xfe\1x\0" * 1_000_000,
    "gif of one long comment": lambda: (
        encode(PICTURE.quantize(), "GIF")[:781] + b"!\xfe" + (b"\xff" + bytes(255)) * 40_000
    ),
    "tiff of loops": lambda: b"II*\0\x08\0\0\0\1\0" + tiff_entry(330, 4, 1, 8) + struct.pack("<I", 8),
    "tiff that claims itself many times": lambda: (
        b"II*\0\x08\0\0\0\xff\x0f"
        + tiff_entry(256, 3, 1, 9)
        + tiff_entry(257, 3, 1, 9)
        + b"".join(tiff_entry(40_000 + n, 1, 1_000_000, 0) for n in range(0xFFD))
        + bytes(1_000_000)
    ),
    "icon in an icon": lambda: b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 9, 9, 0, 0, 1, 32, 500, 0) + bytes(500),
}


def test_the_reason_is_in_people_s_words() -> None:
    with pytest.raises(ImageUnreadableError, match=r"^it is empty$"):
        whole(b"")
    with pytest.raises(ImageUnreadableError, match="HEIC") as told:
        whole(b"some words")
    assert "HEIF" not in str(told.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_little(name: str) -> None:
    data = HOSTILE[name]()
    tracemalloc.start()
    try:
        with pytest.raises((ImageUnreadableError, ImageTooLargeError)):
            whole(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 4_000_000
    finally:
        tracemalloc.stop()
