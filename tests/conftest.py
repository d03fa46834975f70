"""What tests share: evaluation photos, if they are here, and models from the store that ``make test`` fills."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from embedding_calculator.errors import ModelError
from embedding_calculator.library import FaceAnalyzer
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.runtime import Model
from embedding_calculator.models.sources import Sources
from embedding_calculator.models.store import Store
from embedding_calculator.settings import Settings


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


class run_service:  # noqa: N801 -- used like a function
    """``with run_service(NAME=value) as url``: the command ``serve`` on a free port, with these variables."""

    def __init__(self, **environment: str) -> None:
        self._environment = {**os.environ, "ML_PORT": "0", "ML_HOST": "127.0.0.1", **environment}

    def __enter__(self) -> str:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "embedding_calculator", "serve"],
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr
        seen = []
        for line in self._process.stderr:
            seen.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            raise AssertionError("the service did not start:\n" + "".join(seen))
        # Somebody must go on reading, or the service blocks when the pipe is full.
        self._drain = subprocess.Popen(["cat"], stdin=self._process.stderr, stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                httpx.get(found[0] + "/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        return found[0]

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        assert self._process.stderr
        self._process.stderr.close()
        self._drain.wait(20)
