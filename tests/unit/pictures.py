"""One picture in every dress a file gives it, and what the tests of decoding ask of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pillow_heif
import skimage.data
from PIL import Image

from embedding_calculator.arrays import Pixels
from embedding_calculator.errors import ImageTooLargeError, ImageUnreadableError
from embedding_calculator.imaging.decode import Limits, open_picture

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


ALPHA = np.zeros((HEIGHT, WIDTH), np.uint8)
ALPHA[:, : WIDTH // 2] = 255
ON_WHITE = np.where(ALPHA[:, :, None] == 255, SOURCE, 255)
WITH_ALPHA = Image.merge("RGBA", (*PICTURE.split(), Image.fromarray(ALPHA)))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in ((b"IHDR", header), *chunks, (b"IEND", b"")))


def tiff_entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


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


def turned(kind: str, orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    if kind == "HEIC":
        return heic(PICTURE, quality=95, exif=tags.tobytes())
    return encode(PICTURE, kind, exif=tags, **({"lossless": True} if kind == "WEBP" else {}))


def _small(kind: str) -> bytes:
    image = PICTURE.resize((48, 40))
    if kind == "HEIC":
        return heic(image)
    if kind == "GIF":
        return encode(image.quantize(16), "GIF")
    return encode(image, kind, **({"sizes": [(32, 32)]} if kind == "ICO" else {}))


KINDS = ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "ICO", "PPM", "AVIF", "HEIC"]
SMALL = {kind: _small(kind) for kind in KINDS}


def pixels_or_refusal(data: bytes) -> None:
    """Pixels of the size told, or one of the two errors that a client is told about."""
    try:
        picture = open_picture(data, limits=Limits(max_bytes=1_000_000, max_pixels=2_000_000))
        raster = picture.raster(0.3)
    except (ImageUnreadableError, ImageTooLargeError):
        return
    height, width = raster.pixels.shape[:2]
    assert abs(width - picture.width * raster.scale_x) < 1
    assert abs(height - picture.height * raster.scale_y) < 1
