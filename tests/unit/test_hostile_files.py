"""Small files that want much memory, much time or both, read in a process that is allowed little of either."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import KINDS, PICTURE, encode, heic, pixels_or_refusal, png, tiff_entry
from PIL import Image

from embedding_calculator.errors import ImageUnreadableError
from embedding_calculator.imaging.decode import Limits, open_picture

READER = """
import json, re, resource, sys, warnings
from embedding_calculator.errors import ImageTooLargeError, ImageUnreadableError
from embedding_calculator.imaging.decode import Limits, open_picture
warnings.simplefilter("ignore")
def kibibytes(what):
    with open("/proc/self/status") as status:
        return int(re.search(what + r":\\s+(\\d+) kB", status.read())[1])
room = kibibytes("VmSize") * 1024 + 400_000_000
resource.setrlimit(resource.RLIMIT_AS, (room, room))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
before = kibibytes("VmRSS")
with open(sys.argv[1], "rb") as file:
    data = file.read()
try:
    picture = open_picture(data, limits=Limits(max_bytes=50_000_000, max_pixels=4_000_000))
    answer = list(picture.raster(1.0).pixels.shape)
except (ImageTooLargeError, ImageUnreadableError) as error:
    answer = str(error)
print(json.dumps([answer, kibibytes("VmHWM") - before]))
"""


def _deflated(size: int) -> bytes:
    """``size`` zeros in a thousandth of the space."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)), packer.flush()])


BOMB = _deflated(2_000_000_000)
SHORT = Image.new("RGB", (64, 64), "white")


def _tiff(*entries: bytes, tail: bytes = b"") -> bytes:
    """A directory, and ``tail`` at offset 4096."""
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return head.ljust(4096, b"\0") + tail


def _grey_tiff(compression: int, *more: bytes, tail: bytes) -> bytes:
    """64 x 64 grey pixels, said to be all of ``tail``."""
    return _tiff(
        tiff_entry(256, 3, 1, 64),
        tiff_entry(257, 3, 1, 64),
        tiff_entry(258, 3, 1, 8),
        tiff_entry(259, 3, 1, compression),
        tiff_entry(262, 3, 1, 1),
        *more,
        tail=tail,
    )


def _frame_beyond_its_canvas() -> bytes:
    data = encode(SHORT.quantize(4), "GIF")
    frame = data.index(b",\0\0\0\0")
    return data[: frame + 5] + struct.pack("<HH", 60_000, 60_000) + data[frame + 9 :]


def _lying_heif(data: bytes) -> bytes:
    """The container says 60000 x 60000, the coded picture in it is small."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", 60_000, 60_000) + data[place + 8 :]


def _lying_heif_small(data: bytes) -> bytes:
    """The container says 8 x 8, the coded picture in it is larger."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", 8, 8) + data[place + 8 :]


def _wide_frame_in_small_webp() -> bytes:
    """A canvas of 64 x 64 around a frame whose own header says 16383 x 16383."""
    frame = bytearray(encode(SHORT, "WEBP", quality=10)[12:])
    assert frame[:4] == b"VP8 "
    frame[14:18] = struct.pack("<HH", 16_383, 16_383)
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + (63).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(frame)) + b"WEBP" + canvas + frame


def _two_frame_headers() -> bytes:
    """A JPEG that is 64 x 64 and then, before its pixels, 60000 x 60000."""
    data = encode(SHORT, "JPEG")
    start = data.index(b"\xff\xc0")
    header = data[start : start + 19]
    return data[: start + 19] + header[:5] + struct.pack(">HH", 60_000, 60_000) + header[9:] + data[start + 19 :]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "png whose pixels unpack to gigabytes": lambda: png(64, 64, 8, 2, (b"IDAT", BOMB)),
    "png whose text unpacks to gigabytes": lambda: png(64, 64, 8, 2, (b"zTXt", b"a\0\0" + BOMB)),
    "png whose colour profile unpacks to gigabytes": lambda: png(64, 64, 8, 2, (b"iCCP", b"a\0\0" + BOMB)),
    "png whose international text unpacks to gigabytes": lambda: png(
        64, 64, 8, 2, *[(b"iTXt", b"a\0\1\0\0\0" + BOMB)] * 3
    ),
    "tiff whose strip unpacks to gigabytes": lambda: _grey_tiff(
        8, tiff_entry(273, 4, 1, 4096), tiff_entry(278, 4, 1, 0xFFFFFFFF), tiff_entry(279, 4, 1, len(BOMB)), tail=BOMB
    ),
    "tiff of one tile much larger than the picture": lambda: _grey_tiff(
        8,
        tiff_entry(322, 4, 1, 65_536),
        tiff_entry(323, 4, 1, 65_536),
        tiff_entry(324, 4, 1, 4096),
        tiff_entry(325, 4, 1, len(BOMB)),
        tail=BOMB,
    ),
    "tiff of thousands of samples": lambda: _grey_tiff(
        1, tiff_entry(273, 4, 1, 4096), tiff_entry(277, 3, 1, 65_535), tiff_entry(279, 4, 1, 4096), tail=bytes(4096)
    ),
    "tiff of a chain of directories": lambda: (
        b"II*\0\x08\0\0\0" + b"".join(struct.pack("<HHHIII", 1, 256, 3, 1, 9, 26 + 18 * n) for n in range(100_000))
    ),
    "gif whose frame is larger than its canvas": _frame_beyond_its_canvas,
    "gif of a huge canvas": lambda: b"GIF89a\xff\xff\xff\xff" + encode(SHORT.quantize(4), "GIF")[10:],
    "webp whose frame is larger than its canvas": _wide_frame_in_small_webp,
    "jpeg of two sizes": _two_frame_headers,
    "bmp of a huge palette": lambda: (
        encode(SHORT.quantize(4), "BMP")[:46] + b"\xff\xff\xff\x7f" + encode(SHORT.quantize(4), "BMP")[50:]
    ),
    "ppm of a number without end": lambda: b"P6 " + b"9" * 20_000_000,
    "ppm of a comment among its pixels": lambda: b"P3 9 9 255 #" + b"x" * 20_000_000,
    "ppm of blanks among its pixels": lambda: b"P3 9 9 255 " + b" " * 20_000_000,
    "ppm of comments among its pixels": lambda: b"P3 9 9 255 " + b"#\n" * 10_000_000,
    "ppm of text alone": lambda: b"P3 2000 2000 255 " + b"200 " * 12_000_000,
    "ppm of one number among its pixels": lambda: b"P3 9 9 255 " + b"9" * 20_000_000,
    "webp of a million chunks": lambda: b"RIFF" + struct.pack("<I", 8_000_004) + b"WEBP" + b"JUNK\0\0\0\0" * 1_000_000,
    "heic of a million boxes": lambda: heic(SHORT)[:24] + b"\0\0\0\x08free" * 1_000_000 + heic(SHORT)[24:],
    "avif of a million boxes": lambda: (
        encode(SHORT, "AVIF")[:32] + b"\0\0\0\x08free" * 1_000_000 + encode(SHORT, "AVIF")[32:]
    ),
    "ico of very many pictures": lambda: (
        b"\0\0\1\0\xff\xff" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 9, 22) * 65_535
    ),
    "heic that says it is large": lambda: _lying_heif(heic(SHORT)),
    "heic that says it is small": lambda: _lying_heif_small(heic(PICTURE)),
    "avif that says it is large": lambda: _lying_heif(encode(SHORT, "AVIF")),
    "avif that says it is small": lambda: _lying_heif_small(encode(PICTURE, "AVIF")),
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: limits of memory that hold")
@pytest.mark.parametrize("name", HOSTILE)
def test_bombs_are_refused_or_read_in_little_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(HOSTILE[name]())
    run = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    answer, grown = json.loads(run.stdout)
    assert grown < 150_000, f"{grown} KiB for: {answer}"


CROWDED = """
import json, resource, sys
from embedding_calculator.errors import EmbeddingCalculatorError
from embedding_calculator.imaging.decode import Limits, open_picture
from PIL import Image
Image.init()
files = [open(path, "rb").read() for path in sys.argv[1:]]
with open("/proc/self/statm") as status:
    room = int(status.read().split()[0]) * resource.getpagesize() + 10_000_000
resource.setrlimit(resource.RLIMIT_AS, (room, room))
answers = []
for data in files:
    try:
        picture = open_picture(data, limits=Limits(max_bytes=50_000_000, max_pixels=10_000_000))
        answers.append(str(picture.raster(1.0).pixels.shape))
    except EmbeddingCalculatorError as error:
        answers.append(getattr(error, "reason", str(error)))
print(json.dumps(answers))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: limits of memory that hold")
def test_too_little_memory_is_not_the_pictures_fault(tmp_path: Path) -> None:
    large = Image.new("RGB", (2400, 2400), "white")
    kinds = ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "PPM"]
    for kind in kinds:
        (tmp_path / kind).write_bytes(encode(large, kind))
    (tmp_path / "HEIC").write_bytes(heic(large))
    (tmp_path / "small").write_bytes(encode(SHORT, "PNG"))
    paths = [str(tmp_path / name) for name in ("small", *kinds, "HEIC")]
    run = subprocess.run([sys.executable, "-c", CROWDED, *paths], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == ["(64, 64, 3)", *["memory"] * 9]


@pytest.mark.parametrize("filling", [b"#" + b"x" * 100_000 + b"\n", b" " * 100_000, b"#\n" * 50_000])
def test_a_ppm_with_a_header_out_of_all_proportion_is_refused_unread(filling: bytes) -> None:
    with pytest.raises(ImageUnreadableError, match="header is longer"):
        open_picture(b"P6 8 " + filling + b"8 255\n" + bytes(192), limits=Limits(10_000_000, 1_000_000))


@pytest.mark.parametrize("head", [b"P5 # made\n300 # wide\r300 255\n", b"P4\n3000\n3000\n"])
def test_comments_and_blanks_of_honest_length_are_fine(head: bytes) -> None:
    size = 3000 if head.startswith(b"P4") else 300
    data = head + b"#" * 1_200_000
    assert open_picture(data, limits=Limits(10_000_000, 10_000_000)).raster(1).pixels.shape == (size, size, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_every_kilobyte(kind: str) -> None:
    if kind == "HEIC":
        data = heic(PICTURE)
    else:
        image = PICTURE.quantize() if kind == "GIF" else PICTURE
        data = encode(image, kind, **({"sizes": [(128, 128)]} if kind == "ICO" else {}))
    for length in range(0, len(data), 1024):
        pixels_or_refusal(data[:length])
