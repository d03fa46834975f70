"""Ways to have photos answered, and what each costs, measured in turns."""

from __future__ import annotations

import math
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.service import cpu_seconds, megabytes

_FEWEST = 24
"""Photos in a measurement, at least: the system counts a process's CPU in hundredths of a second."""

_A_CLIENT = 3
"""Photos in a measurement for every client, so that most of it is not its beginning and its end."""


@dataclass(frozen=True, slots=True)
class Photo:
    """An encoded picture, and the file that holds the same."""

    path: Path
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a photo: seconds until its answer, ``p50`` and ``p95`` of all; seconds of ``cpu``; and photos a second."""

    p50: float
    p95: float
    cpu: float
    rate: float


@dataclass(slots=True)
class Row:
    """One way to have photos answered. Without ``big`` it is spared big photos."""

    name: str
    work: str
    answer: Callable[[Photo], object]
    process: psutil.Process
    clients: int = 1
    big: bool = True
    _seconds: dict[str, list[float]] = field(default_factory=dict)
    _cpu: dict[str, list[float]] = field(default_factory=dict)
    _wall: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, kind: str, photos: Sequence[Photo]) -> None:
        """Have all photos answered, each as often as any other."""
        if kind == "big" and not self.big:
            return
        times = math.ceil(max(_FEWEST, _A_CLIENT * self.clients) / len(photos))
        asked = [*photos] * times
        with ThreadPoolExecutor(self.clients) as pool:
            before, start = cpu_seconds(self.process), time.perf_counter()
            seconds = list(pool.map(self._timed, asked))
            self._wall.setdefault(kind, []).append((time.perf_counter() - start) / len(asked))
            self._cpu.setdefault(kind, []).append((cpu_seconds(self.process) - before) / len(asked))
        self._seconds.setdefault(kind, []).extend(seconds)

    def cost(self, kind: str) -> Cost | None:
        """Medians of the rounds; None where it was not measured."""
        if kind not in self._cpu:
            return None
        p50, p95 = np.percentile(self._seconds[kind], (50, 95))
        return Cost(float(p50), float(p95), statistics.median(self._cpu[kind]), 1 / statistics.median(self._wall[kind]))

    def _timed(self, photo: Photo) -> float:
        start = time.perf_counter()
        self.answer(photo)
        return time.perf_counter() - start


class Child:
    """A process that answers photos, see ``child``."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.process = psutil.Process(popen.pid)
        self._popen = popen
        self.ways = self._said().split()

    def asker(self, way: str) -> Callable[[Photo], None]:
        """What has it answer a photo this way."""

        def ask(photo: Photo) -> None:
            assert self._popen.stdin is not None
            self._popen.stdin.write(f"{way}\t{photo.path}\n")
            self._popen.stdin.flush()
            self._said()

        return ask

    def _said(self) -> str:
        assert self._popen.stdout is not None
        if not (line := self._popen.stdout.readline()):
            raise SystemExit(f"{' '.join(map(str, self._popen.args))} has ended")  # type: ignore[arg-type]
        return line


@contextmanager
def child(*command: str) -> Iterator[Child]:
    """The process, ready; stopped at the end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        try:
            yield Child(popen)
        finally:
            popen.kill()


@dataclass(slots=True)
class Memory:
    """MB resident of a process: when it was ready, at most, and at the end."""

    ready: float
    peak: float
    end: float


@contextmanager
def watched(processes: Mapping[str, psutil.Process]) -> Iterator[Mapping[str, Memory]]:
    """Look ten times a second at what is resident of each, from now to the end of the block."""
    seen = {name: Memory(now, now, now) for name, now in ((name, megabytes(one)) for name, one in processes.items())}
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.1):
            for name, process in processes.items():
                seen[name].end = megabytes(process)
                seen[name].peak = max(seen[name].peak, seen[name].end)

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    try:
        yield seen
    finally:
        stop.set()
        looker.join()
