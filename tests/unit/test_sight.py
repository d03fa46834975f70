"""What operators and other programs see beside the contract: metrics, headers, keys, other formats."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import ormsgpack
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from embedding_calculator.http.app import create_app
from embedding_calculator.http.metrics import DIRECTORY
from embedding_calculator.settings import Settings
from fakes import FakeAge, fake_choices

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "embedding-calculator.json"


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (100, 90), (200, 200, 200)).save(stream, "PNG")
    return stream.getvalue()


PICTURE = png()


def upload(client: TestClient, headers: dict[str, str] | None = None, **query: str) -> Any:
    return client.post("/find_faces", params=query, files={"file": ("a", PICTURE)}, headers=headers)


def samples(client: TestClient) -> dict[tuple[str, ...], float]:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(response.text)
    return {
        (sample.name.removeprefix("embedding_calculator_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_count_what_happened() -> None:
    with TestClient(create_app(fake_choices(FakeAge()), Settings(uwsgi_threads=3, queue_limit=7))) as client:
        for _ in range(2):
            upload(client, face_plugins="age,calculator")
        client.post("/find_faces", files={"file": ("a", b"junk")})
        client.get("/nowhere")
        client.get("/status/")
        seen = samples(client)
    assert seen["requests_total", "/find_faces", "200"] == 2
    assert seen["requests_total", "/find_faces", "400"] == 1
    assert seen["requests_total", "other", "404"] == 1
    assert seen["requests_total", "/status", "200"] == 1
    assert seen["request_seconds_count", "/find_faces"] == 3
    for stage in ("detector", "age", "calculator", "decode", "write"):
        assert seen["stage_seconds_count", stage] == 2
    assert seen["stage_seconds_count", "queue"] == 3
    assert seen["faces_total",] == 4
    assert seen["decoded_pixels_total",] == 2 * 9000
    assert seen["queue_depth",] == seen["running",] == seen["bytes_in_flight",] == seen["pixels_in_flight",] == 0
    assert seen["threads",] == 3
    assert seen["queue_limit",] == 7
    assert seen["workers",] == 1
    assert seen["plugin", "fake.FaceDetector", "detector"] == 1
    assert seen["resident_memory_bytes",] > 2**20


def test_a_worker_that_belongs_to_another_user_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def kill(_pid: int, _signal: int) -> None:
        raise PermissionError

    counts = tmp_path / "gauge_livesum_1.db"
    counts.write_bytes(bytes(8))  # Nothing yet.
    monkeypatch.setenv(DIRECTORY, str(tmp_path))
    monkeypatch.setattr(os, "kill", kill)
    with TestClient(create_app(fake_choices())) as client:
        assert client.get("/metrics").status_code == 200
    assert counts.exists()


def test_bad_grammar_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    body = b"--b\r\nno header: x\r\n\r\n--b--\r\n"
    with TestClient(create_app(fake_choices())) as client:
        logging.getLogger().addHandler(caplog.handler)  # The service's own handler took the place of pytest's.
        kind = {"content-type": "multipart/form-data; boundary=b"}
        assert client.post("/find_faces", content=body, headers=kind).status_code == 400
    assert not [record for record in caplog.records if record.name.startswith("python_multipart")]


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    with TestClient(create_app(fake_choices())) as client:
        upload(client)
        text = client.get("/metrics").text
    existing = set(re.findall(r"^(?:# TYPE )?(embedding_calculator_\w+)", text, re.MULTILINE))
    asked = set(re.findall(r"embedding_calculator_\w+", DASHBOARD.read_text()))
    assert asked
    assert asked <= existing
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_answers_say_where_their_time_went() -> None:
    with TestClient(create_app(fake_choices())) as client:
        timing = upload(client, face_plugins="age,calculator").headers["server-timing"]
        stages = re.findall(r"([\w]+);dur=[\d.]+(?:, )?", timing)
        assert set(stages) == {
            *("receive", "queue", "open", "memory", "decode", "detector", "crop", "calculator", "age", "write")
        }


def test_a_trace_is_found_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with TestClient(create_app(fake_choices())) as client:
        logging.getLogger().addHandler(caplog.handler)  # The service's own handler took the place of pytest's.
        for header in (f"00-{trace}-{parent}-01", f"00-{trace}-{parent}", f"00-{'0' * 32}-{parent}-01", "x"):
            client.get("/status", headers={"traceparent": header})
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    traces = [line.get("trace_id") for line in lines if line.get("event") == "request"]
    assert traces == [trace, None, None, None]


def test_messagepack_says_the_same_as_json() -> None:
    with TestClient(create_app(fake_choices())) as client:
        json_answer = upload(client, face_plugins="age,calculator").json()
        response = upload(client, {"accept": "application/msgpack;q=1, */*"}, face_plugins="age,calculator")
        assert response.headers["content-type"] == "application/msgpack"
        packed = ormsgpack.unpackb(response.content)
        for one, other in zip(packed["result"], json_answer["result"], strict=True):
            assert one.pop("embedding") == pytest.approx(other.pop("embedding"), rel=1e-6)
            assert one["box"].pop("probability") == pytest.approx(other["box"].pop("probability"), rel=1e-6)
            assert one.pop("execution_time").keys() == other.pop("execution_time").keys()
        assert packed == json_answer
        error = client.post("/find_faces", headers={"accept": "application/msgpack"})
        assert error.json() == {"message": "400 Bad Request: No file is attached"}


def test_embeddings_as_base64_are_little_endian_float32() -> None:
    with TestClient(create_app(fake_choices())) as client:
        numbers = upload(client, face_plugins="calculator").json()["result"][0]["embedding"]
        text = upload(client, face_plugins="calculator", embedding_format="base64").json()["result"][0]["embedding"]
        assert np.frombuffer(base64.b64decode(text), "<f4").tolist() == np.float32(numbers).tolist()
        wrong = upload(client, embedding_format="hex")
        assert wrong.status_code == 400
        assert wrong.json()["message"].startswith("400 Bad Request: Embedding format is invalid")


def test_keys_are_asked_for_where_there_are_any() -> None:
    settings = Settings(api_keys="first, second")
    assert "first" not in repr(settings)
    with TestClient(create_app(fake_choices(), settings)) as client:
        for path in ("/healthcheck", "/livez", "/readyz"):
            assert client.get(path).status_code == 200
        for headers in ({}, {"x-api-key": ""}, {"x-api-key": "firs"}, {"x-api-key": "first,second"}):
            for response in (client.get("/status", headers=headers), upload(client, headers)):
                assert response.status_code == 401
                assert response.json() == {"message": "401 Unauthorized: x-api-key is missing or wrong"}
        for key in ("first", "second"):
            assert upload(client, {"x-api-key": key}).status_code == 200


def test_a_browser_opens_the_documentation_without_a_key_and_is_told_to_enter_one() -> None:
    with TestClient(create_app(fake_choices(), Settings(api_keys="key"))) as client:
        page = client.get("/apidocs")
        assert page.status_code == 200
        for part in ("/apidocs/", "/apidocs/index.html", *re.findall(r'(?:href|src)="([^"]+)"', page.text)):
            assert client.get(part).status_code == 200, part
        document = client.get("/frs-core-api.json").json()
        assert list(document["components"]["securitySchemes"].values()) == [
            {"type": "apiKey", "in": "header", "name": "x-api-key"}
        ]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                refused = client.request(method, path).status_code == 401
                assert refused == ("security" in operation) == ("401" in operation["responses"]), path
        assert client.get("/static-offline-docs/%2e%2e/status").status_code == 404
    with TestClient(create_app(fake_choices())) as client:
        document = client.get("/frs-core-api.json").json()
        assert "securitySchemes" not in document["components"]


def test_pages_of_other_origins_may_ask_only_where_configured() -> None:
    origin = {"origin": "https://a.example", "access-control-request-method": "POST"}
    with TestClient(create_app(fake_choices())) as client:
        assert "access-control-allow-origin" not in client.get("/status", headers=origin).headers
    settings = Settings(cors_origins="https://a.example", api_keys="key")
    with TestClient(create_app(fake_choices(), settings)) as client:
        allowed = client.options("/find_faces", headers=origin)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://a.example"
        other = client.options("/find_faces", headers={**origin, "origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


def test_every_answer_carries_the_headers_that_keep_browsers_safe() -> None:
    with TestClient(create_app(fake_choices())) as client:
        for response in (client.get("/status"), client.get("/nowhere"), upload(client)):
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["x-frame-options"] == "DENY"
            assert response.headers["referrer-policy"] == "no-referrer"
