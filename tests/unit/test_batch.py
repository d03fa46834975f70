"""Many photos in one request, in each of its dresses; and hostile archives."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from embedding_calculator.http.app import create_app
from embedding_calculator.http.service import Service
from embedding_calculator.settings import Settings
from fakes import BrokenPlugin, FakeAge, fake_choices

BROKEN = "400 Bad Request: Image has incorrect format or is broken"


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (100, 90), (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


PICTURE, BLACK = png(200), png(0)
PHOTOS = {"a.png": PICTURE, "black.png": BLACK, "broken.png": b"junk", "b.png": PICTURE}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    settings = Settings(max_batch_photos=5, max_batch_bytes=2_000_000, max_image_bytes=100_000)
    with TestClient(create_app(fake_choices(FakeAge(), BrokenPlugin()), settings)) as client:
        yield client


def zip_of(photos: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("folder/", b"")
        for name, data in photos.items():
            archive.writestr(name, data)
    return stream.getvalue()


def dress(kind: str, photos: dict[str, bytes]) -> dict[str, Any]:
    if kind == "parts":
        return {"files": [("file", (name, data)) for name, data in photos.items()]}
    if kind == "zip":
        return {"content": zip_of(photos), "headers": {"content-type": "application/zip"}}
    if kind == "zip in a part":
        return {"files": [("file", ("photos.zip", zip_of(photos)))]}
    lines = [json.dumps({"name": name, "file": base64.b64encode(data).decode()}) for name, data in photos.items()]
    return {"content": "\n\n".join(lines), "headers": {"content-type": "application/x-ndjson"}}


def post(client: TestClient, content: dict[str, Any], **query: str) -> Any:
    return client.post("/batch/find_faces", params=query, **content)


def answers(response: Any) -> dict[str, Any]:
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return {answer["name"]: answer for answer in map(json.loads, response.text.splitlines())}


@pytest.mark.parametrize("kind", ["parts", "zip", "zip in a part", "lines"])
def test_each_photo_has_its_faces_or_its_error(client: TestClient, kind: str) -> None:
    found = answers(post(client, dress(kind, PHOTOS), face_plugins="age", limit="1"))
    assert set(found) == set(PHOTOS)
    assert sorted(answer["index"] for answer in found.values()) == [0, 1, 2, 3]
    for name in ("a.png", "b.png"):
        assert found[name]["plugins_versions"] == {"detector": "fake.FaceDetector", "age": "fake.FakeAge"}
        (face,) = found[name]["result"]
        assert face["age"] == {"low": 20, "high": 30, "probability": 0.5}
    assert found["broken.png"] == {"index": 2, "name": "broken.png", "status": 400, "message": BROKEN}
    assert found["black.png"]["message"] == "400 Bad Request: No face is found in the given image"


def test_a_failing_plugin_is_that_photos_error(client: TestClient) -> None:
    found = answers(post(client, dress("parts", {"a": PICTURE, "b": BLACK}), face_plugins="broken"))
    assert (found["a"]["status"], found["a"]["message"]) == (500, "PluginError: fake.BrokenPlugin error - it broke")
    assert found["b"]["status"] == 400


def test_what_nobody_foresaw_is_that_photos_error(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Service.find_faces

    def find_faces(self: Service, data: bytes, *arguments: Any) -> dict[str, Any]:
        if data == BLACK:
            raise MemoryError
        return real(self, data, *arguments)

    monkeypatch.setattr(Service, "find_faces", find_faces)
    found = answers(post(client, dress("parts", {"a": PICTURE, "b": BLACK})))
    assert (found["b"]["status"], found["b"]["message"]) == (500, "MemoryError")
    assert found["a"]["result"]


def test_a_damaged_line_is_that_lines_error(client: TestClient) -> None:
    good = json.dumps({"file": base64.b64encode(PICTURE).decode()})
    content = "\n".join([good, "{", '{"name":"x"}', '{"name":"y","file":"@@@"}', ""])
    found = answers(post(client, {"content": content, "headers": {"content-type": "application/jsonl"}}))
    assert len(found["line 1"]["result"]) == 2
    assert found["line 2"]["status"] == found["x"]["status"] == found["y"]["status"] == 400
    assert found["x"]["message"] == "400 Bad Request: No file is attached"
    assert found["y"]["message"] == BROKEN


@pytest.mark.parametrize("kind", ["parts", "zip", "lines"])
def test_too_many_and_none_are_refused_whole(client: TestClient, kind: str) -> None:
    many = post(client, dress(kind, {str(number): PICTURE for number in range(6)}))
    assert many.json() == {"message": "400 Bad Request: A batch may have at most 5 photos"}
    assert post(client, dress(kind, {})).json() == {"message": "400 Bad Request: No file is attached"}


def test_hostile_archives_are_refused_before_they_are_unpacked(client: TestClient) -> None:
    def refused(content: bytes) -> int:
        response = post(client, {"content": content, "headers": {"content-type": "application/zip"}})
        assert list(response.json()) == ["message"]
        return int(response.status_code)

    good = zip_of({"a.png": PICTURE})
    assert refused(b"") == refused(b"PK\x03\x04 junk") == refused(good[:-30]) == 400
    assert refused(zip_of({str(number): bytes(900_000) for number in range(3)})) == 413
    # The end of the list says that the list is long, or written in the long form of the format.
    end = good.rindex(b"PK\x05\x06")
    assert refused(good[: end + 12] + b"\xff\xff\xff\x7f" + good[end + 16 :]) == 400
    assert refused(good[:end] + b"PK\x06\x07" + bytes(16) + good[end:]) == 400
    assert refused(bytes(3_100_000)) == 413


def test_a_photo_of_an_archive_that_is_too_large_or_lies_is_its_own_error(client: TestClient) -> None:
    content = zip_of({"huge.png": bytes(100_001), "liar.png": PICTURE * 2, "a.png": PICTURE}, zipfile.ZIP_STORED)
    content = content.replace(PICTURE * 2, PICTURE + bytes(len(PICTURE)), 1)  # Its checksum is wrong now.
    found = answers(post(client, {"content": content, "headers": {"content-type": "application/zip"}}))
    assert found["huge.png"]["status"] == 413
    assert found["liar.png"]["message"] == BROKEN
    assert len(found["a.png"]["result"]) == 2


def test_every_photo_meets_a_deadline_of_its_own_and_nothing_stays_behind() -> None:
    app = create_app(fake_choices(), Settings(uwsgi_threads=1, queue_limit=0))
    with TestClient(app) as client:
        for _ in range(3):
            assert len(answers(post(client, dress("parts", PHOTOS)))) == 4
        admission = app.state.service.admission
        assert admission.bytes.in_use == admission.pixels.in_use == admission.waiting == admission.running == 0
        assert client.post("/find_faces", files={"file": ("a", PICTURE)}).status_code == 200


def bmp(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (100, 90), (value, value, value)).save(stream, "BMP")
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["zip", "lines", "parts"])
def test_what_a_batch_unpacks_counts_among_the_bytes_in_flight(kind: str) -> None:
    dressed = dress(kind, {f"{number}.bmp": bmp(200 + number) for number in range(4)})
    body = len(httpx.Request("POST", "http://x", **dressed).read())
    unpacked = 0 if kind == "parts" else 2 * len(bmp(0))  # As many as there are threads.
    app = create_app(fake_choices(), Settings(uwsgi_threads=2, max_bytes_in_flight=10_000_000))
    budget = app.state.service.admission.bytes
    with TestClient(app) as client:
        for room, status in ((body + unpacked + 100, 200), (body + unpacked - 1000, 503)):
            assert budget.try_take(10_000_000 - room)  # By somebody else.
            response = post(client, dressed)
            assert response.status_code == status
            assert status == 200 or response.headers["x-reason"] == "bytes_in_flight"
            assert budget.in_use == 10_000_000 - room
            budget.give_back(10_000_000 - room)
