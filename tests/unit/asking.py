"""How the tests of the HTTP contract ask: a client of a service whose engine is of fakes, and photos for it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

from embedding_calculator.http.app import create_app
from embedding_calculator.settings import Settings
from fakes import fake_choices


def png(value: int = 200, size: tuple[int, int] = (100, 90)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


PICTURE, BLACK = png(), png(0)


@contextmanager
def service_of_fakes() -> Iterator[TestClient]:
    """A client of the service with an engine of fakes, which takes at most 100,000 bytes."""
    app = create_app(fake_choices(), Settings(app_version_string="1.2.3", max_image_bytes=100_000))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def upload(client: TestClient, data: bytes = PICTURE, path: str = "/find_faces", **fields: str) -> Any:
    return client.post(path, files={"file": ("photo.png", data)}, data=fields)


def message(response: Any) -> Any:
    assert list(response.json()) == ["message"]
    return response.json()["message"]
