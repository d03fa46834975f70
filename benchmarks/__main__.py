"""``python -m benchmarks``: one table of the service, the bare networks under it, and a peer, in the same run.

The photos are the sample photos beside the repository, or else the astronaut at two sizes. Every row is measured in
turns with the others, so that a machine that slows down slows all of them. CPU is the process's own: the service's for
the service, this one's for what runs here.
"""

from __future__ import annotations

import io
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage.data import astronaut

from benchmarks import peers
from embedding_calculator import FaceAnalyzer

SHARED = Path(__file__).parents[2] / "shared"
ROUNDS = 3
LARGE = 2000  # Pixels; what is longer is a big photo.


@dataclass(slots=True)
class Row:
    """One way to have photos answered, and what it cost."""

    name: str
    answer: Callable[[bytes], object]
    process: psutil.Process
    clients: int = 1
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    wall: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, kind: str, photos: list[bytes]) -> None:
        """Answer all photos once."""
        before, start = cpu_seconds(self.process), time.perf_counter()
        with ThreadPoolExecutor(self.clients) as pool:
            self.seconds.setdefault(kind, []).extend(pool.map(self._timed, photos))
        self.wall.setdefault(kind, []).append((time.perf_counter() - start) / len(photos))
        self.cpu.setdefault(kind, []).append((cpu_seconds(self.process) - before) / len(photos))

    def _timed(self, photo: bytes) -> float:
        start = time.perf_counter()
        self.answer(photo)
        return time.perf_counter() - start


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def photos() -> dict[str, list[bytes]]:
    """Encoded photos by kind, small and big."""
    folder = SHARED / "data/samples"
    if not folder.is_dir():
        portrait = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
        sizes = {"small": (512, 512), "big": (4096, 4096)}
        made: dict[str, list[bytes]] = {}
        for kind, size in sizes.items():
            stream = io.BytesIO()
            portrait.resize(size).save(stream, "JPEG", quality=90)
            made[kind] = [stream.getvalue()] * (12 if kind == "small" else 3)
        return made
    found: dict[str, list[bytes]] = {"small": [], "big": []}
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as image:
            found["big" if max(image.size) > LARGE else "small"].append(path.read_bytes())
    return found


@contextmanager
def service() -> Iterator[tuple[str, psutil.Process]]:
    """The service as ``make run`` starts it, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {**os.environ, "ML_PORT": str(port), "ML_HOST": "127.0.0.1", "LOGGING_LEVEL_NAME": "ERROR"}
    process = subprocess.Popen([sys.executable, "-m", "embedding_calculator", "serve"], env=variables)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(url + "/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                if process.poll() is not None:
                    raise SystemExit("the service did not start") from None
                time.sleep(0.2)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def table_of(rows: list[Row], kinds: list[str]) -> Table:
    table = Table(header_style="bold", title="median of all requests; CPU and throughput: median of the rounds")
    table.add_column("", no_wrap=True)
    for kind in kinds:
        for column in ("p50 ms", "CPU ms", "a second"):
            table.add_column(f"{kind}\n{column}", justify="right")
    for row in rows:
        cells = []
        for kind in kinds:
            cells.append(f"{statistics.median(row.seconds[kind]) * 1000:.0f}")
            cells.append(f"{statistics.median(row.cpu[kind]) * 1000:.0f}")
            cells.append(f"{1 / statistics.median(row.wall[kind]):.1f}")
        table.add_row(row.name, *cells)
    return table


def main() -> None:
    """Measure and print."""
    console = Console()
    here = psutil.Process()
    sets = photos()
    analyzer = FaceAnalyzer()
    with service() as (url, process), httpx.Client(base_url=url, timeout=120) as client:

        def ask(plugins: str) -> Callable[[bytes], object]:
            return lambda photo: client.post(
                "/find_faces", files={"file": ("photo.jpg", photo)}, data={"face_plugins": plugins}
            )

        ready = megabytes(process)
        rows = [
            Row("in process, detection", lambda photo: analyzer.find_faces(photo, plugins=()), here),
            Row("service, detection", ask(""), process),
            Row("in process, + embedding", lambda photo: analyzer.find_faces(photo, plugins=("calculator",)), here),
            Row("service, + embedding", ask("calculator"), process),
            Row("service, + embedding, 4 clients", ask("calculator"), process, clients=4),
            Row("service, + embedding, 16 clients", ask("calculator"), process, clients=16),
            Row("service, everything", ask("calculator,landmarks,age,gender,pose"), process),
            *(Row(name, answer, here) for name, answer in peers.installed(SHARED / "models").items()),
        ]
        for row in rows:
            row.answer(sets["small"][0])
        for _ in range(ROUNDS):
            for row in rows:
                for kind, kept in sets.items():
                    row.measure(kind, kept)
        console.print(table_of(rows, list(sets)))
        console.print(f"memory of the service: ready {ready:.0f} MB, at the end {megabytes(process):.0f} MB")


if __name__ == "__main__":
    main()
