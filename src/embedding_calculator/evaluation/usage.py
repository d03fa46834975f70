"""What a server on this machine takes of it while it is asked: processors and memory."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from psutil import Process

_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class Usage:
    """``processors``: how many were busy on average. ``memory``: the most bytes that were resident at once."""

    processors: float
    memory: int


def server_of(url: str) -> list[Process]:
    """The processes that listen where the URL points, and their children.

    None where that is another machine's, or where psutil, of the extra ``tools``, is not installed: what a service can
    bear is told without it.
    """
    try:
        import psutil
    except ModuleNotFoundError:
        return []
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not _is_here(parts.hostname or "", (each.address for nic in psutil.net_if_addrs().values() for each in nic)):
        return []
    processes: dict[int, Process] = {}
    for process in psutil.process_iter():
        try:
            sockets = process.net_connections("tcp")
            if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets):
                processes |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except psutil.Error:
            continue  # Gone meanwhile, or somebody else's.
    return list(processes.values())


def watch(processes: Iterable[Process]) -> Callable[[], Usage | None]:
    """Begin to watch; what is returned ends it, and tells. None where there is nothing to watch."""
    watched = list(processes)
    if not watched:
        return lambda: None
    import psutil

    stop = threading.Event()
    peak = 0

    def busy_seconds() -> float:
        total = 0.0
        for process in watched:
            try:
                times = process.cpu_times()
                total += times.user + times.system
            except psutil.Error:
                continue
        return total

    def resident() -> int:
        total = 0
        for process in watched:
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        return total

    def look() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident())
            if stop.wait(_PAUSE):
                return

    began, busy = time.perf_counter(), busy_seconds()
    looker = threading.Thread(target=look, daemon=True)
    looker.start()

    def end() -> Usage:
        seconds = time.perf_counter() - began
        spent = busy_seconds() - busy
        stop.set()
        looker.join()
        return Usage(spent / seconds, peak)

    return end


def _is_here(host: str, own: Iterable[str]) -> bool:
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(address.startswith("127.") or address == "::1" for address in addresses) or bool(addresses & set(own))
