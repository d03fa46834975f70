"""From bytes to pixels: the header first, then only as many pixels as somebody needs, turned upright.

Pillow reads headers and decodes everything but JPEG, which libjpeg-turbo decodes at a half, a quarter or an eighth
where that serves: a photo of 36 megapixels is then ready in the third part of the time. It is used through simplejpeg:
OpenCV's own copy gives the same pixels, but of a large picture it takes half as long again, for memory in small pages.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap
from threading import Lock
from typing import Any

import cv2
import numpy as np
import pillow_heif
import simplejpeg
from PIL import Image, ImageFile, UnidentifiedImageError

from embedding_calculator.arrays import Pixels
from embedding_calculator.errors import BusyError, ImageTooLargeError, ImageUnreadableError, InputError
from embedding_calculator.imaging.chroma import decode_full_chroma, has_quarter_chroma
from embedding_calculator.imaging.colours import to_rgb
from embedding_calculator.imaging.cost import working_bytes
from embedding_calculator.imaging.picture import EncodedPicture, Raster
from embedding_calculator.imaging.ppm import PPM_KINDS, decode_ppm, refuse_costly_ppm

# Pillow knows many more, among them EPS, which would start Ghostscript on a stranger's program.
_FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "BMP", "TIFF", "ICO", "PPM")
pillow_heif.register_heif_opener()

_ORIENTATION = 0x0112  # The tag's number in EXIF.
_SIDEWAYS = frozenset({5, 6, 7, 8})
_TURNS: dict[int, Callable[[Any], Any]] = {  # By OpenCV, in blocks: NumPy takes four times as long, and more.
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.transpose(cv2.rotate(pixels, cv2.ROTATE_180)),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_UNTURNED = {6: 8, 8: 6}  # What undoes a turn; the others undo themselves.

_REDUCTIONS = (8, 4, 2, 1)  # The other eighths that libjpeg offers save nothing: their transforms are not vectorised.
_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_FIRST_BLOCKS = 32  # Side in pixels of what libjpeg may make of no data at all, before it fills the rest with grey.
_MOST_SEGMENTS = 4096  # Before the pixels. Cameras write about ten; a colour profile in pieces adds up to 255.
_MOST_SCANS = 200  # Progressive files have about ten; every scan visits all pixels, however few bytes it has.
_MOST_JUNK = 1 << 16  # Bytes between segments, which Pillow skips one by one.
_EXIF_REACH = 1 << 20  # Bytes before a PNG's end.
_PIECE = 1 << 20  # Bytes searched at a time.
_ROOM = 20  # Bytes a pixel: more than any decoder here needs.
_LEAST_ROOM = 128_000_000  # Bytes without which nobody should blame a picture.
_MARKER = re.compile(rb"\xff([\x01-\xfe])")
_START_OF_SCAN = b"\xda"
_WITHOUT_LENGTH = {bytes([code]) for code in (0x01, *range(0xD0, 0xDA))}
_SCAN = re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\1-\4]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may cost: ``max_bytes`` encoded, ``max_pixels`` as its header declares them."""

    max_bytes: int
    max_pixels: int


def open_picture(
    data: bytes, *, limits: Limits, apply_orientation: bool = True, stored_chroma: bool = False
) -> EncodedPicture:
    """Read the header of an encoded picture; its pixels are decoded when somebody asks for them.

    Accepted are JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP, TIFF, ICO and PPM, told by their content. Of several pictures
    in a file it is the first, of an ICO the largest. Every kind of pixel becomes RGB of eight bits, transparent ones
    lie on white. A file that was cut short is accepted if some of its pixels are there.

    ``apply_orientation`` turns the picture as EXIF says it was held; False leaves it as stored, except for HEIC, whose
    decoder always turns it. ``stored_chroma`` has the colours of a JPEG that is decoded at full size as the original's
    decoder saw them (see ``chroma``). Safe to use from several threads.

    Raises:
        ImageTooLargeError: more bytes or more declared pixels than ``limits`` allow; nothing was decoded.
        ImageUnreadableError: no accepted format, or too damaged.
        BusyError: there is too little memory now.
    """
    if not data:
        raise ImageUnreadableError("it is empty")
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(f"the picture has {len(data):,} bytes; {limits.max_bytes:,} is the limit")
    with _only_told_errors():
        if data.startswith(_JPEG_START):
            _refuse_costly_jpeg(data)
        elif data.startswith(b"P"):
            refuse_costly_ppm(data)
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = image.size
        if width * height > limits.max_pixels:
            raise ImageTooLargeError(
                f"the picture is {width} x {height}, {width * height:,} pixels; {limits.max_pixels:,} is the limit"
            )
        orientation = _orientation(image, data)
        if image.format == "TIFF":  # Pillow turns these itself, always.
            orientation = 1 if apply_orientation else _UNTURNED.get(orientation, orientation)
        elif not apply_orientation:
            orientation = 1
        decode = _decoder(image, data, stored_chroma)
        cost = working_bytes(image, stored_chroma=stored_chroma)
    return _EncodedPicture(decode, width, height, orientation, cost)


def _decoder(image: ImageFile.ImageFile, data: bytes, stored_chroma: bool) -> Callable[[float], Pixels]:
    if image.format in {"JPEG", "MPO"}:
        return _JPEG(data, image.size, stored_chroma)
    if image.format == "PPM" and data[:2] in PPM_KINDS:
        size, start = image.size, image.tile[0].offset
        return lambda _scale: decode_ppm(data, start, size)
    if image.format == "WEBP" and not getattr(image, "is_animated", False):
        return _WebP(data, image.has_transparency_data, _Whole(image))
    return _Whole(image)


def _orientation(image: Image.Image, data: bytes) -> int:
    """EXIF's number, 1 to 8; damaged EXIF is no reason to refuse a picture."""
    try:
        if image.format == "PNG" and "exif" not in image.info and (late := _late_exif(data)):
            image.info["exif"] = late
        # Not the method of Pillow's PNG, which decodes all pixels to see whether there is EXIF behind them.
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 -- readers of EXIF raise anything
        return 1


def _late_exif(data: bytes) -> bytes | None:
    """The EXIF of a PNG file that has it behind its pixels."""
    name = data.rfind(b"eXIf", max(0, len(data) - _EXIF_REACH))
    end = name + 4 + int.from_bytes(data[name - 4 : name])
    whole = name >= 0 and zlib.crc32(data[name:end]) == int.from_bytes(data[end : end + 4])
    return data[name + 4 : end] if whole else None


def _refuse_costly_jpeg(data: bytes) -> None:
    """Refuse what would keep the reader of headers or the decoder busy out of all proportion to its bytes."""
    _start_of_pixels(data)
    # In pieces, because the interpreter is held meanwhile.
    if sum(len(_SCAN.findall(data, at, at + _PIECE + 4)) for at in range(0, len(data), _PIECE)) > _MOST_SCANS:
        raise ImageUnreadableError(f"the JPEG has more than {_MOST_SCANS} scans")


def _start_of_pixels(data: bytes) -> int:
    """Where a JPEG's first scan begins, by its segments, so that not a small picture's inside one of them is meant."""
    position = 2
    junk = 0
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        junk += found.start() - position if found else _MOST_JUNK
        if found is None or junk >= _MOST_JUNK:
            raise ImageUnreadableError("the JPEG has no pixels where they should be")
        if found[1] == _START_OF_SCAN:
            return found.start()
        position = found.end()
        if found[1] not in _WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2])
    raise ImageUnreadableError(f"the JPEG has more than {_MOST_SEGMENTS} segments before its pixels")


def _was_cut_short(data: bytes) -> bool:
    return not data.endswith(_JPEG_END) and data.find(_JPEG_END, _start_of_pixels(data)) < 0


def _unlike_the_last(pixels: Pixels) -> int:
    """How many pixels differ from the last one, which in a file that was cut short is what fills the rest."""
    return int((pixels != pixels[-1, -1]).any(axis=2).sum())


class _JPEG:
    """Decodes at the smallest scale that serves, again and finer if somebody asks."""

    def __init__(self, data: bytes, size: tuple[int, int], stored_chroma: bool) -> None:
        self._data = data
        self._size = size
        self._stored_chroma = stored_chroma

    def __call__(self, scale: float) -> Pixels:
        factor = next(factor for factor in _REDUCTIONS if factor * scale <= 1 or factor == 1)
        if factor == 1 and self._stored_chroma and has_quarter_chroma(self._data):
            pixels = decode_full_chroma(self._data)
        else:
            width, height = (-(-side // factor) for side in self._size)
            # Not strict: what was cut short decodes as far as it goes, and the rest is grey.
            pixels = simplejpeg.decode_jpeg(
                self._data, "RGB", min_width=width, min_height=height, min_factor=factor, strict=False
            )
        if _was_cut_short(self._data) and _unlike_the_last(pixels) <= (_FIRST_BLOCKS // factor) ** 2:
            raise ImageUnreadableError("the JPEG was cut short before its pixels")
        return pixels


class _WebP:
    """Decodes a still picture by OpenCV: Pillow holds the interpreter meanwhile, and nobody else gets on."""

    def __init__(self, data: bytes, transparent: bool, otherwise: Callable[[float], Pixels]) -> None:
        self._data = data
        self._transparent = transparent
        self._otherwise = otherwise

    def __call__(self, scale: float) -> Pixels:
        flags = cv2.IMREAD_UNCHANGED if self._transparent else cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(self._data, np.uint8), flags)
        if pixels is None:
            return self._otherwise(scale)
        if self._transparent:
            return to_rgb(Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)))
        return pixels.astype(np.uint8, copy=False)


class _Whole:
    """Decodes once, entirely, and lets go of the file and of Pillow's own pixels."""

    def __init__(self, image: ImageFile.ImageFile) -> None:
        self._image = image

    def __call__(self, _scale: float) -> Pixels:
        try:
            self._image.load()
        except MemoryError:
            raise
        except Exception:
            # What was decoded before the file broke off is the picture, as long as there is anything: Pillow's own
            # switch for this, LOAD_TRUNCATED_IMAGES, would be for the whole process.
            self._image.tile = []
            if self._image.getbbox() is None:
                raise
        pixels = to_rgb(self._image)
        self._image.close()
        return pixels


class _EncodedPicture:
    """Keeps the encoded bytes for as long as it lives, and the finest pixels decoded so far."""

    def __init__(self, decode: Callable[[float], Pixels], width: int, height: int, orientation: int, cost: int) -> None:
        self.width, self.height = (height, width) if orientation in _SIDEWAYS else (width, height)
        self.working_bytes = cost
        self._decode = decode
        self._turn = _TURNS.get(orientation)
        self._raster: Raster | None = None
        self._lock = Lock()  # This picture's own, so that two who need it do not both decode it.

    def raster(self, scale: float) -> Raster:
        """See ``Picture.raster``. JPEG is decoded at 1, 1/2, 1/4 or 1/8, everything else whole."""
        with self._lock:
            if self._raster is None or self._raster.scale_x < min(scale, 1.0):
                with _only_told_errors(self.width * self.height):
                    pixels = self._decode(scale)
                if self._turn:
                    pixels = self._turn(pixels)
                height, width = pixels.shape[:2]
                self._raster = Raster(pixels, width / self.width, height / self.height)
            return self._raster


@contextmanager
def _only_told_errors(pixels: int = 0) -> Iterator[None]:
    """Whatever a decoder raises on a stranger's bytes, the reason is the bytes, unless memory is short."""
    try:
        yield
    except (ImageUnreadableError, ImageTooLargeError):
        raise
    except Exception as error:
        if _is_memory_short(pixels):  # Not every decoder says so: some of them call the file broken.
            raise BusyError("memory", "there is too little memory for this picture now") from error
        raise _told(error) from error


def _told(error: Exception) -> InputError:
    match error:
        case MemoryError() | Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return ImageTooLargeError(f"the picture is beyond the limit of what can be decoded: {error}")
        case UnidentifiedImageError():
            names = ", ".join(_FORMATS).replace("HEIF", "HEIC")  # As people and their phones call it.
            return ImageUnreadableError(f"it is no picture, or in none of the formats {names}")
        case _:
            return ImageUnreadableError(f"the picture cannot be read: {error or type(error).__name__}")


def _is_memory_short(pixels: int) -> bool:
    """Whether an honest picture of so many pixels could not be decoded now; asked for, but not touched."""
    try:
        mmap(-1, max(pixels * _ROOM, _LEAST_ROOM)).close()
    except (OSError, MemoryError):
        return True
    return False
