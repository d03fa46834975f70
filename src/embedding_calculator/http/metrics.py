"""What Prometheus reads: counted where it happens, summed over the worker processes when it is asked for."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from embedding_calculator.engine.admission import Admission
from embedding_calculator.engine.choices import Choices
from embedding_calculator.engine.timing import Stopwatch

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Where several workers keep their counts; prometheus-client reads this variable when it is imported."""

_PREFIX = "embedding_calculator"
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """One set for each application; nothing is registered for the whole process."""

    def __init__(self, admission: Admission, choices: Choices) -> None:
        self._admission = admission
        directory = os.environ.get(DIRECTORY)
        self._directory = Path(directory) if directory else None
        self._registry = registry = CollectorRegistry()

        def gauge(name: str, what: str, labels: tuple[str, ...] = (), mode: str = "livesum") -> Gauge:
            return Gauge(f"{_PREFIX}_{name}", what, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        def counter(name: str, what: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"{_PREFIX}_{name}", what, labels, registry=registry)

        self._requests = counter("requests", "Answers.", ("path", "status"))
        self._request_seconds = Histogram(
            f"{_PREFIX}_request_seconds",
            "From a request's headers to the end of its answer.",
            ("path",),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            f"{_PREFIX}_stage_seconds",
            "What photos spent where: queue, memory, decode, detector, plugins by their slug ...",
            ("stage",),
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self._refused = counter("refused", "Requests refused with 503.", ("reason",))
        self._abandoned = counter("abandoned", "Requests whose client left before the answer.")
        self._faces = counter("faces", "Faces described.")
        self._pixels = counter("decoded_pixels", "Pixels decoded.")
        self._queue = gauge("queue_depth", "Photos waiting for a thread.")
        self._running = gauge("running", "Photos being computed.")
        self._bytes = gauge("bytes_in_flight", "Bytes of uploads in memory.")
        self._declared = gauge("pixels_in_flight", "Declared pixels, of 8 bytes each, of the pictures being decoded.")
        self._memory = gauge("resident_memory_bytes", "Memory of the worker processes.")
        gauge("workers", "Worker processes alive.").set(1)
        gauge("threads", "Photos that can be computed at once.").set(admission.threads)
        gauge("queue_limit", "Photos that may wait.").set(admission.queue_limit)
        gauge("bytes_limit", "Most bytes of uploads.").set(admission.bytes.capacity)
        gauge("pixels_limit", "Most pixels in flight.").set(admission.pixels.capacity)
        plugins = gauge("plugin", "What is configured.", ("slug", "plugin"), "livemax")
        for slug, plugin in choices.named().versions.items():
            plugins.labels(slug, plugin).set(1)
        networks = gauge("network_loaded", "Networks opened, and on what.", ("model", "network", "provider"), "livemax")
        for model, keys in choices.running.items():
            for key, running in keys.items():
                networks.labels(model, key, f"{running.engine} {running.device} {running.precision}").set(1)

    def answered(self, path: str, status: int | None, seconds: float) -> None:
        """A request is over; ``status`` is None where the client left first."""
        if status is None:
            self._abandoned.inc()
        else:
            self._requests.labels(path, status).inc()
            self._request_seconds.labels(path).observe(seconds)
        if self._directory:  # Another process may be asked; alone, it is enough to look when asked.
            self._update()

    def computed(self, stopwatch: Stopwatch) -> None:
        """A photo is done with, well or not."""
        for stage, seconds in stopwatch.seconds.items():
            self._stage_seconds.labels(stage).observe(seconds)
        self._faces.inc(stopwatch.faces)
        self._pixels.inc(stopwatch.pixels)

    def refused(self, reason: str) -> None:
        """A request was sent away."""
        self._refused.labels(reason).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format 0.0.4."""
        self._update()
        if not self._directory:
            return generate_latest(self._registry)
        _forget_the_dead(self._directory)
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._directory))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def workers(self) -> int | None:
        """How many worker processes are alive and have opened their models; None where there is just this one."""
        if not self._directory:
            return None
        _forget_the_dead(self._directory)
        return len(list(self._directory.glob("gauge_livesum_*.db")))

    def _update(self) -> None:
        self._queue.set(self._admission.waiting)
        self._running.set(self._admission.running)
        self._bytes.set(self._admission.bytes.in_use)
        self._declared.set(self._admission.pixels.in_use)
        self._memory.set(_resident_bytes())


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # Not Linux.
        return 0


def _forget_the_dead(directory: Path) -> None:
    """What a killed worker held it holds no more; what it counted still counts."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in directory.glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
        except PermissionError:  # It lives, as another user.
            continue
