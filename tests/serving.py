"""The service on an engine of fakes behind a real socket, for what only real connections show."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from embedding_calculator.engine.choices import Choices
from embedding_calculator.http.app import create_app
from embedding_calculator.http.server import options
from embedding_calculator.http.service import Service
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.settings import Settings
from fakes import FakeAge


class Gate(FakeAge):
    """A plugin that computes nothing until it is opened, and counts who has come in."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        answer = super().__call__(faces)
        assert self.open.wait(30)
        return answer


@contextmanager
def serving(choices: Choices, **settings: Any) -> Iterator[tuple[str, Service]]:
    """Its URL, and what the routes share."""
    told = Settings(ml_host="127.0.0.1", **settings)
    app = create_app(choices, told)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, **options(told)))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", app.state.service
    finally:
        server.should_exit = True
        thread.join(30)


def wait_for(condition: Any) -> None:
    """Look often until it holds; half a minute is for machines that are busy with something else."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
