"""What a client makes of a service's answers: a real socket, and an engine of fakes or a stranger behind it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from embedding_calculator.cli.shared import open_finder
from embedding_calculator.client import ServiceClient, ServiceError
from embedding_calculator.errors import InputError
from embedding_calculator.results import Found
from fakes import BrokenPlugin, FakeAge, fake_choices
from serving import serving


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (100, 90), (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


PICTURE, BLACK = png(200), png(0)

Answer = tuple[int, dict[str, str], bytes]


class Stranger:
    """Answers each question as ``answer`` says, given the path and the body; remembers what was asked."""

    def __init__(self, answer: Callable[[str, bytes], Answer]) -> None:
        self.asked: list[str] = []
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                stranger.asked.append(self.path)
                status, headers, content = answer(self.path, body)
                self.send_response(status)
                for name, value in {"content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def stranger(answer: Callable[[str, bytes], Answer], timeout: float = 10) -> Iterator[tuple[ServiceClient, list[str]]]:
    one = Stranger(answer)
    threading.Thread(target=one.server.serve_forever).start()
    client = ServiceClient(f"http://127.0.0.1:{one.server.server_port}", timeout)
    try:
        yield client, one.asked
    finally:
        client.close()
        one.server.shutdown()
        one.server.server_close()


BOX = {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4, "probability": 0.9}
FACES: Answer = (200, {}, json.dumps({"result": [{"box": BOX}]}).encode())


def lines(body: bytes, leave_out: int = 0) -> Answer:
    """A batch's answer: a face for each photo of the form, but for the last ``leave_out``."""
    photos = body.count(b'name="file"') - leave_out
    content = [json.dumps({"index": index, "result": [{"box": BOX}]}) + "\n" for index in reversed(range(photos))]
    return 200, {}, "".join(content).encode()


def by_index(found: Iterator[Found[bytes]]) -> list[Found[bytes]]:
    return sorted(found, key=lambda one: one.index)


def test_each_photo_has_its_faces_or_its_error() -> None:
    with serving(fake_choices(FakeAge(), BrokenPlugin())) as (url, _):
        client = ServiceClient(url)
        photos = [PICTURE, b"junk", BLACK, PICTURE]
        found = by_index(client.find_faces_in(photos, plugins=["age", "calculator"]))
        assert [one.photo for one in found] == photos
        assert [len(one.faces) for one in found] == [2, 0, 0, 2]
        assert [type(one.error) for one in found] == [type(None), InputError, type(None), type(None)]
        assert found[0].faces[0].embedding is not None
        assert found[0].faces[0].embedding.tolist() == pytest.approx([0.1, 0.1, 0.3, 0.3])
        broken = by_index(client.find_faces_in([PICTURE, BLACK], plugins=["broken"]))
        assert isinstance(broken[0].error, ServiceError)
        assert "it broke" in str(broken[0].error)
        assert broken[1].error is None
        client.close()


def test_photos_are_taken_a_batch_ahead_and_in_as_many_batches_as_the_service_takes() -> None:
    taken = 0

    def photos() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield PICTURE

    with serving(fake_choices(FakeAge()), max_batch_photos=5) as (url, _):
        client = ServiceClient(url)
        found = client.find_faces_in(photos())
        answers = [next(found) for _ in range(100)]
        assert len({one.index for one in answers}) == 100
        assert all(len(one.faces) == 2 and not one.error for one in answers)
        assert taken <= 100 + 3 * 16
        del found
        client.close()


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    refusals = iter([(503, {"Retry-After": "0"}, b"<html>come back</html>"), (429, {}, b"{}")])
    with stranger(lambda _, body: next(refusals, None) or lines(body)) as (client, asked):
        found = by_index(client.find_faces_in([PICTURE] * 3))
    assert [len(one.faces) for one in found] == [1, 1, 1]
    assert asked == ["/batch/find_faces"] * 3


def test_what_a_batch_left_out_is_asked_again() -> None:
    """The service stopped in the middle, or each photo's deadline passed."""
    late = json.dumps({"index": 1, "status": 503, "message": "503 Service Unavailable: no answer within 1 seconds"})
    answers = iter([lambda body: lines(body, leave_out=4), lambda _: (200, {}, f"{late}\n".encode())])
    with stranger(lambda path, body: next(answers, lines)(body) if "batch" in path else FACES) as (client, asked):
        found = by_index(client.find_faces_in([PICTURE] * 6))
    assert [one.index for one in found] == list(range(6))
    assert all(len(one.faces) == 1 for one in found)
    assert asked == ["/batch/find_faces"] * 3


def test_patience_ends() -> None:
    with stranger(lambda *_: (503, {"Retry-After": "9"}, b'{"message": "no room"}'), timeout=0.3) as (client, _):
        found = by_index(client.find_faces_in([PICTURE] * 2))
    assert [str(one.error) for one in found] == ["no room", "no room"]


def test_a_service_without_batches_is_asked_one_by_one() -> None:
    def original(path: str, body: bytes) -> Answer:
        if path != "/find_faces":
            return 404, {}, b'{"message": "404 Not Found: The requested URL was not found on the server."}'
        return (400, {}, b'{"message": "400 Bad Request: Image has incorrect format"}') if b"junk" in body else FACES

    with stranger(original) as (client, asked):
        found = by_index(client.find_faces_in([PICTURE] * 40 + [b"junk"]))
    assert [len(one.faces) for one in found] == [1] * 40 + [0]
    assert isinstance(found[-1].error, InputError)
    assert asked.count("/find_faces") == 41
    assert asked.count("/batch/find_faces") <= 2


def test_a_photo_that_looks_like_an_archive_is_not_unpacked() -> None:
    with stranger(lambda path, body: FACES if path == "/find_faces" else lines(body)) as (client, asked):
        (one,) = client.find_faces_in([b"PK\x03\x04"])
    assert len(one.faces) == 1
    assert asked == ["/find_faces"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((404, {"content-type": "text/html; charset=utf-8"}, b"<html>"), "answers 404 Not Found with text/html"),
        ((200, {"content-type": "text/html"}, b"<html>welcome"), "answers 200 OK with text/html, which no service"),
        ((401, {}, b'{"message": "401 Unauthorized: a key is needed"}'), "401 Unauthorized: a key is needed"),
    ],
)
def test_what_is_no_service_is_told_as_what_it_is(answer: Answer, told: str) -> None:
    with stranger(lambda *_: answer) as (client, _):
        with pytest.raises(ServiceError, match=told):
            client.find_faces(PICTURE)
        with pytest.raises(ServiceError, match=told):
            list(client.find_faces_in([PICTURE] * 3))


def test_a_refusal_in_html_is_the_pictures_and_tells_its_status() -> None:
    """As a proxy refuses uploads that are too large."""
    answer: Answer = (413, {"content-type": "text/html"}, b"<html>")
    with stranger(lambda _, body: answer if len(body) > 2000 else lines(body)) as (client, _):
        found = by_index(client.find_faces_in([PICTURE, PICTURE + bytes(5000), PICTURE]))
        with pytest.raises(InputError, match="answers 413 Request Entity Too Large with text/html"):
            client.find_faces(bytes(5000))
    assert [type(one.error) for one in found] == [type(None), InputError, type(None)]


def test_a_key_is_shown_to_services_that_ask_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(fake_choices(FakeAge()), api_keys="one two") as (url, _):
        client = ServiceClient(url)
        with pytest.raises(ServiceError, match="x-api-key is missing or wrong"):
            client.find_faces(PICTURE)
        client.close()
        monkeypatch.setenv("API_KEYS", "two")
        with open_finder(url) as finder:
            assert [len(one.faces) for one in finder.find_faces_in([PICTURE] * 3, plugins=["age"])] == [2, 2, 2]


def test_a_service_that_is_not_there_is_told() -> None:
    client = ServiceClient("http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"no service answers at http://127.0.0.1:9"):
        list(client.find_faces_in([PICTURE] * 3))
    client.close()
