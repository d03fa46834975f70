"""How the service's cost grows with pixels, faces and clients: measured in turns, and fitted by straight lines."""

from __future__ import annotations

import io
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from PIL import Image
from skimage.data import astronaut

from benchmarks.service import Client, cpu_seconds

ROUNDS = 2
MEGAPIXELS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 25, 36)
FACES = (1, 2, 4, 8, 16, 32, 64)
CLIENTS = (1, 2, 4, 8, 16, 32)
EVERYTHING = "calculator,landmarks,age,gender,pose"

_LONG_ENOUGH = 0.4
"""Seconds for a measurement: the system counts a process's CPU in hundredths of a second."""

_TILES, _TILE = 8, 200
"""Of a contact sheet: tiles a side, and a tile's side in pixels. On YuNet's canvas a face is then 45 pixels wide."""


@dataclass(frozen=True, slots=True)
class Line:
    """``start + slope * x``, in milliseconds."""

    start: float
    slope: float

    def at(self, x: float) -> float:
        """Its height there."""
        return self.start + self.slope * x


def fit(x: Sequence[float], y: Sequence[float]) -> Line:
    """The line with the least squares of relative errors, so that the small numbers have a say beside the large."""
    slope, start = np.polyfit(x, y, 1, w=1 / np.asarray(y))
    return Line(float(start), float(slope))


@dataclass(slots=True)
class Curve:
    """``values[i]`` milliseconds at ``x[i]``, the medians of the rounds; the mean of two."""

    name: str
    x: Sequence[float]
    _measure: Callable[[float], float]
    _found: dict[float, list[float]] = field(default_factory=dict)

    def measure(self) -> None:
        """Every point once."""
        for x in self.x:
            self._found.setdefault(x, []).append(self._measure(x))

    @property
    def values(self) -> list[float]:
        """What was found."""
        return [statistics.median(self._found[x]) for x in self.x]

    @property
    def line(self) -> Line:
        """Fitted to it."""
        return fit(self.x, self.values)


@dataclass(frozen=True, slots=True)
class Growth:
    """CPU over megapixels of two formats, CPU over faces of three tasks, and p50 over clients with embeddings."""

    pixels: Sequence[Curve]
    faces: Sequence[Curve]
    clients: Curve

    @property
    def sentence(self) -> str:
        """What a photo costs, as one says it."""
        (jpeg, png), (_, embeddings, everything) = self.pixels, self.faces
        base = jpeg.line.start - embeddings.line.slope  # The portrait has a face.
        return (
            f"A JPEG costs {base:.1f} ms of CPU, {jpeg.line.slope:.1f} ms a megapixel (a PNG {png.line.slope:.1f}) and "
            f"{embeddings.line.slope:.1f} ms a face with its embedding, {everything.line.slope:.1f} with everything. "
            f"With embeddings of small photos each client more makes all wait {self.clients.line.slope:.0f} ms longer: "
            f"{1000 / self.clients.line.slope:.0f} photos a second."
        )


def measured(url: str, process: psutil.Process, small: Sequence[bytes]) -> Growth:
    """All curves; ``small`` are the photos that many clients send."""
    portraits = {kind: dict(zip(MEGAPIXELS, _portraits(kind), strict=True)) for kind in ("JPEG", "PNG")}
    sheets = dict(zip(FACES, map(contact_sheet, FACES), strict=True))

    def cpu(pictures: Mapping[Any, bytes], plugins: str) -> Callable[[float], float]:
        ask = Client(url, plugins)
        return lambda x: _cpu(ask, pictures[x], process)

    growth = Growth(
        [Curve(kind, MEGAPIXELS, cpu(pictures, "calculator")) for kind, pictures in portraits.items()],
        [
            Curve("detection", FACES, cpu(sheets, "")),
            Curve("embeddings", FACES, cpu(sheets, "calculator")),
            Curve("everything", FACES, cpu(sheets, EVERYTHING)),
        ],
        Curve("embeddings", CLIENTS, lambda clients: _p50(Client(url, "calculator"), small, int(clients))),
    )
    for _ in range(ROUNDS):
        for curve in (*growth.pixels, *growth.faces, growth.clients):
            curve.measure()
    return growth


def contact_sheet(faces: int) -> bytes:
    """A JPEG of 1600 x 1600 pixels with so many copies of a face, in its first tiles."""
    portrait = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
    tile = portrait.crop((140, 20, 300, 180)).resize((_TILE, _TILE))
    sheet = Image.new("RGB", (_TILES * _TILE,) * 2, (96, 96, 96))
    for number in range(faces):
        sheet.paste(tile, (number % _TILES * _TILE, number // _TILES * _TILE))
    return _encoded(sheet, "JPEG")


def _portraits(kind: str) -> Iterable[bytes]:
    portrait = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
    for megapixels in MEGAPIXELS:
        side = round(math.sqrt(megapixels * 1e6))
        yield _encoded(portrait.resize((side, side)), kind)


def _encoded(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    options: dict[str, Any] = {"quality": 90} if kind == "JPEG" else {"compress_level": 3}
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _cpu(ask: Client, photo: bytes, process: psutil.Process) -> float:
    ask(photo)
    start, before, asked = time.perf_counter(), cpu_seconds(process), 0
    while time.perf_counter() - start < _LONG_ENOUGH:
        ask(photo)
        asked += 1
    return (cpu_seconds(process) - before) / asked * 1000


def _p50(ask: Client, photos: Sequence[bytes], clients: int) -> float:
    def timed(photo: bytes) -> float:
        start = time.perf_counter()
        ask(photo)
        return time.perf_counter() - start

    asked = [*photos] * math.ceil(max(24, 3 * clients) / len(photos))
    with ThreadPoolExecutor(clients) as pool:
        return statistics.median(pool.map(timed, asked)) * 1000
