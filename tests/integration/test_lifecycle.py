"""How a real service stops, loses a worker, and bears clients that leave, overload it or dawdle."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

import httpx
import psutil
import pytest
import trustme
from PIL import Image
from skimage.data import astronaut

from conftest import wait_until_ready

pytestmark = pytest.mark.integration

SMALL = {"EXTRA_PLUGINS": " ", "UWSGI_THREADS": "1"}


@contextmanager
def started(
    *arguments: str, scheme: str = "http", told: str = "", **environment: str
) -> Iterator[tuple[str, psutil.Process]]:
    """The command ``serve`` on a free port, and its process; what it logs is written into the file ``told``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {**os.environ, **SMALL, "ML_PORT": str(port), "ML_HOST": "127.0.0.1", **environment}
    url = f"{scheme}://127.0.0.1:{port}"
    with Path(told).open("w+b") if told else TemporaryFile() as log:
        command = [sys.executable, "-m", "embedding_calculator", "serve", *arguments]
        process = subprocess.Popen(command, env=variables, stderr=log)
        try:
            if scheme == "http":
                wait_until_ready(url, process, log)
            yield url, psutil.Process(process.pid)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_log_tells_once_where_it_listens_and_that_it_stopped(processes: str, tmp_path: Path) -> None:
    with started(told=str(tmp_path / "log"), UWSGI_PROCESSES=processes) as (url, process):
        httpx.get(url + "/nowhere")
        process.terminate()
        process.wait(30)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert all(list(line)[:3] == ["timestamp", "severity", "message"] for line in lines)
    messages = [line["message"] for line in lines if line["message"] != "models are open and warm"]
    assert sorted(messages) == [f"listening on {url}", "request", "stopped"]
    assert len(lines) == 3 + int(processes)
    assert {line["module"] for line in lines if line["message"] == "request"} == {"shell"}


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A face that takes a while: decoding a large PNG cannot be cut short."""
    return encoded((3000, 3000))


def encoded(size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(astronaut()).resize(size).save(stream, "PNG", compress_level=1)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def ask(url: str, photo: bytes) -> int:
    """The status; 0 if the connection broke."""
    try:
        return httpx.post(url + "/find_faces", files={"file": ("a.png", photo)}, timeout=60).status_code
    except httpx.TransportError:
        return 0


def metric(url: str, name: str) -> float:
    lines = httpx.get(url + "/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split(" ")[0] == f"embedding_calculator_{name}")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_told_to_stop_it_finishes_what_it_has_accepted(photo: bytes) -> None:
    with started() as (url, process), ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(ask, url, photo) for _ in range(6)]
        wait_for(lambda: metric(url, "running") + metric(url, "queue_depth") == 6)
        process.terminate()
        assert [answer.result() for answer in answers] == [200] * 6
        process.wait(30)
        assert ask(url, photo) == 0


def test_after_its_grace_period_it_stops_all_the_same() -> None:
    with started(GRACE_PERIOD="1", CLIENT_TIMEOUT="60") as (url, process), dawdler(url) as client:
        wait_for(lambda: metric(url, "bytes_in_flight") > 0)
        process.terminate()
        process.wait(30)
        assert b"503" in client.recv(1000).partition(b"\r\n")[0]


def test_a_killed_worker_is_replaced_and_the_others_go_on() -> None:
    small = encoded((300, 300))
    with started(UWSGI_PROCESSES="2") as (url, process), ThreadPoolExecutor(4) as pool:

        def workers() -> set[int]:
            return {child.pid for child in process.children() if is_worker(child)}

        wait_for(lambda: metric(url, "workers") == 2)
        before = workers()
        answers = [pool.submit(ask, url, small) for _ in range(20)]
        wait_for(lambda: metric(url, "faces_total") > 0)
        os.kill(min(before), signal.SIGKILL)
        # What the killed one had in hand is lost, and only that; nobody is told that it was the photo's fault.
        seen = Counter(answer.result() for answer in answers)
        assert set(seen) <= {0, 200}
        assert seen[200] > 10
        wait_for(lambda: len(workers()) == 2 and metric(url, "workers") == 2)
        assert max(before) in workers()
        assert min(before) not in workers()
        assert ask(url, small) == 200
        assert metric(url, "faces_total") >= seen[200]  # Counts of the dead still count.


def is_worker(child: psutil.Process) -> bool:
    """Whether it is one that lives: a killed one has no command line until its parent has looked after it."""
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:
        return False


def test_overload_is_refused_and_what_was_accepted_is_answered(photo: bytes) -> None:
    with started(QUEUE_LIMIT="3") as (url, _), ThreadPoolExecutor(20) as pool:
        seen = Counter(pool.map(lambda _: ask(url, photo), range(20)))
        assert set(seen) == {200, 503}
        assert seen[200] >= 4
        assert ask(url, photo) == 200
        assert metric(url, "queue_depth") == metric(url, "bytes_in_flight") == metric(url, "pixels_in_flight") == 0


def test_memory_is_bounded_by_the_pixels_in_flight() -> None:
    large = encoded((4000, 4000))
    limits = {"UWSGI_THREADS": "4", "MAX_PIXELS_IN_FLIGHT": "20000000"}
    with started(**limits) as (url, process), ThreadPoolExecutor(4) as pool:
        assert ask(url, large) == 200
        alone = high_water(process)
        assert set(pool.map(lambda _: ask(url, large), range(8))) == {200}
        # More uploads are there at once, but not more pixels: the three others would take 112 MB each.
        assert high_water(process) - alone < 300 * 2**20


def high_water(process: psutil.Process) -> int:
    """Bytes; the most memory that the process has ever held."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def dawdler(url: str) -> Iterator[socket.socket]:
    """A client that has begun a request and does not go on."""
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as client:
        client.sendall(
            b"POST /find_faces HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        yield client


def test_clients_that_leave_cost_nothing_and_slow_ones_are_dropped(photo: bytes) -> None:
    with started(CLIENT_TIMEOUT="1") as (url, _):
        for _ in range(6):
            with suppress(httpx.TransportError):
                httpx.post(url + "/find_faces", files={"file": ("a", photo)}, timeout=httpx.Timeout(60, read=0.01))
        with dawdler(url) as client:
            assert client.recv(1000).startswith(b"HTTP/1.1 408")
        wait_for(lambda: metric(url, "running") == metric(url, "queue_depth") == 0)
        assert metric(url, "faces_total") < 6
        assert ask(url, photo) == 200


def test_it_serves_https_by_its_own_flags(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with started("--tls-cert", str(chain), "--tls-key", str(key), scheme="https") as (url, _):

        def answers() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(url + "/readyz", verify=context).status_code == 200
            return False

        wait_for(answers)
