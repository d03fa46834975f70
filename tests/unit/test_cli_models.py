"""``embedding-calculator models``: what a person sees."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from embedding_calculator.cli import app
from embedding_calculator.errors import EmbeddingCalculatorError
from publisher import Page, describe, serving, tiny_network

CONTENT = tiny_network()


@pytest.fixture(autouse=True)
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user's catalogue with one model that forbids commercial use, and an empty store."""
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.setenv("MODEL_CATALOG", str(mine))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "120")
    with serving() as publisher:
        url = publisher.publish("/tiny.onnx", Page(CONTENT))
        (mine / "tiny.toml").write_text(describe(CONTENT, f'{{ url = "{url}" }}', commercial='"no"'))
        yield


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def row() -> dict[str, object]:
    (found,) = [row for row in json.loads(call("list", "--json").stdout) if row["name"] == "tiny"]
    assert isinstance(found, dict)
    return found


def test_a_model_from_listed_to_verified() -> None:
    assert row() == {
        "name": "tiny",
        "plugins": ["test.Calculator"],
        "licence": "MIT",
        "commercial": "no",
        "bytes": len(CONTENT),
        "state": "missing",
        "int8": "missing",
        "verified": "weights",
        "homepage": "https://example.org/tiny",
    }
    assert "tiny: fetched (MIT)" in call("pull", "tiny", "--accept-licence").stderr
    assert "The model is here." in call("pull", "test.Calculator@tiny").stderr
    assert row()["state"] == "present"
    assert call("verify").stdout == "tiny: verified\n"
    network = Path(call("path", "tiny").stdout.strip())
    assert network.is_file()
    network.write_bytes(b"")
    assert row()["state"] == "damaged"
    damaged = call("verify")
    assert damaged.exit_code == 1
    assert damaged.stdout == "tiny: damaged; fetch it: embedding-calculator models pull tiny --accept-licence\n"


def test_a_pull_goes_on_after_a_failure(tmp_path: Path) -> None:
    text = (tmp_path / "mine/tiny.toml").read_text()
    absent = hashlib.sha256(b"absent").hexdigest()
    lost = text.replace(hashlib.sha256(CONTENT).hexdigest(), absent).replace('"tiny"', '"lost"')
    (tmp_path / "mine/lost.toml").write_text(lost)
    result = call("pull", "lost", "tiny", "--accept-licence")
    assert result.exit_code == 1
    first, *_, last = result.stderr.splitlines()
    assert first.startswith("error: Model 'lost' could not be fetched")
    assert last == "tiny: fetched (MIT)"
    assert str(result.exception) == (
        "1 of 2 are missing: lost. Try again: embedding-calculator models pull lost --accept-licence"
    )
    assert row()["state"] == "present"


def test_the_table_names_every_model() -> None:
    table = call("list").stdout
    for word in ("tiny", "test.Calculator", "MIT", "no", "missing", "weights"):
        assert word in table


def test_what_is_here_is_seen_where_the_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    piped = call("list").stdout
    assert piped.splitlines()[0].split() == ["model", "here", "commercial", "size", "licence", "verified"]
    assert "…" not in piped
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    head, *rows = re.sub(r"\x1b\[[\d;]*m", "", call("list").stdout).splitlines()
    assert head.split() == ["model", "here", "commercial", "size", "licence"]
    assert max(map(len, rows)) <= 80
    (row,) = [row for row in rows if row.startswith("  tiny ")]
    assert row.split()[:3] == ["tiny", "missing", "no"]
    assert row.split()[-1] == "MIT"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pull", "unheard"], "There is no model 'unheard'"),
        (["pull", "test.Calculator@unheard"], "'test.Calculator' has no model 'unheard'"),
        (["path", "tiny"], "embedding-calculator models pull tiny"),
        (["pull", "tiny"], "--accept-licence"),
        (["pull", "tiny", "--commercial-only"], "forbids commercial use"),
    ],
)
def test_a_refusal_is_a_sentence(arguments: list[str], told: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, EmbeddingCalculatorError)
    assert told in str(result.exception)


def test_the_command_loads_nothing_heavy_until_it_runs() -> None:
    heavy = {"numpy", "onnx", "onnxruntime", "pydantic", "httpx", "cv2", "rich.progress", "filelock"}
    program = f"import sys, embedding_calculator.cli.models; print(*({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert not loaded.strip()
