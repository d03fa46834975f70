"""The service as ``make run`` starts it, and clients that cost next to nothing."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit

import httpx
import psutil

from embedding_calculator.evaluation.load import Body, bodies


@contextmanager
def service() -> Iterator[tuple[str, psutil.Process]]:
    """Its address and its process, ready, on a free port; stopped at the end."""
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
    """What is resident of it."""
    return float(process.memory_info().rss) / 2**20


def cpu_seconds(process: psutil.Process) -> float:
    """What it has had of all processors together."""
    times = process.cpu_times()
    return float(times.user + times.system)


class Client:
    """Asks for these plugins, over one connection a thread, with bodies made beforehand.

    Its own time is the service's neighbour on the same processors, so there is as little of it as can be.
    """

    def __init__(self, url: str, plugins: str) -> None:
        self._connections = threading.local()
        self._address = urlsplit(url).netloc
        self._body = cache(lambda photo: _body(photo, plugins))

    def __call__(self, photo: bytes) -> None:
        """Ask and wait for the answer.

        Raises:
            RuntimeError: it is neither faces nor that there is none.
        """
        if not hasattr(self._connections, "kept"):
            self._connections.kept = http.client.HTTPConnection(self._address, timeout=120)
        connection: http.client.HTTPConnection = self._connections.kept
        try:
            status, answer = self._ask(connection, photo)
        except ConnectionError:  # Nobody used it for seconds, so the service has closed it.
            connection.close()
            status, answer = self._ask(connection, photo)
        if status != 200 and b"No face is found" not in answer:
            raise RuntimeError(f"{status}: {answer.decode()[:200]}")

    def _ask(self, connection: http.client.HTTPConnection, photo: bytes) -> tuple[int, bytes]:
        body = self._body(photo)
        connection.request("POST", "/find_faces", body.content, {"content-type": body.kind})
        response = connection.getresponse()
        return response.status, response.read()


def _body(photo: bytes, plugins: str) -> Body:
    return bodies("http://service/find_faces", [photo], plugins)[0]
