"""The edges of the HTTP contract, on an engine of fakes: every row of the original's tables of errors and shapes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from embedding_calculator.http.app import create_app
from embedding_calculator.imaging import decode
from embedding_calculator.settings import Settings
from fakes import BrokenPlugin, FakeAge, fake_choices

NO_FILE = "400 Bad Request: No file is attached"
BROKEN = "400 Bad Request: Image has incorrect format or is broken"
NO_FACE = "400 Bad Request: No face is found in the given image"
THRESHOLD = "400 Bad Request: Detection threshold incorrect (0 <= det_prob_threshold <= 1)"
LIMIT_FORMAT = "400 Bad Request: Limit format is invalid (limit >= 0)"
LIMIT_VALUE = "400 Bad Request: Limit value is invalid (limit >= 0)"
MALFORMED = "400 Bad Request: The browser (or proxy) sent a request that this server could not understand."


def png(value: int = 200, size: tuple[int, int] = (100, 90)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


PICTURE, BLACK = png(), png(0)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = create_app(fake_choices(), Settings(app_version_string="1.2.3", max_image_bytes=100_000))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def upload(client: TestClient, data: bytes = PICTURE, path: str = "/find_faces", **fields: str) -> Any:
    return client.post(path, files={"file": ("photo.png", data)}, data=fields)


def message(response: Any) -> Any:
    assert list(response.json()) == ["message"]
    return response.json()["message"]


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize("path", ["/healthcheck", "/healthcheck/", "/livez", "/readyz"])
def test_health(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.content == b'{"status":"OK"}\n'
    assert response.headers["content-type"] == "application/json"
    assert client.head(path).status_code == 200


def test_status(client: TestClient) -> None:
    # The Java client sends this very header with its GET.
    response = client.get("/status", headers={"content-type": "multipart/form-data"})
    assert response.json() == {
        "status": "OK",
        "build_version": "1.2.3",
        "calculator_version": "fake.Calculator@small",
        "similarity_coefficients": [1.1, 5.5],
        "available_plugins": {
            "detector": "fake.FaceDetector",
            "calculator": "fake.Calculator@small",
            "age": "fake.FakeAge",
            "pose": "fake.FakePose",
            "mask": "fake.FakeMask",
        },
        "models": ["fake.FaceDetector", "fake.Calculator@small", "fake.Calculator@negative"],
        "engines": {},
    }


def test_find_faces_without_plugins(client: TestClient) -> None:
    answer = upload(client).json()
    assert answer["plugins_versions"] == {"detector": "fake.FaceDetector"}
    assert [face["box"] for face in answer["result"]] == [
        {"x_min": 10, "y_min": 10, "x_max": 30, "y_max": 30, "probability": pytest.approx(0.9)},
        {"x_min": 1, "y_min": 1, "x_max": 5, "y_max": 5, "probability": pytest.approx(0.95)},
    ]
    for face in answer["result"]:
        assert set(face) == {"box", "execution_time"}
        assert isinstance(face["execution_time"]["detector"], int)


def test_plugins_run_and_are_listed_in_the_order_of_the_configuration(client: TestClient) -> None:
    answer = upload(client, face_plugins="pose, nope Age,age calculator").json()
    assert answer["plugins_versions"] == {
        "detector": "fake.FaceDetector",
        "calculator": "fake.Calculator@small",
        "age": "fake.FakeAge",
        "pose": "fake.FakePose",
    }
    face = answer["result"][0]
    assert face["embedding"] == pytest.approx([0.1, 0.1, 0.3, 0.3])
    assert face["age"] == {"low": 20, "high": 30, "probability": 0.5}
    assert face["pose"] == {"pitch": 1.0, "yaw": 2.0, "roll": 3.0}
    assert set(face["execution_time"]) == {"detector", "calculator", "age", "pose"}


def test_scan_faces_has_the_legacy_shape(client: TestClient) -> None:
    answer = upload(client, path="/scan_faces", face_plugins="age", detect_faces="false").json()
    assert answer["calculator_version"] == "ScannerWithPlugins"
    assert len(answer["result"]) == 2
    assert all(set(face) == {"box", "embedding", "execution_time"} for face in answer["result"])


def test_base64_answers_like_the_upload(client: TestClient) -> None:
    embedded = client.post(
        "/find_faces_base64?face_plugins=age&limit=1",
        # Parameters inside the JSON do not count.
        json={"file": base64.b64encode(PICTURE).decode(), "limit": 2, "face_plugins": "pose"},
    ).json()
    uploaded = upload(client, face_plugins="age", limit="1").json()
    for answer in (embedded, uploaded):
        for face in answer["result"]:
            del face["execution_time"]
    assert embedded == uploaded


def test_json_is_compact_sorted_and_ends_in_a_newline(client: TestClient) -> None:
    content = upload(client, face_plugins="age").content
    assert content == json.dumps(json.loads(content), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_every_answer_forbids_caching_and_carries_a_request_id(client: TestClient) -> None:
    for response in (client.get("/status"), client.get("/nowhere"), upload(client, b"junk")):
        assert response.headers["cache-control"] == ("max-age=0, no-cache, no-store, must-revalidate, proxy-revalidate")
        assert len(response.headers["x-request-id"]) == 32
    assert client.get("/status", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/status", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_options_are_answered_with_nothing(client: TestClient) -> None:
    for path in ("/status", "/find_faces", "/scan_faces/"):
        response = client.options(path)
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"].startswith("text/html")


def test_documentation_opens_without_the_internet(client: TestClient) -> None:
    page = client.get("/apidocs")
    assert page.status_code == 200
    assert client.get("/apidocs/").status_code == 200
    assert "cdn" not in page.text
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200
    moved = client.get("/apidocs/index.html", follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (302, "/apidocs")
    paths = client.get("/frs-core-api.json").json()["paths"]
    assert {"/find_faces", "/find_faces_base64", "/scan_faces", "/status"} <= set(paths)


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("threshold", "faces"), [("0", 3), ("0.79", 3), ("0.85", 2), ("0.9", 2), ("0.92", 1), ("0.94", 1)]
)
def test_threshold_keeps_what_is_more_probable(client: TestClient, threshold: str, faces: int) -> None:
    # 0.9 as float32 is a little less than 0.9, and 0.95 a little less than 0.95: neither is strictly greater.
    expected = faces if threshold != "0.9" else 1
    answer = upload(client, det_prob_threshold=threshold).json()
    assert len(answer["result"]) == expected


def test_limit_keeps_the_largest_and_saves_the_plugins_work() -> None:
    age = FakeAge()
    with TestClient(create_app(fake_choices(age))) as client:
        answer = upload(client, limit="1", face_plugins="age").json()
        assert [face["box"]["x_min"] for face in answer["result"]] == [10]
        assert age.faces_seen == [1]
        assert len(upload(client, limit="0").json()["result"]) == 2
        assert len(upload(client, limit="50").json()["result"]) == 2


def test_the_query_wins_over_the_form(client: TestClient) -> None:
    response = client.post("/find_faces?limit=1", files={"file": ("a", PICTURE)}, data={"limit": "2"})
    assert len(response.json()["result"]) == 1


def test_a_request_may_name_another_model(client: TestClient) -> None:
    for name in ("fake.Calculator@negative", "negative", "fake.FaceDetector, negative"):
        response = client.post(f"/find_faces?model={name}&face_plugins=calculator", files={"file": ("a", PICTURE)})
        assert response.json()["plugins_versions"]["calculator"] == "fake.Calculator@negative"
        assert response.json()["result"][0]["embedding"] == pytest.approx([-0.1, -0.1, -0.3, -0.3])
    status = client.get("/status?model=negative").json()
    assert status["calculator_version"] == "fake.Calculator@negative"
    assert status["similarity_coefficients"] == [1.2, 6.0]
    for response in (upload(client, model="nope"), client.get("/status?model=nope")):
        assert response.status_code == 400
        assert message(response) == (
            "400 Bad Request: Model nope is not configured "
            "(there are: fake.FaceDetector, fake.Calculator@small, fake.Calculator@negative)"
        )


def test_detection_off_is_one_face_covering_the_picture_without_pose_and_mask(client: TestClient) -> None:
    answer = upload(client, detect_faces="false", face_plugins="age,pose,mask", det_prob_threshold="1").json()
    assert answer["plugins_versions"] == {"detector": "fake.FaceDetector", "age": "fake.FakeAge"}
    (face,) = answer["result"]
    assert face["box"] == {"x_min": 0, "y_min": 0, "x_max": 100, "y_max": 90, "probability": 1.0}
    assert set(face) == {"age", "box", "execution_time"}


def test_detection_off_never_leaks_into_the_next_request() -> None:
    with TestClient(create_app(fake_choices())) as client:
        assert upload(client, b"broken", detect_faces="false").status_code == 400
        assert upload(client, detect_faces="false", limit="x").status_code == 400
        assert len(upload(client).json()["result"]) == 2


# ---------------------------------------------------------------- errors


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


def test_the_picture_of_these_tests_is_seen_by_the_fake() -> None:
    assert np.asarray(Image.open(io.BytesIO(PICTURE))).any()
