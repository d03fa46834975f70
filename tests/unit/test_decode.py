"""Every format, mode and orientation against the picture it was made from; limits; damage of every kind."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import skimage.data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from embedding_calculator.arrays import Pixels
from embedding_calculator.errors import ImageTooLargeError, ImageUnreadableError
from embedding_calculator.imaging.decode import Limits, open_picture
from embedding_calculator.imaging.picture import ArrayPicture

LIMITS = Limits(max_bytes=50_000_000, max_pixels=100_000_000)
SOURCE: Pixels = skimage.data.astronaut()[:256, 100:420]  # type: ignore[no-untyped-call]
HEIGHT, WIDTH = SOURCE.shape[:2]
PICTURE = Image.fromarray(SOURCE)
GREY = np.asarray(PICTURE.convert("L"))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def heic(image: Image.Image, **options: Any) -> bytes:
    target = io.BytesIO()
    pillow_heif.from_pillow(image).save(target, **options)
    return target.getvalue()


def whole(data: bytes, **options: Any) -> Pixels:
    picture = open_picture(data, limits=LIMITS, **options)
    raster = picture.raster(1.0)
    assert raster.pixels.shape == (picture.height, picture.width, 3)
    assert raster.pixels.dtype == np.uint8
    assert raster.pixels.flags.c_contiguous
    assert (raster.scale_x, raster.scale_y) == (1.0, 1.0)
    return raster.pixels


def difference(one: Pixels, other: Any) -> float:
    assert one.shape == np.shape(other)
    return float(np.abs(one.astype(float) - other).mean())


def three(grey: Any) -> Any:
    return np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)


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


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in ((b"IHDR", header), *chunks, (b"IEND", b"")))


def _png16(pixels: Pixels) -> bytes:
    rows = (pixels.astype(np.uint16) * 257).reshape(HEIGHT, -1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return _png(WIDTH, HEIGHT, 16, 2, (b"IDAT", zlib.compress(lines)))


def _ycck(image: Image.Image) -> bytes:
    """Adobe's other four-channel JPEG: inverted CMY as YCbCr, and inverted black, marked with transform 2."""
    planes = ImageOps.invert(image).convert("YCbCr").split()
    inverted = [Image.fromarray(255 - np.asarray(plane)) for plane in (*planes, Image.new("L", image.size, 255))]
    data = encode(Image.merge("CMYK", inverted), "JPEG", quality=95)
    adobe = data.index(b"Adobe")
    assert data[adobe + 11] == 0
    return data[: adobe + 11] + b"\2" + data[adobe + 12 :]


WIDE = GREY.astype(np.uint16) * 257
ALPHA = np.zeros((HEIGHT, WIDTH), np.uint8)
ALPHA[:, : WIDTH // 2] = 255
ON_WHITE = np.where(ALPHA[:, :, None] == 255, SOURCE, 255)
WITH_ALPHA = Image.merge("RGBA", (*PICTURE.split(), Image.fromarray(ALPHA)))
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


UPRIGHT: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


def _turned(kind: str, orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    if kind == "HEIC":
        return heic(PICTURE, quality=95, exif=tags.tobytes())
    return encode(PICTURE, kind, exif=tags, **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_orientation(kind: str, orientation: int) -> None:
    data = _turned(kind, orientation)
    assert difference(whole(data), np.asarray(UPRIGHT[orientation](PICTURE))) < 5
    if kind != "HEIC":
        assert difference(whole(data, apply_orientation=False), SOURCE) < 5


def test_orientation_of_a_png_that_has_it_behind_its_pixels() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    plain, tagged = encode(PICTURE, "PNG"), encode(PICTURE, "PNG", exif=tags)
    chunk = tagged[tagged.index(b"eXIf") - 4 :]
    chunk = chunk[: 12 + int.from_bytes(chunk[:4])]
    assert tagged.replace(chunk, b"") == plain
    end = len(plain) - 12
    assert difference(whole(plain[:end] + chunk + plain[end:]), np.asarray(UPRIGHT[6](PICTURE))) == 0
    damaged = chunk[:-1] + bytes([chunk[-1] ^ 1])
    assert difference(whole(plain[:end] + damaged + plain[end:]), SOURCE) == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIC"])
def test_opening_decodes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(PICTURE) if kind == "HEIC" else encode(PICTURE, kind)
    loaded: list[str] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: loaded.append(image.format))
    open_picture(data, limits=LIMITS)
    assert loaded == []


def test_orientation_in_big_endian_exif() -> None:
    tags = b"Exif\0\0MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    assert difference(whole(encode(PICTURE, "JPEG", exif=tags)), np.asarray(UPRIGHT[6](PICTURE))) < 5


@pytest.mark.parametrize(
    "tags", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\1"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_no_orientation(tags: bytes) -> None:
    assert difference(whole(encode(PICTURE, "JPEG", exif=tags)), SOURCE) < 5


@pytest.mark.parametrize(
    ("scale", "decoded"), [(0.1, 8), (0.125, 8), (0.13, 4), (0.3, 2), (0.51, 1), (1.0, 1), (3.0, 1)]
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_jpeg_is_decoded_no_finer_than_needed(scale: float, decoded: int, orientation: int) -> None:
    picture = open_picture(_turned("JPEG", orientation), limits=LIMITS)
    raster = picture.raster(scale)
    assert raster.scale_x == raster.scale_y == 1 / decoded
    upright = UPRIGHT[orientation](PICTURE)
    assert (picture.width, picture.height) == upright.size
    assert difference(raster.pixels, np.asarray(upright.reduce(decoded))) < 5


def test_pixels_already_decoded_are_used_again() -> None:
    picture = open_picture(_turned("JPEG", 1), limits=LIMITS)
    coarse = picture.raster(0.2)
    assert picture.raster(0.1) is coarse
    fine = picture.raster(0.9)
    assert fine.scale_x == 1
    assert picture.raster(0.2) is fine


def test_two_threads_get_the_same_pixels() -> None:
    picture = open_picture(_turned("JPEG", 8), limits=LIMITS)
    with ThreadPoolExecutor(8) as pool:
        rasters = list(pool.map(picture.raster, [0.5] * 32))
    assert all(raster is rasters[0] for raster in rasters)


def test_array_is_a_picture() -> None:
    picture = ArrayPicture(SOURCE)
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    raster = picture.raster(0.1)
    assert raster.pixels is SOURCE
    assert (raster.scale_x, raster.scale_y) == (1.0, 1.0)


# --- limits ---


def _entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


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
        "png": _png(width, height, 8, 2, (b"IDAT", zlib.compress(bytes(100)))),
        "jpeg": jpeg[: frame + 5] + size + jpeg[frame + 9 :],
        "gif": b"GIF89a" + struct.pack("<HH", width, height) + encode(PICTURE.quantize(), "GIF")[10:],
        "bmp": encode(PICTURE, "BMP")[:18] + struct.pack("<ii", width, -height) + encode(PICTURE, "BMP")[26:],
        "tiff": tiff.replace(_entry(256, 4, 1, WIDTH), _entry(256, 4, 1, width)).replace(
            _entry(257, 4, 1, HEIGHT), _entry(257, 4, 1, height)
        ),
        "webp": webp[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + webp[30:],
        "ppm": b"P6 %d %d 255\n" % (width, height) + bytes(100),
        "ico": icon[:26] + struct.pack("<ii", width, 2 * height) + icon[34:],
        "ico of png": b"\0\0\1\0\1\0"
        + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 1000, 22)
        + _png(width, height, 8, 2, (b"IDAT", b"")),
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
        open_picture(_turned(kind, 1), limits=Limits(max_bytes=10_000_000, max_pixels=WIDTH * HEIGHT - 1))


def test_limits_are_inclusive() -> None:
    data = encode(PICTURE, "PNG")
    assert open_picture(data, limits=Limits(len(data), WIDTH * HEIGHT)).width == WIDTH
    with pytest.raises(ImageTooLargeError, match="is the limit"):
        open_picture(data, limits=Limits(len(data) - 1, WIDTH * HEIGHT))
    with pytest.raises(ImageTooLargeError, match="is the limit"):
        open_picture(data, limits=Limits(len(data), WIDTH * HEIGHT - 1))


# --- damage ---


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


def _small(kind: str) -> bytes:
    image = PICTURE.resize((48, 40))
    if kind == "HEIC":
        return heic(image)
    if kind == "GIF":
        return encode(image.quantize(16), "GIF")
    return encode(image, kind, **({"sizes": [(32, 32)]} if kind == "ICO" else {}))


KINDS = ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "ICO", "PPM", "AVIF", "HEIC"]
SMALL = {kind: _small(kind) for kind in KINDS}


def _try(data: bytes) -> None:
    """Pixels of the size told, or one of the two errors that a client is told about."""
    try:
        picture = open_picture(data, limits=Limits(max_bytes=1_000_000, max_pixels=2_000_000))
        raster = picture.raster(0.3)
    except (ImageUnreadableError, ImageTooLargeError):
        return
    height, width = raster.pixels.shape[:2]
    assert abs(width - picture.width * raster.scale_x) < 1
    assert abs(height - picture.height * raster.scale_y) < 1


@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere(kind: str) -> None:
    data = SMALL[kind]
    for length in [*range(0, min(len(data), 200)), *range(200, len(data), 29)]:
        _try(data[:length])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(KINDS), changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6))
def test_changed_bytes(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL[kind])
    for place, value in changes:
        data[place % len(data)] = value
    _try(bytes(data))


SIGNATURES = [b"", *{data[:4] for data in SMALL.values()}, b"P1 ", b"P2 9 9 9 ", b"P4 9 9 ", b"II+\0", b"MM\0*"]


@settings(max_examples=200, deadline=None)
@given(start=st.sampled_from(SIGNATURES), rest=st.binary(max_size=300))
def test_random_bytes(start: bytes, rest: bytes) -> None:
    _try(start + rest)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "jpeg of a million markers": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000,
    "jpeg of fill bytes": lambda: b"\xff\xd8" + b"\xff" * 5_000_000,
    "jpeg of thousands of scans": lambda: (
        encode(PICTURE, "JPEG", progressive=True)[:-2] + b"\xff\xda\0\x08\1\1\0\0\0\0" * 5000
    ),
    "png of a million chunks": lambda: _png(9, 9, 8, 2, *[(b"IDAT", b"")] * 300_000),
    "gif of a million comments": lambda: encode(PICTURE.quantize(), "GIF")[:781] + b"!\xfe\1x\0" * 1_000_000,
    "gif of one long comment": lambda: (
        encode(PICTURE.quantize(), "GIF")[:781] + b"!\xfe" + (b"\xff" + bytes(255)) * 40_000
    ),
    "tiff of loops": lambda: b"II*\0\x08\0\0\0\1\0" + _entry(330, 4, 1, 8) + struct.pack("<I", 8),
    "tiff that claims itself many times": lambda: (
        b"II*\0\x08\0\0\0\xff\x0f"
        + _entry(256, 3, 1, 9)
        + _entry(257, 3, 1, 9)
        + b"".join(_entry(40_000 + n, 1, 1_000_000, 0) for n in range(0xFFD))
        + bytes(1_000_000)
    ),
    "icon in an icon": lambda: b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 9, 9, 0, 0, 1, 32, 500, 0) + bytes(500),
}


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


# --- real photos ---


@pytest.mark.parametrize(("name", "width", "height"), [("001_A.jpg", 4912, 7360), ("003_A.jpg", 6988, 4664)])
def test_reduced_decode_of_a_large_photo(shared: Path, name: str, width: int, height: int) -> None:
    data = (shared / "data/samples" / name).read_bytes()
    picture = open_picture(data, limits=LIMITS)
    assert (picture.width, picture.height) == (width, height)
    coarse = picture.raster(0.1)
    assert coarse.pixels.shape == (-(-height // 8), -(-width // 8), 3)
    fine = picture.raster(1.0)
    assert fine.pixels.shape == (height, width, 3)
    assert difference(coarse.pixels, np.asarray(Image.fromarray(fine.pixels).reduce(8))) < 1.5


@pytest.mark.parametrize(
    ("kind", "options", "bytes_a_pixel"),
    [
        ("JPEG", {}, 7),
        ("JPEG", {"progressive": True}, 10),
        ("PNG", {}, 8),
        ("PPM", {}, 8),
        ("AVIF", {}, 12),
        ("WEBP", {}, 8),
        ("WEBP", {"save_all": True, "append_images": [PICTURE.rotate(180)]}, 16),
    ],
)
def test_what_decoding_takes_is_told_before(kind: str, options: dict[str, Any], bytes_a_pixel: int) -> None:
    data = encode(PICTURE, kind, **options)
    assert open_picture(data, limits=LIMITS).working_bytes == bytes_a_pixel * WIDTH * HEIGHT
    costliest = open_picture(data, limits=LIMITS, stored_chroma=True).working_bytes
    assert costliest == (19 if kind == "JPEG" else bytes_a_pixel) * WIDTH * HEIGHT
