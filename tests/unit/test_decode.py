"""Every format and mode against the picture it was made from."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pictures import (
    ALPHA,
    GREY,
    HEIGHT,
    ON_WHITE,
    PICTURE,
    SOURCE,
    WIDTH,
    WITH_ALPHA,
    difference,
    encode,
    heic,
    png,
    three,
    whole,
)
from PIL import Image, ImageOps

from embedding_calculator.arrays import Pixels

COLOUR: dict[str, tuple[Callable[[], bytes], float]] = {
    "jpeg": (lambda: encode(PICTURE, "JPEG", quality=95, subsampling=0), 2.0),
    "jpeg progressive": (lambda: encode(PICTURE, "JPEG", quality=95, progressive=True), 2.5),
    "jpeg stored as rgb": (lambda: encode(PICTURE, "JPEG", quality=95, keep_rgb=True), 2.0),
    "jpeg of two pictures": (lambda: encode(PICTURE, "MPO", quality=95, save_all=True, append_images=[PICTURE]), 2.5),
    "jpeg with a video behind": (lambda: encode(PICTURE, "JPEG", quality=95) + b"\xff\xda" * 999, 2.5),
    "png": (lambda: encode(PICTURE, "PNG"), 0),
    "bmp": (lambda: encode(PICTURE, "BMP"), 0),
    "tiff raw": (lambda: encode(PICTURE, "TIFF"), 0),
    "tiff lzw": (lambda: encode(PICTURE, "TIFF", compression="tiff_lzw"), 0),
    "tiff deflate": (lambda: encode(PICTURE, "TIFF", compression="tiff_adobe_deflate"), 0),
    "tiff packbits": (lambda: encode(PICTURE, "TIFF", compression="packbits"), 0),
    "tiff jpeg": (lambda: encode(PICTURE, "TIFF", compression="jpeg", quality=95), 2.5),
    "tiff big": (lambda: encode(PICTURE, "TIFF", big_tiff=True), 0),
    "tiff of two pages": (lambda: encode(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.rotate(180)]), 0),
    "webp lossless": (lambda: encode(PICTURE, "WEBP", lossless=True), 0),
    "webp": (lambda: encode(PICTURE, "WEBP", quality=95), 2.5),
    "webp of two frames": (
        lambda: encode(PICTURE, "WEBP", lossless=True, save_all=True, append_images=[PICTURE.rotate(180)]),
        0,
    ),
    "ppm": (lambda: encode(PICTURE, "PPM"), 0),
    "ppm plain": (lambda: b"P3 # made\n%d %d 255\n" % (WIDTH, HEIGHT) + _plain(SOURCE), 0),
    "ppm of 16 bits": (
        lambda: b"P6 %d %d 65535\n" % (WIDTH, HEIGHT) + (SOURCE.astype(np.uint16) * 257).tobytes(),
        0,
    ),
    "png of 16 bits": (lambda: _png16(SOURCE), 1.0),
    "gif": (lambda: encode(PICTURE.quantize(256), "GIF"), 8),
    "gif of two frames": (
        lambda: encode(PICTURE.quantize(256), "GIF", save_all=True, append_images=[PICTURE.rotate(180).quantize(256)]),
        8,
    ),
    "png palette": (lambda: encode(PICTURE.quantize(256), "PNG"), 8),
    "avif": (lambda: encode(PICTURE, "AVIF", quality=95), 3),
    "heic": (lambda: heic(PICTURE, quality=95), 3),
    "cmyk jpeg": (lambda: encode(PICTURE.convert("CMYK"), "JPEG", quality=95), 3),
    "ycck jpeg": (lambda: _ycck(PICTURE), 3),
    "cmyk tiff": (lambda: encode(PICTURE.convert("CMYK"), "TIFF"), 1),
}


@pytest.mark.parametrize("name", COLOUR)
def test_colour(name: str) -> None:
    make, tolerance = COLOUR[name]
    assert difference(whole(make()), SOURCE) <= tolerance


def _plain(values: Any) -> bytes:
    return b" ".join(b"%d" % value for value in values.ravel())


def _png16(pixels: Pixels) -> bytes:
    rows = (pixels.astype(np.uint16) * 257).reshape(HEIGHT, -1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return png(WIDTH, HEIGHT, 16, 2, (b"IDAT", zlib.compress(lines)))


def _ycck(image: Image.Image) -> bytes:
    """Adobe's other four-channel JPEG: inverted CMY as YCbCr, and inverted black, marked with transform 2."""
    planes = ImageOps.invert(image).convert("YCbCr").split()
    inverted = [Image.fromarray(255 - np.asarray(plane)) for plane in (*planes, Image.new("L", image.size, 255))]
    data = encode(Image.merge("CMYK", inverted), "JPEG", quality=95)
    adobe = data.index(b"Adobe")
    assert data[adobe + 11] == 0
    return data[: adobe + 11] + b"\2" + data[adobe + 12 :]


WIDE = GREY.astype(np.uint16) * 257
BITS = np.asarray(PICTURE.convert("1")).astype(np.uint8) * 255

GREYS: dict[str, tuple[Callable[[], bytes], Any, float]] = {
    "jpeg": (lambda: encode(Image.fromarray(GREY), "JPEG", quality=95), GREY, 2),
    "png": (lambda: encode(Image.fromarray(GREY), "PNG"), GREY, 0),
    "gif": (lambda: encode(Image.fromarray(GREY), "GIF"), GREY, 0),
    "pgm": (lambda: encode(Image.fromarray(GREY), "PPM"), GREY, 0),
    "pgm plain": (lambda: b"P2\n%d %d\n# white:\n255\n" % (WIDTH, HEIGHT) + _plain(GREY), GREY, 0),
    "pgm of 12 bits": (
        lambda: b"P5 %d %d 4080\n" % (WIDTH, HEIGHT) + (GREY.astype(np.uint16) * 16).astype(">u2").tobytes(),
        GREY,
        0,
    ),
    "1-bit png": (lambda: encode(Image.fromarray(BITS).convert("1"), "PNG"), BITS, 0),
    "1-bit bmp": (lambda: encode(Image.fromarray(BITS).convert("1"), "BMP"), BITS, 0),
    "1-bit fax tiff": (lambda: encode(Image.fromarray(BITS).convert("1"), "TIFF", compression="group4"), BITS, 0),
    "pbm": (lambda: encode(Image.fromarray(BITS).convert("1"), "PPM"), BITS, 0),
    "pbm plain": (lambda: b"P1 %d %d\n" % (WIDTH, HEIGHT) + _plain(1 - BITS // 255).replace(b" ", b""), BITS, 0),
    "16-bit png": (lambda: encode(Image.fromarray(WIDE), "PNG"), GREY, 0),
    "16-bit tiff": (lambda: encode(Image.fromarray(WIDE), "TIFF"), GREY, 0),
    "16-bit tiff, big-endian": (
        lambda: encode(Image.frombytes("I;16B", PICTURE.size, WIDE.byteswap().tobytes()), "TIFF"),
        GREY,
        0,
    ),
    "32-bit tiff": (lambda: encode(Image.fromarray(WIDE.astype(np.int32)), "TIFF"), GREY, 0.1),
    "float tiff, 0 to 1": (lambda: encode(Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"), GREY, 0.1),
    "float tiff, 0 to 255": (lambda: encode(Image.fromarray(GREY.astype(np.float32)), "TIFF"), GREY, 0.1),
    "float tiff with holes": (
        lambda: encode(Image.fromarray(np.where(GREY > 0, GREY / np.float32(255), np.float32("nan"))), "TIFF"),
        GREY,
        0.1,
    ),
    "avif": (lambda: encode(Image.fromarray(GREY), "AVIF", quality=95), GREY, 3),
    "heic": (lambda: heic(Image.fromarray(GREY), quality=95), GREY, 3),
}


@pytest.mark.parametrize("name", GREYS)
def test_grey(name: str) -> None:
    make, expected, tolerance = GREYS[name]
    assert difference(whole(make()), three(expected)) <= tolerance


TRANSPARENT: dict[str, tuple[Callable[[], bytes], Any, float]] = {
    "png": (lambda: encode(WITH_ALPHA, "PNG"), ON_WHITE, 0),
    "webp": (lambda: encode(WITH_ALPHA, "WEBP", lossless=True, exact=True), ON_WHITE, 0),
    "tiff": (lambda: encode(WITH_ALPHA, "TIFF"), ON_WHITE, 0),
    "avif": (lambda: encode(WITH_ALPHA, "AVIF", quality=95), ON_WHITE, 3),
    "heic": (lambda: heic(WITH_ALPHA, quality=95), ON_WHITE, 3),
    "grey png": (lambda: encode(WITH_ALPHA.convert("LA"), "PNG"), three(np.where(ALPHA == 255, GREY, 255)), 0),
    "palette png": (lambda: encode(WITH_ALPHA.quantize(256), "PNG"), ON_WHITE, 9),
    "palette gif": (lambda: encode(WITH_ALPHA, "GIF"), ON_WHITE, 9),
    "grey png with one transparent level": (
        lambda: encode(Image.fromarray(BITS), "PNG", transparency=0),
        np.full_like(SOURCE, 255),
        0,
    ),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_pixels_lie_on_white(name: str) -> None:
    make, expected, tolerance = TRANSPARENT[name]
    assert difference(whole(make()), expected) <= tolerance


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_dark_pictures_of_16_bits_stay_dark_in_either_order_of_bytes(order: str) -> None:
    mode = {"<": "I;16", ">": "I;16B"}[order]
    dark = Image.frombytes(mode, (8, 8), np.full((8, 8), 200, f"{order}u2").tobytes())
    assert whole(encode(dark, "TIFF")).max() == 1


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    data = encode(Image.new("RGBA", (8, 8), (200, 0, 100, 51)), "PNG")
    assert np.abs(whole(data) - np.array([244.0, 204, 224])).max() <= 1


@pytest.mark.parametrize("inner", ["png", "bmp"])
def test_icon_gives_its_largest_picture(inner: str) -> None:
    square = PICTURE.resize((128, 128))
    data = encode(square, "ICO", sizes=[(16, 16), (128, 128), (64, 64)], bitmap_format=inner)
    assert difference(whole(data), np.asarray(square)) == 0


TALL = Image.fromarray(np.tile(SOURCE, (8, 4, 1)))
TALL_GREY = np.asarray(TALL.convert("L")).astype(float)
FADING = np.linspace(0, 255, TALL_GREY.size).reshape(TALL_GREY.shape).round()


def _faded() -> Image.Image:
    picture = TALL.convert("L")
    picture.putalpha(Image.fromarray(FADING.astype(np.uint8)))
    return picture


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (TALL, "PNG", np.asarray(TALL)),
        (TALL.convert("RGBA"), "WEBP", np.asarray(TALL)),
        (_faded(), "PNG", three(255 + (TALL_GREY - 255) * FADING / 255)),
        (_faded().convert("RGBA"), "WEBP", three(255 + (TALL_GREY - 255) * FADING / 255)),
        (Image.fromarray((TALL_GREY * 257).astype(np.uint16)), "PNG", three(TALL_GREY)),
        (Image.fromarray((TALL_GREY * FADING).astype(np.float32)), "TIFF", three(TALL_GREY * FADING / 257)),
    ],
    ids=["rgb", "opaque", "grey and alpha", "webp and alpha", "16 bits", "floats whose largest are below"],
)
def test_colours_of_pictures_of_many_bands(image: Image.Image, kind: str, expected: Any) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert np.abs(whole(encode(image, kind, **options)) - expected).max() <= 1


def test_run_length_coded_bitmap() -> None:
    rows = b"\4\1\2\2\0\0" + b"\6\3\0\0" + b"\0\1"  # From the bottom: four of colour 1, two of 2; six of 3.
    palette = bytes([0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0])  # Blue, green, red.
    header = struct.pack("<IiiHHIIiiII", 40, 6, 2, 1, 8, 1, len(rows), 0, 0, 4, 0)
    start = 14 + len(header) + len(palette)
    data = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    assert np.array_equal(whole(data), np.array([[red] * 6, [blue] * 4 + [green] * 2], np.uint8))
