"""``python -m benchmarks.soak``: a real service under everything at once, for half an hour, or SOAK_MINUTES.

In turns: as many clients as there are threads, then four times as many requests at once as have a seat, then a rest.
Photos are the astronaut in every format that is read, from 64 to 8000 pixels; every twentieth file is hostile. What
the service holds when it rests must not grow, nobody may be lost, and every answer must be what it was in calm, or 503.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import statistics
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pillow_heif
import psutil
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage.data import astronaut

from benchmarks.service import megabytes, service
from embedding_calculator.evaluation import plots
from embedding_calculator.evaluation.load import Body, bodies
from embedding_calculator.settings import Settings

PICTURE = Path("build/soak.png")
FEWEST_RESTS = 6  # Fewer, and the first three are the last three.
MOST_GROWTH = 0.03
HOSTILE_SHARE = 0.05
OVERLOAD = 4
TIMEOUT = 15.0  # REQUEST_TIMEOUT of the service. Its default is made for patient clients and would hide a queue.
TRANSFER = 10.0
"""Seconds more for the client: it counts from the beginning of the upload, on processors that the service presses.
A service that lets requests wait without bound is beyond this soon."""
KEEP_ALIVE = 2.0  # Seconds. The service closes idle connections after 5, and who asks at that very moment is lost.
STEADY, REST = 8.0, 2.5  # Seconds of every turn; a service at rest gives back what is free within one.
WARM_UP = 0.25  # Of the whole time.
PLUGINS = ("", "calculator", "calculator,landmarks,age,gender,pose")
SIZES = {64: 15, 250: 25, 500: 25, 1000: 20, 2000: 10, 4000: 4, 8000: 1}
"""Longest side in pixels -> how many of 100 photos have it."""
FORMATS = {  # The largest side worth its time: encoders of video are slow, and raw pixels outgrow MAX_IMAGE_BYTES.
    "JPEG": 8000,
    "PNG": 8000,
    "TIFF": 8000,
    "WEBP": 8000,
    "BMP": 4000,
    "GIF": 4000,
    "PPM": 4000,
    "HEIF": 2000,
    "AVIF": 2000,
    "ICO": 250,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"method": 0},
    "AVIF": {"speed": 10},
}

Reading = tuple[float, float]
"""Seconds since the beginning, MB resident."""


@dataclass(frozen=True, slots=True)
class File:
    """What is sent, and how often in comparison with others."""

    name: str
    body: Body = field(repr=False)  # Asyncio writes out what a task returns; megabytes of it would take all memory.
    weight: float


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` is None where none came."""

    file: File
    status: int | None
    seconds: float


@dataclass(slots=True)
class Record:
    """What was seen: statuses in calm, answers under load, and memory all the time and at rest."""

    calm: dict[str, int | None] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    memory: list[Reading] = field(default_factory=list)
    rests: list[Reading] = field(default_factory=list)
    counted: int = 0
    """Answers that the service itself has counted, those in calm included."""

    @property
    def growth(self) -> float:
        """Of what is resident at rest: from the median of the first three rests after warm-up to that of the last."""
        after = [resident for _, resident in self.warm]
        return statistics.median(after[-3:]) / statistics.median(after[:3]) - 1

    @property
    def warm(self) -> list[Reading]:
        """The rests after warm-up; of very short runs all but the first."""
        return self.rests[max(1, int(len(self.rests) * WARM_UP)) :]


def photos() -> Iterable[tuple[str, bytes, float]]:
    """Name, content and weight of the honest files."""
    pillow_heif.register_heif_opener()
    portrait = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
    for size, weight in SIZES.items():
        picture = portrait.resize((size, size))
        able = [kind for kind, largest in FORMATS.items() if size <= largest]
        for kind in able:
            stream = io.BytesIO()
            options: dict[str, Any] = {"sizes": [(size, size)]} if kind == "ICO" else OPTIONS.get(kind, {})
            picture.save(stream, kind, **options)
            yield f"{kind} {size}", stream.getvalue(), weight / len(able)


def hostile(honest: dict[str, bytes]) -> Iterable[tuple[str, bytes]]:
    """Files cut short, bombs and junk."""
    for kind in FORMATS:
        whole = honest[f"{kind} 250"]
        yield f"{kind} cut in half", whole[: len(whole) // 2]
        yield f"{kind} cut in its header", whole[:40]
    yield "PNG of 10 gigapixels", _white_png(100_000, 100_000, rows=10)
    yield "PNG of 64 megapixels of white", _white_png(8000, 8000, rows=8000)
    yield "GIF with a huge canvas", b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(6) + b";"
    yield "BMP that lies about its size", honest["BMP 64"][:18] + struct.pack("<ii", 13_000, 13_000) + bytes(100)
    yield "nothing", b""
    yield "bytes", random.Random(1).randbytes(100_000)
    yield "JPEG of bytes", b"\xff\xd8\xff\xe0" + random.Random(2).randbytes(100_000)
    yield "a page", b"<!doctype html><title>no picture</title>" * 100


def _white_png(width: int, height: int, rows: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(b"\0" + b"\xff" * width) for _ in range(rows)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def all_files(endpoint: str) -> list[File]:
    """Everything that is sent, as it is sent; the weights of the hostile are their share of all."""
    honest = list(photos())
    bad = list(hostile({name: content for name, content, _ in honest}))
    total = sum(weight for *_, weight in honest)
    weighted = [(name, content, (1 - HOSTILE_SHARE) * weight / total) for name, content, weight in honest]
    weighted += [(name, content, HOSTILE_SHARE / len(bad)) for name, content in bad]
    return [File(name, bodies(endpoint, [content], None)[0], weight) for name, content, weight in weighted]


class Soak:
    """Clients of one service, and what they see."""

    def __init__(self, client: httpx.AsyncClient, files: list[File], process: psutil.Process) -> None:
        self.record = Record()
        self._client = client
        self._files = files
        self._weights = [file.weight for file in files]
        self._process = process
        self._random = random.Random(5)
        self._began = time.perf_counter()

    async def run(self, seconds: float) -> None:
        """Everything once in calm, then turns until the time is over."""
        watching = asyncio.create_task(self._watch())
        for file in self._files:
            self.record.calm[file.name] = (await self._ask(file)).status
        settings = Settings()
        seats = settings.uwsgi_threads + settings.queue_limit
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            until = time.perf_counter() + STEADY
            await asyncio.gather(*(self._keep_asking(until) for _ in range(settings.uwsgi_threads)))
            burst = self._random.choices(self._files, self._weights, k=OVERLOAD * seats)
            self.record.answers += await asyncio.gather(*map(self._ask, burst))
            await asyncio.sleep(REST)
            self.record.rests.append(self._reading())
        watching.cancel()
        self.record.counted = await self._counted()

    async def _keep_asking(self, until: float) -> None:
        while time.perf_counter() < until:
            (file,) = self._random.choices(self._files, self._weights)
            self.record.answers.append(await self._ask(file))

    async def _ask(self, file: File) -> Answer:
        start = time.perf_counter()
        try:
            response = await self._client.post(
                "/find_faces",
                params={"face_plugins": self._random.choice(PLUGINS)},
                content=file.body.content,
                headers={"content-type": file.body.kind},
            )
        except httpx.TransportError:
            return Answer(file, None, time.perf_counter() - start)
        return Answer(file, response.status_code, time.perf_counter() - start)

    async def _watch(self) -> None:
        while True:
            self.record.memory.append(self._reading())
            await asyncio.sleep(0.25)

    def _reading(self) -> Reading:
        return time.perf_counter() - self._began, megabytes(self._process)

    async def _counted(self) -> int:
        lines = (await self._client.get("/metrics")).text.splitlines()
        ours = (line for line in lines if line.startswith('embedding_calculator_requests_total{path="/find_faces"'))
        return round(sum(float(line.rpartition(" ")[2]) for line in ours))


def findings(record: Record) -> list[tuple[str, str, bool]]:
    """What is demanded, what was found, and whether that is good."""
    statuses = Counter(answer.status for answer in record.answers)
    wrong = [status for status in statuses if status is not None and status >= 500 and status != 503]
    calm_wrong = {name: status for name, status in record.calm.items() if status is None or status >= 500}
    accepted = [answer.seconds for answer in record.answers if answer.status not in {None, 503}]
    changed = {
        f"{answer.file.name}: {answer.status}, in calm {record.calm[answer.file.name]}"
        for answer in record.answers
        if answer.status not in {None, 503, record.calm[answer.file.name]}
    }
    uncounted = len(record.calm) + len(record.answers) - record.counted
    return [
        (
            f"resident at rest grows by at most {MOST_GROWTH:.0%}".replace("%", " %"),
            f"{record.growth:+.1%}".replace("%", " %"),
            len(record.warm) >= FEWEST_RESTS and record.growth <= MOST_GROWTH,
        ),
        (
            "no 5xx but 503",
            ", ".join(map(str, [*wrong, *calm_wrong.items()])) or "none",
            not wrong and not calm_wrong,
        ),
        (
            "no request is lost",
            f"{statuses[None]} lost, {uncounted} not counted by the service",
            statuses[None] == uncounted == 0,
        ),
        (
            f"who is accepted waits at most {TIMEOUT:g} s",
            f"{max(accepted):.1f} s with the upload",
            max(accepted) <= TIMEOUT + TRANSFER,
        ),
        ("answers are those in calm", "; ".join(sorted(changed)[:5]) or "all", not changed),
        ("bursts overload it", f"{statuses[503]} refused", statuses[503] > 0),
    ]


def tables(record: Record) -> Iterable[Table]:
    """Answers by status, and the demands."""
    answers = Table("answers", "how many", "p50 ms", "p99 ms", "longest ms", header_style="bold")
    for status in sorted({answer.status for answer in record.answers}, key=lambda status: status or 0):
        times = np.array([answer.seconds * 1000 for answer in record.answers if answer.status == status])
        figures = (f"{value:.0f}" for value in (*np.percentile(times, (50, 99)), times.max()))
        answers.add_row("lost" if status is None else str(status), str(len(times)), *figures)
    yield answers
    demands = Table("demand", "found", "", header_style="bold")
    for demand, found, good in findings(record):
        demands.add_row(demand, found, "[green]yes" if good else "[red]no")
    yield demands


def draw(record: Record, path: Path) -> None:
    """Resident memory over time, with the rests that are compared."""
    figure = Figure((9, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*_minutes(record.memory), color=plots.TEAL, linewidth=1, alpha=0.7, label="at work")
    axes.plot(*_minutes(record.rests), "o-", color=plots.CORAL, markersize=4, linewidth=1.4, label="at rest")
    axes.axvline(record.warm[0][0] / 60, color=plots.GREY, linewidth=1, linestyle=(0, (4, 3)), label="warm")
    axes.set(xlabel="Minutes", ylabel="Resident memory in MB", ylim=(0, None), xlim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e7ebee", linewidth=0.8)
    axes.legend(frameon=False, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


def _minutes(readings: list[Reading]) -> tuple[list[float], list[float]]:
    return [seconds / 60 for seconds, _ in readings], [resident for _, resident in readings]


async def _soak(url: str, files: list[File], process: psutil.Process, minutes: float) -> Record:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=KEEP_ALIVE)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        soak = Soak(client, files, process)
        await soak.run(minutes * 60)
        return soak.record


def main() -> None:
    """Run, tell, draw; exit status 1 where a demand is not met."""
    minutes = float(os.environ.get("SOAK_MINUTES", "30"))
    os.environ["REQUEST_TIMEOUT"] = f"{TIMEOUT:g}"
    console = Console()
    with service() as (url, process):
        files = all_files(url + "/find_faces")
        console.print(f"{len(files)} files; {minutes:g} minutes")
        record = asyncio.run(_soak(url, files, process, minutes))
    for table in tables(record):
        console.print(table)
    draw(record, PICTURE)
    rests = [f"{resident:.0f}" for _, resident in record.rests]
    console.print(f"MB at rest: {' '.join(rests)}; at most {max(r for _, r in record.memory):.0f}. Drawn in {PICTURE}")
    if not all(good for *_, good in findings(record)):
        sys.exit(1)


if __name__ == "__main__":
    main()
