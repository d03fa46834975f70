"""How a picture is turned, how finely it is decoded, and what that costs, against the picture it was made from."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import (
    HEIGHT,
    LIMITS,
    PICTURE,
    SOURCE,
    UPRIGHT,
    WIDTH,
    difference,
    encode,
    heic,
    turned,
    whole,
)
from PIL import Image, ImageFile

from embedding_calculator.imaging.decode import open_picture
from embedding_calculator.imaging.picture import ArrayPicture


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_orientation(kind: str, orientation: int) -> None:
    data = turned(kind, orientation)
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
    picture = open_picture(turned("JPEG", orientation), limits=LIMITS)
    raster = picture.raster(scale)
    assert raster.scale_x == raster.scale_y == 1 / decoded
    upright = UPRIGHT[orientation](PICTURE)
    assert (picture.width, picture.height) == upright.size
    assert difference(raster.pixels, np.asarray(upright.reduce(decoded))) < 5


def test_pixels_already_decoded_are_used_again() -> None:
    picture = open_picture(turned("JPEG", 1), limits=LIMITS)
    coarse = picture.raster(0.2)
    assert picture.raster(0.1) is coarse
    fine = picture.raster(0.9)
    assert fine.scale_x == 1
    assert picture.raster(0.2) is fine


def test_two_threads_get_the_same_pixels() -> None:
    picture = open_picture(turned("JPEG", 8), limits=LIMITS)
    with ThreadPoolExecutor(8) as pool:
        rasters = list(pool.map(picture.raster, [0.5] * 32))
    assert all(raster is rasters[0] for raster in rasters)


def test_array_is_a_picture() -> None:
    picture = ArrayPicture(SOURCE)
    assert (picture.width, picture.height) == (WIDTH, HEIGHT)
    raster = picture.raster(0.1)
    assert raster.pixels is SOURCE
    assert (raster.scale_x, raster.scale_y) == (1.0, 1.0)


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
