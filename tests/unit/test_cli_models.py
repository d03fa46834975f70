"""``embedding-calculator models``: what a person sees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from publisher import Page, Publisher, describe, serving, tiny_network
from typer.testing import CliRunner, Result

from embedding_calculator.cli.models import models_app
from embedding_calculator.models.catalog import Catalog, Entry

CONTENT = tiny_network()


@dataclass
class Known:
    """Settings as the command needs them."""

    models_dir: Path
    model_catalog: Sequence[Path]
    model_sources: Sequence[Path] = field(default_factory=list)
    accept_model_licences: bool = False
    commercial_only: bool = False


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serving() as publisher:
        yield publisher


@pytest.fixture
def known(tmp_path: Path, publisher: Publisher) -> Known:
    mine = tmp_path / "mine"
    mine.mkdir()
    url = publisher.publish("/tiny.onnx", Page(CONTENT))
    (mine / "tiny.toml").write_text(describe(CONTENT, f'{{ url = "{url}" }}', commercial='"no"'))
    return Known(tmp_path / "models", [mine])


def call(known: Known, *arguments: str) -> Result:
    def configured(catalog: Catalog) -> Sequence[Entry]:
        return [catalog.find("test.Calculator")]

    return CliRunner().invoke(models_app(lambda: known, configured), list(arguments))


def row(known: Known) -> dict[str, object]:
    (found,) = [row for row in json.loads(call(known, "list", "--json").stdout) if row["name"] == "tiny"]
    assert isinstance(found, dict)
    return found


def test_a_model_from_listed_to_verified(known: Known) -> None:
    assert row(known) == {
        "name": "tiny",
        "plugins": ["test.Calculator"],
        "licence": "MIT",
        "commercial": "no",
        "bytes": len(CONTENT),
        "state": "missing",
        "verified": "weights",
        "homepage": "https://example.org/tiny",
    }
    refused = call(known, "pull")
    assert refused.exit_code == 1
    assert "--accept-licence" in refused.stderr
    assert "tiny: fetched (MIT)" in call(known, "pull", "--accept-licence").stderr
    assert "All 1 models are here." in call(known, "pull", "test.Calculator@tiny").stderr
    assert row(known)["state"] == "present"
    assert call(known, "verify").stdout == "tiny: verified\n"
    network = Path(call(known, "path", "tiny").stdout.strip())
    assert network.is_file()
    network.write_bytes(b"")
    assert row(known)["state"] == "damaged"
    damaged = call(known, "verify")
    assert damaged.exit_code == 1
    assert damaged.stdout == "tiny: damaged; fetch it: embedding-calculator models pull tiny\n"


def test_the_table_names_every_model(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    table = call(known, "list").stdout
    for word in ("tiny", "test.Calculator", "MIT", "no", "missing", "weights"):
        assert word in table


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pull", "unheard"], "There is no model 'unheard'"),
        (["pull", "test.Calculator@unheard"], "'test.Calculator' has no model 'unheard'"),
        (["path", "tiny"], "embedding-calculator models pull tiny"),
        (["pull", "tiny", "--commercial-only"], "forbids commercial use"),
    ],
)
def test_a_refusal_is_a_sentence(known: Known, arguments: list[str], told: str) -> None:
    result = call(known, *arguments)
    assert result.exit_code == 1
    assert told in result.stderr
    assert "Traceback" not in result.output


def test_the_command_loads_nothing_heavy_until_it_runs() -> None:
    heavy = {"numpy", "onnx", "onnxruntime", "pydantic", "httpx", "cv2", "rich.progress", "filelock"}
    program = f"import sys, embedding_calculator.cli.models; print(*({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert not loaded.strip()
