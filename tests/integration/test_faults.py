"""What happens around a service: its model files change, the clock jumps, file descriptors run out."""

from __future__ import annotations

import io
import resource
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image
from skimage.data import astronaut

from conftest import run_service
from embedding_calculator.engine.assembly import configured_entries
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.store import Store
from embedding_calculator.settings import Settings
from fakes import fake_choices
from serving import Gate, serving, wait_for

pytestmark = pytest.mark.integration

SMALL = {"EXTRA_PLUGINS": " ", "UWSGI_THREADS": "1"}


@pytest.fixture(scope="module")
def photo() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(astronaut()).save(stream, "JPEG")  # type: ignore[no-untyped-call]
    return stream.getvalue()


def ask(client: httpx.Client, photo: bytes) -> Any:
    response = client.post("/find_faces?face_plugins=calculator", files={"file": ("a.jpg", photo)})
    assert response.status_code == 200, response.text
    (face,) = response.json()["result"]
    return face["box"], face["embedding"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A store of this test's own, with what ``SMALL`` needs."""
    settings = Settings(extra_plugins=())
    store = Store(settings.models_dir)
    for entry in configured_entries(settings, Catalog.load(settings.model_catalog)):
        for file in entry.files:
            folder = store.path(entry, file).parent
            shutil.copytree(folder, tmp_path / folder.relative_to(store.root))
    return tmp_path


@pytest.mark.parametrize("change", ["overwritten", "emptied", "deleted"])
def test_a_model_file_that_changes_is_told_at_the_next_start_and_not_before(
    photo: bytes, models: Path, change: str
) -> None:
    environment = {**SMALL, "MODELS_DIR": str(models)}
    with run_service(**environment) as url, httpx.Client(base_url=url, timeout=60) as client:
        before = ask(client, photo)
        for network in list(models.rglob("network.onnx")):
            if change == "overwritten":
                network.write_bytes(bytes(network.stat().st_size))
            elif change == "emptied":
                network.write_bytes(b"")
            else:
                shutil.rmtree(network.parent)
        # A running service has read its models and does not look at the files again.
        assert ask(client, photo) == before
        assert client.get("/readyz").status_code == 200
    told = r"error: models are not ready in .*Fetch them: embedding-calculator models pull yunet_2023mar sface_2021dec"
    with pytest.raises(AssertionError, match=told), run_service(**environment):
        pass


@pytest.mark.parametrize("years", [-10, 10])
def test_when_the_clock_is_set_no_request_expires_and_no_client_is_slow(
    photo: bytes, years: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    with (
        serving(fake_choices(gate), request_timeout=30, client_timeout=30, uwsgi_threads=1) as (url, service),
        httpx.Client(base_url=url, timeout=60) as client,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60) as dawdler,
    ):
        dawdler.sendall(b"GET /livez HTTP/1.1\r\n")

        def wait_then_set() -> None:
            wait_for(lambda: service.admission.running == 1 and service.admission.waiting == 1)
            now = time.time_ns() / 1e9
            monkeypatch.setattr(time, "time", lambda: now + years * 366 * 86400)
            gate.open.set()

        with ThreadPoolExecutor(3) as pool:
            setting = pool.submit(wait_then_set)
            send = partial(client.post, "/find_faces?face_plugins=age", files={"file": ("a.jpg", photo)})
            answers = [pool.submit(send) for _ in range(2)]
            setting.result()
            for answer in answers:
                assert answer.result().status_code == 200
                timing = answer.result().headers["server-timing"]
                assert all(0 <= float(part.partition("dur=")[2]) < 60_000 for part in timing.split(", "))
        dawdler.sendall(b"Host: x\r\n\r\n")
        assert dawdler.recv(1000).startswith(b"HTTP/1.1 200")
        assert client.get("/livez").status_code == 200


@contextmanager
def few_files(limit: int) -> Iterator[None]:
    """Processes started meanwhile may have so many file descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("most", ["", "1000"])
def test_without_file_descriptors_it_serves_those_it_has_and_recovers(photo: bytes, most: str) -> None:
    with ExitStack() as stack:
        with few_files(200):
            url = stack.enter_context(run_service(**SMALL, MAX_CONNECTIONS=most))
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        early = stack.enter_context(httpx.Client(base_url=url, timeout=60))
        before = ask(early, photo)
        with ExitStack() as crowd:
            for _ in range(300):
                crowd.enter_context(socket.create_connection(address, timeout=60))
            for _ in range(3):
                assert ask(early, photo) == before

        def recovered() -> bool:
            try:
                return httpx.get(url + "/readyz", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(recovered)
        with httpx.Client(base_url=url, timeout=60) as late:
            assert ask(late, photo) == before


def test_readiness_shows_a_dead_worker_until_it_is_replaced() -> None:
    with run_service(**SMALL, UWSGI_PROCESSES="2") as url:

        def workers() -> Any:
            try:
                response = httpx.get(url + "/readyz", timeout=5)
            except httpx.TransportError:  # It was the dead one's to answer.
                return None
            assert response.status_code == 200
            return response.json()["workers"]

        def killable() -> list[psutil.Process]:
            here = psutil.Process().children(recursive=True)
            return [process for process in here if "spawn_main" in " ".join(process.cmdline())]

        both = {"alive": 2, "expected": 2}
        wait_for(lambda: workers() == both)
        killable()[0].kill()
        wait_for(lambda: workers() == {"alive": 1, "expected": 2})
        wait_for(lambda: workers() == both)
