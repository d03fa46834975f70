"""How much a running service can bear: answer times and throughput under concurrent requests."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from embedding_calculator.client import ServiceError
from embedding_calculator.evaluation import plots
from embedding_calculator.evaluation.detection import Doubles
from embedding_calculator.evaluation.report import Report, Section, Table
from embedding_calculator.evaluation.usage import Usage

_NO_FACE = "No face is found"
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """What came of one concurrency: ``milliseconds`` ``(N,)`` of every good answer, ``seconds`` it took in all.

    ``errors`` counts everything else by what it was. ``usage`` is the server's, where it runs on this machine.
    """

    concurrency: int
    seconds: float
    milliseconds: Doubles
    errors: Counter[str]
    usage: Usage | None

    @property
    def throughput(self) -> float:
        """Good answers a second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, percent: float) -> float:
        """The milliseconds within which so many percent of the good answers came; NaN where there are none."""
        return float(np.percentile(self.milliseconds, percent)) if len(self.milliseconds) else float("nan")

    def summary(self) -> dict[str, Any]:
        """Everything in numbers, for programs."""
        return {
            "concurrency": self.concurrency,
            "seconds": self.seconds,
            "answers": len(self.milliseconds),
            "throughput": self.throughput,
            **{f"p{percent}_ms": self.percentile(percent) for percent in (50, 95, 99)},
            "longest_ms": self.percentile(100),
            "errors": dict(self.errors),
            "server_processors": self.usage and self.usage.processors,
            "server_memory_bytes": self.usage and self.usage.memory,
        }


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body and its type, made once: the load is the server's to bear, not ours."""

    content: bytes
    kind: str


def bodies(endpoint: str, photos: Sequence[bytes], plugins: str | None) -> list[Body]:
    """What to send to ``/find_faces``, ``/scan_faces`` or ``/find_faces_base64``; ``plugins`` is ``face_plugins``."""
    fields = {} if plugins is None else {"face_plugins": plugins}
    made = []
    for photo in photos:
        if endpoint.rstrip("/").endswith("base64"):
            request = httpx.Request("POST", endpoint, json={"file": base64.b64encode(photo).decode(), **fields})
        else:
            request = httpx.Request("POST", endpoint, data=fields, files={"file": ("photo.jpg", photo)})
        made.append(Body(request.read(), request.headers["content-type"]))
    return made


def check(endpoint: str, requests: Sequence[Body]) -> None:
    """Send each once, so that what is measured is known to work, and is warm.

    Raises:
        ServiceError: nobody answers there, or not as the contract has it, or a photo is refused.
    """
    with httpx.Client(timeout=_PATIENCE) as client:
        for body in requests:
            try:
                response = client.post(endpoint, content=body.content, headers={"content-type": body.kind})
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ServiceError(f"no service answers at {endpoint}: {error}") from error
            if not (_good(response) and (response.is_client_error or b'"result"' in response.content)):
                told = f"{response.status_code}: {response.text[:200].strip()}"
                raise ServiceError(f"{endpoint} is not a service that finds faces in these photos; it says {told}")


def press(
    endpoint: str, requests: Sequence[Body], concurrency: int, duration: float, stop_usage: Callable[[], Usage | None]
) -> Load:
    """Keep ``concurrency`` requests under way for ``duration`` seconds, the photos in turn.

    A request under way at the end is waited for and counts. ``stop_usage`` is called as soon as the last answer is in.
    """
    return asyncio.run(_press(endpoint, requests, concurrency, duration, stop_usage))


def write_report(loads: Sequence[Load], folder: Path, asked: Sequence[tuple[str, str]]) -> Path:
    """Draw the histogram and write ``report.html`` into the folder; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    best = max(loads, key=lambda load: load.throughput)
    times = {f"{load.concurrency} at once": load.milliseconds for load in loads}
    failed = sum(load.errors.total() for load in loads)
    report = Report(
        title="Load",
        lead=f"Photos were sent as fast as answers came, {', '.join(str(load.concurrency) for load in loads)} at once.",
        facts=[
            (f"{best.throughput:.1f}", f"answers a second, {best.concurrency} at once"),
            (f"{best.percentile(50):.0f} ms", "half of them within"),
            (f"{best.percentile(99):.0f} ms", "99 % of them within"),
            (str(failed), "errors in all"),
        ],
        sections=[
            Section("All loads", table=table(loads)),
            Section(
                "Answer times",
                "The share of the answers that took so long; the slowest half percent are left out here.",
                plots.save(plots.latencies(times), folder, "answer-times"),
            ),
        ],
        asked=asked,
    )
    path = folder / "report.html"
    report.write(path)
    return path


def table(loads: Sequence[Load]) -> Table:
    """The loads as text; processors and memory only where they are known."""
    header = ["at once", "answers", "per second", "p50 ms", "p95 ms", "p99 ms", "max ms", "errors"]
    watched = any(load.usage for load in loads)
    return Table(header + ["CPUs", "memory"] * watched, [_row(load, watched=watched) for load in loads])


def _row(load: Load, *, watched: bool) -> list[str]:
    cells = [
        str(load.concurrency),
        str(len(load.milliseconds)),
        f"{load.throughput:.1f}",
        *(f"{load.percentile(percent):.0f}" for percent in (50, 95, 99, 100)),
        str(load.errors.total()),
    ]
    if usage := load.usage:
        return [*cells, f"{usage.processors:.2f}", f"{usage.memory / 2**20:.0f} MiB"]
    return cells + ["", ""] * watched


async def _press(
    endpoint: str, requests: Sequence[Body], concurrency: int, duration: float, stop_usage: Callable[[], Usage | None]
) -> Load:
    times: list[float] = []
    errors: Counter[str] = Counter()
    turn = itertools.cycle(requests)
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(limits=limits, timeout=_PATIENCE) as client:
        start = time.perf_counter()

        async def keep_asking() -> None:
            while time.perf_counter() - start < duration:
                body = next(turn)
                began = time.perf_counter()
                try:
                    response = await client.post(endpoint, content=body.content, headers={"content-type": body.kind})
                except httpx.HTTPError as error:
                    errors[type(error).__name__] += 1
                    # A server that is gone refuses at once; asking it without a pause would be all we do.
                    await asyncio.sleep(0.05)
                    continue
                if _good(response):
                    times.append((time.perf_counter() - began) * 1000)
                else:
                    errors[f"HTTP {response.status_code}"] += 1

        await asyncio.gather(*(keep_asking() for _ in range(concurrency)))
        seconds = time.perf_counter() - start
    return Load(concurrency, seconds, np.array(times), errors, stop_usage())


def _good(response: httpx.Response) -> bool:
    """That a photo shows no face is an answer like any other."""
    return response.is_success or (response.status_code == 400 and _NO_FACE in response.text)
