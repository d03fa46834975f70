"""The command ``benchmark`` against a service on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from embedding_calculator.cli import app
from embedding_calculator.client import ServiceError
from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation.drawn_face import drawn_face
from embedding_calculator.library import FaceAnalyzer

pytestmark = pytest.mark.integration


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)], catch_exceptions=False)


def numbers(*arguments: object) -> list[dict[str, Any]]:
    return list(json.loads(run(*arguments, "--json").stdout)["loads"])


def test_the_drawn_face_is_one(analyzer: FaceAnalyzer) -> None:
    (face,) = analyzer.find_faces(drawn_face(), plugins=())
    assert face.box.probability > 0.8
    assert 180 < face.box.x_min < 260
    assert 380 < face.box.x_max < 460


def test_loads_and_a_report(service: str, tmp_path: Path) -> None:
    one, two = numbers(service, "-c", "1,2", "-t", "0.5", "-o", tmp_path, "--plugins", "calculator")
    assert (one["concurrency"], two["concurrency"]) == (1, 2)
    for load in (one, two):
        assert load["answers"] > 0
        assert load["errors"] == {}
        assert load["p50_ms"] <= load["p95_ms"] <= load["p99_ms"] <= load["longest_ms"]
        assert load["throughput"] == pytest.approx(load["answers"] / load["seconds"])
        assert load["server_processors"] > 0
        assert load["server_memory_bytes"] > 30e6
    assert "answers a second" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "answer-times.png").exists()


@pytest.mark.parametrize("path", ["/scan_faces", "/find_faces_base64"])
def test_the_other_endpoints_and_a_photo_without_a_face(service: str, shared: Path, path: str) -> None:
    samples = shared / "data/samples"
    photos = ("--photos", samples / "017_0.jpg", "--photos", samples / "008_B.jpg")
    result = run(service + path, "-t", "0.2", *photos)
    assert result.exit_code == 0
    assert "p99 ms" in result.stdout


def test_the_original_s_script(service: str) -> None:
    script = Path(__file__).parents[2] / "benchmark.sh"
    variables = {**os.environ, "DURATION": "0.2", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [str(script), "2", service + "/scan_faces"]
    told = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    assert "at once" in told


def test_what_cannot_be_measured_is_told(service: str, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no service answers"):
        run("http://127.0.0.1:9/find_faces")
    with pytest.raises(ServiceError, match="it says 404"):
        run(service + "/nowhere")
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    with pytest.raises(ServiceError, match="it says 400"):
        run(service, "--photos", text)
    with pytest.raises(ParameterError, match="whole number"):
        run(service, "-c", "many")


@pytest.fixture
def failing() -> Iterator[str]:
    """Answers the first request well, and every other one with 500."""
    answers = iter([200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(next(answers, 500))
            self.end_headers()
            self.wfile.write(b'{"result": []}')

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_without_psutil_the_load_is_told_and_no_more(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(service, "-t", "0.1").stdout.split("errors", 1)[1].split()[:2] == ["CPUs", "memory"]
    for package in ("psutil", "jinja2", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    header, load = run(service, "-t", "0.1").stdout.splitlines()
    assert header.split()[-1] == "errors"
    assert load.split()[-1] == "0"


def test_failed_requests_are_counted_and_change_the_exit_status(failing: str) -> None:
    result = run(failing, "-t", "0.2")
    assert result.exit_code == 1
    assert "x HTTP 500" in result.stdout
