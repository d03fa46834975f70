"""Where a request's time goes: one stopwatch a request, read by the answer's header and by the metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from embedding_calculator.imaging.picture import Picture, Raster


class Stopwatch:
    """Seconds by stage, in the order in which stages began to cost something. Used by one thread at a time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.pixels = 0
        """Pixels decoded."""
        self.faces = 0
        """Faces described."""

    def add(self, stage: str, seconds: float) -> None:
        """More of a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + max(seconds, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens inside belongs to ``name``, except what other stages claim of it meanwhile."""
        start, claimed = time.perf_counter(), sum(self.seconds.values())
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start - (sum(self.seconds.values()) - claimed))


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
