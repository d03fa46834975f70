"""``python -m benchmarks``: the service, the library, the floor under them and peers beside them, in the same run.

Everything that answers photos is a process of its own, with CPU and memory of its own, and all rows take turns, so that
a machine that slows down slows all of them. The photos are the sample photos beside the repository, or else the
astronaut at two sizes. Tables go to the terminal and to build/bench.md, pictures to build/bench.png and
build/growth.png; ``--publish`` measures nothing, and puts what is there into docs/performance.md.
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
from PIL import Image
from rich.console import Console
from rich.progress import track
from skimage.data import astronaut

from benchmarks import drawing, growth, tables
from benchmarks.peers.installed import Peer, installed
from benchmarks.rows import Child, Memory, Photo, Row, child, watched
from benchmarks.service import Client, service
from embedding_calculator.models.runtime import machine

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("EC_SHARED", ROOT.parent / "shared"))
PAGE, PICTURES = ROOT / "docs/performance.md", ROOT / "docs/images"
REPORT, COSTS, GROWTH = Path("build/bench.md"), Path("build/bench.png"), Path("build/growth.png")
ROUNDS = 4
REST = 3.0  # Seconds until memory at the end is read: work is over then.
WIDTH = 104  # Characters of the main table.
LARGE = 2000  # Pixels; what is longer is a big photo.
PLUGINS = {"detection": "", "embeddings": "calculator", "everything": growth.EVERYTHING}

_MEASURED = re.compile(r"(<!-- measured: make bench -->\n).*?(<!-- end -->)", re.DOTALL)


def photos(folder: Path) -> dict[str, list[Photo]]:
    """Small and big photos; those that are made are kept in ``folder``."""
    found: dict[str, list[Photo]] = {"small": [], "big": []}
    if (samples := SHARED / "data/samples").is_dir():
        for path in sorted(samples.glob("*.jpg")):
            with Image.open(path) as image:
                found["big" if max(image.size) > LARGE else "small"].append(Photo(path, path.read_bytes()))
        return found
    portrait = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
    for kind, side in (("small", 512), ("big", 4096)):
        stream = io.BytesIO()
        portrait.resize((side, side)).save(stream, "JPEG", quality=90)
        path = folder / f"{kind}.jpg"
        path.write_bytes(stream.getvalue())
        found[kind].append(Photo(path, stream.getvalue()))
    return found


def rows_of(url: str, process: psutil.Process, floor: Child, library: Child, peers: Mapping[Peer, Child]) -> list[Row]:
    """Every way that is measured."""

    def at_service(work: str, clients: int) -> Row:
        ask = Client(url, PLUGINS[work])
        return Row("service", work, lambda photo: ask(photo.content), process, clients)

    def of_child(name: str, work: str, one: Child, *, big: bool = True) -> Row:
        return Row(name, work, one.asker(work), one.process, big=big)

    rows = []
    for work in PLUGINS:
        if work in floor.ways:
            rows.append(of_child("floor", work, floor))
        rows.append(of_child("library", work, library))
        rows += [at_service(work, clients) for clients in (1, 4, 16)]
        rows += [
            of_child(peer.name, work, one, big=not peer.small_only) for peer, one in peers.items() if work in one.ways
        ]
    return rows


def measure(rows: Sequence[Row], sets: Mapping[str, Sequence[Photo]], console: Console) -> None:
    """All rows in turns; before that every photo once, which makes all of them warm."""
    for row in rows:
        for kind, kept in sets.items():
            for photo in kept if kind == "small" or row.big else ():
                row.answer(photo)
    for _ in track(range(ROUNDS), "rounds", console=console, transient=True):
        for row in rows:
            for kind, kept in sets.items():
                row.measure(kind, kept)


def report(rows: Sequence[Row], memory: Mapping[str, Memory], found: growth.Growth) -> list[tables.Table | str]:
    """Everything that is told, in order."""
    cores = psutil.cpu_count() or 1
    bf16 = "with" if machine.may_have_bf16() else "without"
    return [
        f"{platform.system()} {platform.machine()}, {cores} processors {bf16} bf16, Python {platform.python_version()},"
        f" {ROUNDS} rounds. Milliseconds; CPU is that of one photo.",
        tables.costs(rows),
        tables.verdicts(tables.targets(rows, memory["service"].ready)),
        tables.memory(memory),
        found.sentence,
    ]


def on_page(parts: Iterable[tables.Table | str]) -> str:
    """As Markdown."""
    return "\n".join(part + "\n" if isinstance(part, str) else part.on_page() for part in parts)


def publish() -> None:
    """Put the last measurement into the documentation."""
    text = REPORT.read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_MEASURED.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", page), encoding="utf-8")
    for picture in (COSTS, GROWTH):
        shutil.copy(picture, PICTURES / picture.name)


def main() -> None:
    """Measure, tell, draw. Targets that are missed are told, and are no failure of the command."""
    console = Console()
    console.width = max(console.width, WIDTH)
    with ExitStack() as stack:
        sets = photos(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        url, process = stack.enter_context(service())
        floor, library = (
            stack.enter_context(child(sys.executable, "-m", f"benchmarks.{name}")) for name in ("floor", "library")
        )
        peers = {peer: stack.enter_context(child(*peer.command)) for peer in installed(SHARED / "models")}
        processes = {"service": process, "library": library.process}
        processes |= {peer.name: one.process for peer, one in peers.items()}
        memory = stack.enter_context(watched(processes))
        rows = rows_of(url, process, floor, library, peers)
        measure(rows, sets, console)
        found = growth.measured(url, process, [photo.content for photo in sets["small"]])
        time.sleep(REST)
    parts = report(rows, memory, found)
    for part in parts:
        console.print(part if isinstance(part, str) else part.on_terminal())
    drawing.draw_costs(rows, COSTS)
    drawing.draw_growth(found, GROWTH)
    REPORT.write_text(on_page(parts), encoding="utf-8")
    console.print(f"Written to {REPORT}, drawn in {COSTS} and {GROWTH}.")


if __name__ == "__main__":
    publish() if "--publish" in sys.argv else main()
