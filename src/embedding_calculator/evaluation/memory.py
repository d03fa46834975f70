"""How little memory the service can do with: it is started under limits, and asked."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import httpx

from embedding_calculator.client import ServiceClient, ServiceError
from embedding_calculator.errors import InputError, ParameterError

_PATIENCE = 120.0
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Trial:
    """One photo, at one IMG_LENGTH_LIMIT, under one limit in bytes; ``reason`` tells why it failed, if it did."""

    photo: str
    length: int
    limit: int
    reason: str | None

    @property
    def line(self) -> str:
        """As the original's script told it."""
        verdict = "[   OK   ]" if self.reason is None else "[  FAIL  ]"
        why = f": {self.reason}" if self.reason else ""
        return f"{verdict} {shown(self.limit)}, IMG_LENGTH_LIMIT={self.length}, {self.photo}{why}"


def read_size(text: str) -> int:
    """Bytes of ``512m``, ``1.5g`` or plain ``1000000``; k, m and g are 1024, 1024² and 1024³, as Docker has it.

    Raises:
        ParameterError: it is no such size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)b?", text.strip().lower())
    if not found or not float(found[1]):
        raise ParameterError(f"{text!r} is not a size such as 512m or 1.5g")
    return int(float(found[1]) * _UNITS[found[2]])


def shown(size: int) -> str:
    """A size as people write it: ``512m``, ``1.5g``."""
    unit = next((unit for unit in "gmk" if size >= _UNITS[unit]), "")
    return f"{round(size / _UNITS[unit], 2):g}{unit}"


def find_cgroup(own: Path = Path("/proc/self/cgroup"), mount: Path = _CGROUPS) -> Path | None:
    """A folder of cgroup v2 in which this user may make groups with a limit of memory; None where there is none.

    That is this process's own group, or the one around it, where memory is handed down to its children.
    """
    try:
        place = next(line[3:].strip("/\n") for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    for folder in dict.fromkeys((mount / place, (mount / place).parent if place else mount)):
        with contextlib.suppress(OSError):
            if "memory" in (folder / "cgroup.subtree_control").read_text().split() and os.access(folder, os.W_OK):
                return folder
    return None


@contextlib.contextmanager
def confined(command: Sequence[str], limit: int, cgroup: Path | None) -> Iterator[list[str]]:
    """The command as it is to be started so that it has no more memory than ``limit`` bytes.

    In a group of its own below ``cgroup``, which counts what is resident and allows no swapping; else by
    RLIMIT_AS, which counts every address that is reserved, used or not.
    """
    if cgroup is None:
        yield ["sh", "-c", 'ulimit -v "$0" && exec "$@"', str(limit // 1024), *command]
        return
    group = cgroup / f"embedding-calculator-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.max").write_text(str(limit))
        with contextlib.suppress(OSError):  # A kernel without swap accounting has no such file.
            (group / "memory.swap.max").write_text("0")
        yield ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), *command]
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def try_all(
    photos: Mapping[str, bytes], limits: Sequence[int], lengths: Sequence[int], cgroup: Path | None
) -> Iterator[Trial]:
    """Every photo at every length under every limit; after a failure the service is started anew."""
    for length, limit in itertools.product(lengths, limits):
        server = _Server(length, limit, cgroup)
        try:
            for name, photo in photos.items():
                yield Trial(name, length, limit, server.ask(photo))
        finally:
            server.stop()


def smallest(trials: Sequence[Trial]) -> dict[int, int | None]:
    """For every length the smallest limit under which all photos were answered; None if there is no such limit."""
    found: dict[int, int | None] = {}
    for length in dict.fromkeys(trial.length for trial in trials):
        here = [trial for trial in trials if trial.length == length]
        failed = {trial.limit for trial in here if trial.reason is not None}
        found[length] = min({trial.limit for trial in here} - failed, default=None)
    return found


class _Server:
    """The service under a limit; started when it is first asked, and again after it failed."""

    def __init__(self, length: int, limit: int, cgroup: Path | None) -> None:
        self._length, self._limit, self._cgroup = length, limit, cgroup
        self._running = contextlib.ExitStack()
        self._client: ServiceClient | None = None
        self._broken: str | None = None

    def ask(self, photo: bytes) -> str | None:
        """Everything configured about every face of the photo; the reason if there is no answer."""
        if self._broken:
            return self._broken
        try:
            client = self._client or self._start()
            client.find_faces(photo, plugins=client.plugins)
        except InputError as error:
            return str(error)
        except ServiceError as error:
            self.stop()
            return str(error)
        return None

    def stop(self) -> None:
        """End it, if it runs."""
        self._running.close()
        self._client = None

    def _start(self) -> ServiceClient:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        variables = os.environ | {
            "ML_HOST": "127.0.0.1",
            "ML_PORT": str(port),
            "IMG_LENGTH_LIMIT": str(self._length),
        }
        serve = [sys.executable, "-m", "embedding_calculator", "serve"]
        command = self._running.enter_context(confined(serve, self._limit, self._cgroup))
        log = self._running.enter_context(TemporaryFile())  # noqa: SIM115 -- the stack closes it
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        self._running.callback(_end, process)
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/healthcheck", timeout=_PATIENCE).is_success:
                    self._client = ServiceClient(f"http://127.0.0.1:{port}", timeout=_PATIENCE)
                    self._running.callback(self._client.close)
                    return self._client
            time.sleep(0.1)
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
        status = f"exit status {process.returncode}" if process.poll() is not None else "no answer"
        # It will not start for the next photo either.
        self._broken = f"the service does not start ({status}){': ' + lines[-1][:200] if lines else ''}"
        raise ServiceError(self._broken)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
