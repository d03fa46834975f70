"""Where a request's time goes: one stopwatch a request, read by the answer's header, the metrics and the trace."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from embedding_calculator.imaging.picture import Picture, Raster


@dataclass(frozen=True, slots=True)
class Lap:
    """Once through a stage. ``start`` and ``end`` are seconds of ``time.perf_counter``.

    ``seconds`` of them are the stage's own: what other stages did meanwhile is left out.
    """

    stage: str
    start: float
    end: float
    seconds: float


class Stopwatch:
    """The laps of one request, in the order in which they ended. Written by one thread at a time."""

    def __init__(self) -> None:
        self.laps: list[Lap] = []
        self.pixels = 0
        """Pixels decoded."""
        self.faces = 0
        """Faces described."""
        self.plugins: Mapping[str, str] = {}
        """Stages that are a plugin's, and the plugin string of each."""
        self._claimed = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage, each second counted once; another thread may go on adding meanwhile."""
        sums: dict[str, float] = {}
        for lap in self.laps.copy():
            sums[lap.stage] = sums.get(lap.stage, 0.0) + lap.seconds
        return sums

    def add(self, stage: str, start: float, end: float, claimed: float = 0.0) -> None:
        """A lap of a stage, of which other stages have ``claimed`` some seconds."""
        seconds = max(end - start - claimed, 0.0)
        self.laps.append(Lap(stage, start, end, seconds))
        self._claimed += seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens inside belongs to ``name``, except what other stages claim of it meanwhile."""
        start, claimed = time.perf_counter(), self._claimed
        try:
            yield
        finally:
            self.add(name, start, time.perf_counter(), self._claimed - claimed)


class MeasuredPicture:
    """A picture whose decoding is a stage of its own, although it happens in the middle of others."""

    def __init__(self, picture: Picture, stopwatch: Stopwatch) -> None:
        self._picture = picture
        self._stopwatch = stopwatch
        self._last: Raster | None = None

    @property
    def width(self) -> int:
        """See ``Picture``."""
        return self._picture.width

    @property
    def height(self) -> int:
        """See ``Picture``."""
        return self._picture.height

    def raster(self, scale: float) -> Raster:
        """See ``Picture.raster``."""
        with self._stopwatch.stage("decode"):
            raster = self._picture.raster(scale)
        if raster is not self._last:
            height, width = raster.pixels.shape[:2]
            self._stopwatch.pixels += height * width
            self._last = raster
        return raster
