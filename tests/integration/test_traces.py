"""Traces of the real service, as a collector receives them; and what becomes of it where no collector is."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from PIL import Image
from skimage.data import astronaut

from conftest import free_port, run_service

pytestmark = pytest.mark.integration

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Keeps every span that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def below(self, parent: Any) -> list[Any]:
        return [span for span in self.spans if span.parent_span_id == parent.span_id]


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        for one in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.resources.append(told(one.resource))
            self.server.spans += [span for scope in one.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def told(of: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in of.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def photo() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(astronaut()).save(stream, "JPEG")  # type: ignore[no-untyped-call]
    return stream.getvalue()


@pytest.fixture(scope="module")
def collector(photo: bytes) -> Iterator[Collector]:
    """What it has after a service was asked this and that and told to stop."""
    parent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    unsampled = {"traceparent": f"00-{'1' * 32}-{PARENT}-00"}
    with collecting() as collector:
        with run_service(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_RESOURCE_ATTRIBUTES="team=faces") as url:
            file = {"file": ("secret-name.jpg", photo)}
            query = {"face_plugins": "calculator", "limit": "1"}
            assert httpx.post(url + "/find_faces", files=file, params=query, headers=parent).status_code == 200
            assert httpx.post(url + "/find_faces", files=file, headers=unsampled).status_code == 200
            assert httpx.post(url + "/scan_faces", files={"file": ("a", b"junk")}).status_code == 400
            two = [("file", ("a.jpg", photo)), ("file", ("b.jpg", b"junk"))]
            assert len(httpx.post(url + "/batch/find_faces", files=two).text.splitlines()) == 2
            for path in ("/healthcheck", "/livez", "/readyz", "/metrics"):
                assert httpx.get(url + path).status_code == 200
        yield collector


def test_a_request_is_a_span_under_the_callers(collector: Collector) -> None:
    (span,) = collector.named("POST /find_faces")
    assert span.trace_id.hex() == TRACE
    assert span.parent_span_id.hex() == PARENT
    assert span.trace_state == "vendor=1"
    attributes = told(span)
    assert attributes.pop("server.port") > 0
    assert attributes == {
        "http.request.method": "POST",
        "http.route": "/find_faces",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "url.path": "/find_faces",
        "url.scheme": "http",
        "embedding_calculator.faces": 1,
        "embedding_calculator.pixels": attributes["embedding_calculator.pixels"],
    }
    assert attributes["embedding_calculator.pixels"] > 0
    assert b"secret-name" not in b"".join(one.SerializeToString() for one in collector.spans)


def test_its_stages_lie_inside_it_and_name_what_computed(collector: Collector) -> None:
    (span,) = collector.named("POST /find_faces")
    stages = {stage.name: stage for stage in collector.below(span)}
    assert {"decode", "detector", "crop", "calculator"} <= set(stages)
    for stage in stages.values():
        assert stage.trace_id == span.trace_id
        assert span.start_time_unix_nano <= stage.start_time_unix_nano
        assert stage.start_time_unix_nano < stage.end_time_unix_nano <= span.end_time_unix_nano
    assert stages["detector"].end_time_unix_nano <= stages["calculator"].start_time_unix_nano
    assert told(stages["detector"])["embedding_calculator.plugin"].startswith("opencv_zoo.FaceDetector")
    assert told(stages["calculator"])["embedding_calculator.plugin"].startswith("opencv_zoo.Calculator")


def test_a_clients_mistake_is_no_error_of_the_service(collector: Collector) -> None:
    (span,) = collector.named("POST /scan_faces")
    assert told(span)["http.response.status_code"] == 400
    assert span.status.code == 0
    assert "error.type" not in told(span)
    assert not span.events


def test_a_batch_has_a_span_for_each_photo(collector: Collector) -> None:
    (batch,) = collector.named("POST /batch/find_faces")
    photos = {told(span)["embedding_calculator.index"]: span for span in collector.below(batch)}
    assert set(photos) == {0, 1}
    assert told(photos[0])["embedding_calculator.faces"] == 1
    assert "detector" in {stage.name for stage in collector.below(photos[0])}
    assert told(photos[1])["embedding_calculator.faces"] == 0


def test_nothing_else_is_told(collector: Collector) -> None:
    servers = {span.name for span in collector.spans if span.kind == 2}
    assert servers == {"POST /find_faces", "POST /scan_faces", "POST /batch/find_faces"}
    assert "1" * 32 not in {span.trace_id.hex() for span in collector.spans}  # Its caller does not want it.
    for resource in collector.resources:
        assert (resource["service.name"], resource["team"]) == ("embedding-calculator", "faces")


def test_every_worker_tells(photo: bytes) -> None:
    with collecting() as collector:
        named = {"OTEL_SERVICE_NAME": "mine", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url + "/v1/traces"}
        with run_service(UWSGI_PROCESSES="2", EXTRA_PLUGINS=" ", **named) as url:
            for _ in range(3):
                assert httpx.post(url + "/find_faces", files={"file": ("a", photo)}).status_code == 200
        assert len(collector.named("POST /find_faces")) == 3
        assert {resource["service.name"] for resource in collector.resources} == {"mine"}


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**variables, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT="]
)
def test_unless_asked_for_nothing_of_it_is_loaded(variable: str) -> None:
    code = (
        "import sys; from embedding_calculator.http.app import create_app; from fakes import fake_choices;"
        "create_app(fake_choices());"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    name, _, value = variable.partition("=")
    done = python(code, **{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", name: value})
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("code", "environment", "said"),
    [
        ("sys.modules['opentelemetry.sdk'] = None", {}, "pip install '.[otlp]'"),
        ("sys.modules['opentelemetry.sdk'] = None", {"UWSGI_PROCESSES": "2"}, "the extra 'otlp' brings it"),
        ("pass", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf, not 'grpc'"),
        ("pass", {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "'collector:4317' is no address"),
        ("pass", {"OTEL_TRACES_EXPORTER": "zipkin"}, "not 'zipkin'"),
    ],
)
def test_what_cannot_be_had_ends_the_start(code: str, environment: dict[str, str], said: str) -> None:
    serve = "sys.argv[1:] = ['serve', '--port', '0']; from embedding_calculator.cli import main; main()"
    start = f"import sys; {code}; {serve}"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **environment}
    done = python(start, **variables)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_without_its_collector_it_serves_and_stops_and_says_so_once() -> None:
    code = (
        "import sys; from embedding_calculator.http.app import create_app; from fakes import fake_choices;"
        "from fastapi.testclient import TestClient\n"
        "with TestClient(create_app(fake_choices())) as client:\n"
        "    for _ in range(1000): client.get('/status')\n"
    )
    address = f"http://127.0.0.1:{free_port()}"
    limits = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    done = python(code, OTEL_EXPORTER_OTLP_ENDPOINT=address, **limits)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    answers = [line for line in lines if line["message"] == "request"]
    assert len(answers) == 1000
    assert all(len(line["trace_id"]) == 32 and len(line["span_id"]) == 16 for line in answers)
    complaints = [line["message"] for line in lines if line["logger"].startswith("opentelemetry")]
    assert 1 <= len(complaints) <= 3
    assert any("retrying" in line for line in complaints)
    assert any("Queue full" in line for line in complaints)
