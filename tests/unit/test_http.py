"""The shapes and parameters of the HTTP contract, on an engine of fakes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from asking import PICTURE, message, service_of_fakes, upload
from fastapi.testclient import TestClient
from PIL import Image

from embedding_calculator.http.app import create_app
from fakes import FakeAge, fake_choices


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with service_of_fakes() as client:
        yield client


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


def test_the_picture_of_these_tests_is_seen_by_the_fake() -> None:
    assert np.asarray(Image.open(io.BytesIO(PICTURE))).any()
