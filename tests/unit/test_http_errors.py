"""Every row of the original's tables of errors, on an engine of fakes; and whatever else a client may send."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from asking import BLACK, PICTURE, message, service_of_fakes, upload
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_calculator.http.app import create_app
from embedding_calculator.imaging import decode
from fakes import BrokenPlugin, fake_choices

NO_FILE = "400 Bad Request: No file is attached"
BROKEN = "400 Bad Request: Image has incorrect format or is broken"
NO_FACE = "400 Bad Request: No face is found in the given image"
THRESHOLD = "400 Bad Request: Detection threshold incorrect (0 <= det_prob_threshold <= 1)"
LIMIT_FORMAT = "400 Bad Request: Limit format is invalid (limit >= 0)"
LIMIT_VALUE = "400 Bad Request: Limit value is invalid (limit >= 0)"
MALFORMED = "400 Bad Request: The browser (or proxy) sent a request that this server could not understand."


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with service_of_fakes() as client:
        yield client


@pytest.mark.parametrize("path", ["/find_faces", "/scan_faces"])
@pytest.mark.parametrize(
    "request_parts",
    [
        {},
        {"content": PICTURE, "headers": {"content-type": "image/png"}},
        {"data": {"file": "text"}},
        {"files": {"other": ("a.png", PICTURE)}},
        {"files": {"file": (None, PICTURE)}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
    ],
    ids=["no body", "raw body", "urlencoded text", "another name", "no filename", "no boundary"],
)
def test_no_file_is_attached(client: TestClient, path: str, request_parts: dict[str, Any]) -> None:
    response = client.post(path, **request_parts)
    assert (response.status_code, message(response)) == (400, NO_FILE)


def raw_multipart(client: TestClient, part_headers: str, data: bytes, end: bytes = b"\r\n--b--\r\n") -> Any:
    body = f"--b\r\n{part_headers}\r\n\r\n".encode() + data + end
    return client.post("/find_faces", content=body, headers={"content-type": "multipart/form-data; boundary=b"})


def test_no_file_is_selected(client: TestClient) -> None:
    response = raw_multipart(client, 'Content-Disposition: form-data; name="file"; filename=""', b"")
    assert (response.status_code, message(response)) == (400, "400 Bad Request: No file is selected")


def test_the_java_clients_part_is_read(client: TestClient) -> None:
    headers = (
        'Content-Disposition: form-data; name="file"; filename="recalculated"\r\n'
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary"
    )
    assert raw_multipart(client, headers, PICTURE).status_code == 200


def test_the_original_benchmarks_base64_part_is_read(client: TestClient) -> None:
    headers = 'Content-Disposition: form-data; name="file"; filename="x.jpg"\r\nContent-Transfer-Encoding: base64'
    assert raw_multipart(client, headers, base64.encodebytes(PICTURE)).status_code == 200
    broken = raw_multipart(client, headers, b"abcde")
    assert (broken.status_code, message(broken)) == (400, BROKEN)


@pytest.mark.parametrize("end", [b"", b"\r\n--", b"\r\n--c--\r\n"])
def test_a_multipart_body_that_breaks_off_is_refused(client: TestClient, end: bytes) -> None:
    response = raw_multipart(client, 'Content-Disposition: form-data; name="file"; filename="a"', PICTURE, end)
    assert (response.status_code, message(response)) == (400, MALFORMED)


@pytest.mark.parametrize(
    ("data", "fields", "expected"),
    [
        (b"", {}, BROKEN),
        (b"no picture", {}, BROKEN),
        (PICTURE[:40], {}, BROKEN),
        (b"%PDF-1.4", {}, BROKEN),
        (b"\xff\xd8", {}, BROKEN),
        (BLACK, {}, NO_FACE),
        (PICTURE, {"det_prob_threshold": "1"}, NO_FACE),
        (PICTURE, {"det_prob_threshold": "1.5"}, THRESHOLD),
        (PICTURE, {"det_prob_threshold": "-1"}, THRESHOLD),
        (PICTURE, {"det_prob_threshold": "nan"}, THRESHOLD),
        (PICTURE, {"det_prob_threshold": "inf"}, THRESHOLD),
        (PICTURE, {"det_prob_threshold": "abc"}, THRESHOLD),
        (PICTURE, {"det_prob_threshold": ""}, THRESHOLD),
        (PICTURE, {"limit": "abc"}, LIMIT_FORMAT),
        (PICTURE, {"limit": "1.5"}, LIMIT_FORMAT),
        (PICTURE, {"limit": "-1"}, LIMIT_VALUE),
        # The order of judgement: picture, threshold, faces, limit.
        (b"junk", {"det_prob_threshold": "abc", "limit": "abc"}, BROKEN),
        (PICTURE, {"det_prob_threshold": "abc", "limit": "abc"}, THRESHOLD),
        (BLACK, {"limit": "abc"}, NO_FACE),
    ],
)
@pytest.mark.parametrize("path", ["/find_faces", "/scan_faces", "/find_faces_base64"])
def test_mistakes_are_told(client: TestClient, path: str, data: bytes, fields: dict[str, str], expected: str) -> None:
    if path == "/find_faces_base64":
        response = client.post(path, params=fields, json={"file": base64.b64encode(data).decode()})
    else:
        response = upload(client, data, path, **fields)
    assert (response.status_code, message(response)) == (400, expected)


def test_too_little_memory_is_the_services_fault(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_LEAST_ROOM", 1 << 60)
    response = upload(client, b"what a decoder without memory would call broken")
    assert (response.status_code, response.headers["X-Reason"]) == (503, "memory")
    assert int(response.headers["Retry-After"]) >= 1
    assert message(response).startswith("503 Service Unavailable: there is too little memory")


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (b"{", "application/json", MALFORMED),
        (b"", "application/json", MALFORMED),
        (b'{"file":"aaaa"}', "text/plain", MALFORMED),
        (b"{}", "application/json", NO_FILE),
        (b'{"file":null}', "application/json", NO_FILE),
        (b'{"file":3}', "application/json", NO_FILE),
        (b"[1]", "application/json", NO_FILE),
        (b'{"file":"abcde"}', "application/json", BROKEN),
        ('{"file":"bäse64"}'.encode(), "application/json", BROKEN),
        (b'{"file":"@@@@"}', "application/json", BROKEN),
        (b'{"file":""}', "application/json", BROKEN),
        (b'{"file":"data:image/png;base64,"}', "application/json", BROKEN),
    ],
)
def test_mistakes_in_json_are_told(client: TestClient, content: bytes, content_type: str, expected: str) -> None:
    response = client.post("/find_faces_base64", content=content, headers={"content-type": content_type})
    assert (response.status_code, message(response)) == (400, expected)


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: text,
        lambda text: "data:image/png;base64," + text,
        lambda text: "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
        lambda text: text.replace("+", "-").replace("/", "_").rstrip("="),
    ],
    ids=["plain", "data URL", "line breaks", "URL-safe without padding"],
)
def test_base64_in_every_dress(client: TestClient, dress: Any) -> None:
    text = dress(base64.b64encode(PICTURE).decode())
    assert client.post("/find_faces_base64", json={"file": text}).status_code == 200


def test_a_plugin_that_fails_is_named() -> None:
    with TestClient(create_app(fake_choices(BrokenPlugin()))) as client:
        response = upload(client, face_plugins="broken")
        assert response.status_code == 500
        assert message(response) == "PluginError: fake.BrokenPlugin error - it broke"


def test_unknown_paths_and_methods(client: TestClient) -> None:
    response = client.get("/nowhere")
    assert (response.status_code, message(response)) == (
        404,
        "404 Not Found: The requested URL was not found on the server. If you entered the URL manually please check "
        "your spelling and try again.",
    )
    response = client.get("/find_faces")
    assert (response.status_code, message(response)) == (
        405,
        "405 Method Not Allowed: The method is not allowed for the requested URL.",
    )


def test_too_many_bytes_are_refused(client: TestClient) -> None:
    limit = "413 Request Entity Too Large"
    response = upload(client, bytes(100_001))
    assert response.status_code == 413
    assert message(response).startswith(limit)

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(100_000)

    response = client.post(
        "/find_faces", content=endless(), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert response.status_code == 413
    assert message(response).startswith(limit)


# ---------------------------------------------------------------- anything else


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300),
    query=st.dictionaries(
        st.sampled_from(["limit", "det_prob_threshold", "face_plugins", "detect_faces", "other"]), st.text(max_size=20)
    ),
)
def test_no_bytes_and_no_parameters_are_the_services_fault(
    client: TestClient, data: bytes, query: dict[str, str]
) -> None:
    for response in (
        client.post("/find_faces", params=query, files={"file": ("a", data)}),
        client.post("/find_faces", params=query, files={"file": ("a", PICTURE)}),
        client.post("/find_faces", content=data, headers={"content-type": "multipart/form-data; boundary=b"}),
        client.post("/find_faces_base64", params=query, content=data, headers={"content-type": "application/json"}),
    ):
        assert response.status_code in {200, 400}
        if response.status_code == 400:
            assert message(response).startswith("400 Bad Request: ")
