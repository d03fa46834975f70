"""What tests share: evaluation photos, if they are here, and models from the store that ``make test`` fills."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import httpx
import hypothesis
import pytest

from embedding_calculator.errors import ModelError
from embedding_calculator.library import FaceAnalyzer
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.runtime import Model
from embedding_calculator.models.sources import Sources
from embedding_calculator.models.store import Store
from embedding_calculator.settings import Settings

# A shared machine may be slow at any moment; how long an example takes is not what is tested.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Photos with known answers and authentic weights; they lie beside the repository and are not part of it."""
    folder = Path(os.environ.get("EC_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip("needs ../shared: photos and weights for evaluation, which are not part of the project")
    return folder


@pytest.fixture(scope="session")
def load_model() -> Callable[[str], Model]:
    """Opens the default model of a plugin; fetches it first where that is needed and possible."""
    settings = Settings()
    catalog, store = Catalog.load(), Store(settings.models_dir)

    def load(plugin: str) -> Model:
        entry = catalog.find(plugin)
        try:
            store.pull([entry], Sources(settings.models_source))
        except ModelError as error:
            pytest.skip(str(error))
        return store.open(entry)

    return load


@pytest.fixture(scope="session")
def analyzer() -> FaceAnalyzer:
    """The default set, in this process."""
    return FaceAnalyzer()


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The URL of a running service with the default set, started as a user starts it."""
    with run_service() as url:
        yield url


@contextmanager
def run_service(**environment: str) -> Iterator[str]:
    """``with run_service(NAME=value) as url``: the command ``serve`` on a free port, with these variables."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {**os.environ, "ML_PORT": str(port), "ML_HOST": "127.0.0.1", **environment}
    with TemporaryFile() as log:
        command = [sys.executable, "-m", "embedding_calculator", "serve"]
        process = subprocess.Popen(command, env=variables, stderr=log)
        try:
            wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url + "/readyz").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    log.seek(0)
    raise AssertionError("the service did not start:\n" + log.read().decode())
