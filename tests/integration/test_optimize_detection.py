"""The command ``optimize-detection``: it searches, goes on, changes what it says, and its result can be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from embedding_calculator.cli import app
from embedding_calculator.errors import ConfigurationError
from embedding_calculator.evaluation.datasets import open_dataset
from embedding_calculator.evaluation.detectors import Bench
from embedding_calculator.evaluation.search import idle, ranges_of, values_of
from embedding_calculator.library import FaceAnalyzer
from embedding_calculator.settings import Settings

pytestmark = pytest.mark.integration

MTCNN, YUNET = "facenet.FaceDetector", "opencv_zoo.FaceDetector"
SMALL = ("000_5.jpg", "010_2.jpg", "012_4.jpg", "013_4.jpg", "014_5.jpg", "016_8.jpg")


@pytest.fixture
def noses(shared: Path, tmp_path: Path) -> Path:
    """The noses of the smaller samples."""
    lines = (shared / "data/samples/noses.csv").read_text().splitlines()
    path = tmp_path / "noses.csv"
    path.write_text("\n".join([lines[0], *(line for line in lines if line.startswith(SMALL))]))
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["optimize-detection", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("name", [MTCNN, YUNET])
def test_every_value_that_is_searched_changes_what_is_found(name: str, noses: Path, shared: Path) -> None:
    """The original searched three thresholds that its detector never read."""
    bench = Bench(name, Settings())
    photos = open_dataset(noses, shared / "data/samples")[:2]
    names = list(ranges_of(bench.entry.parameters))
    assert len(names) == {MTCNN: 4, YUNET: 1}[name]
    # MTCNN is so sure of these faces that only a threshold close to one changes anything.
    ranges = ranges_of(bench.entry.parameters, [f"{each}=0.05:0.99999" for each in names])
    assert idle(bench, photos, ranges) == []


def test_a_parameter_that_changes_nothing_is_told(noses: Path, shared: Path, tmp_path: Path) -> None:
    arguments = (noses, "--images", shared / "data/samples", "-o", tmp_path / "out")
    result = run(*arguments, "--trials", 1, "--vary", "overlap=0.9999:1")
    assert "warning: overlap changes nothing" not in result.stderr  # Without suppression faces are found twice.
    result = run(*arguments[:-1], tmp_path / "other", "--trials", 1, "--vary", "min_size=1:2")
    assert "warning: min_size changes nothing on 4 of these photos" in result.stderr


def test_a_search_goes_on_and_its_result_is_used(
    noses: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    arguments = (noses, "--images", shared / "data/samples", "-o", output, "--vary", "threshold=0.9:0.97")
    first = run(*arguments, "--trials", 2)
    assert "errors, " in first.stdout
    second = run(*arguments, "--trials", 4, "--json")
    assert "going on after 2 trials" in second.stderr
    told: dict[str, Any] = json.loads(second.stdout)
    assert told["trials"] == 4
    assert told["best"]["errors"]["missed"] + told["best"]["errors"]["false"] > 0  # So high a threshold misses faces.
    assert {"history.svg", "parameters.png", "study.db", "report.html"} <= {path.name for path in output.iterdir()}

    for line in told["environment"]:
        monkeypatch.setenv(*line.split("=", 1))
    bench = Bench(Settings().face_detection_plugin[0], Settings())
    assert values_of(bench.entry.parameters, ["threshold"]) == told["best"]["values"]
    assert bench.detector({}).default_threshold == pytest.approx(told["best"]["values"]["threshold"])
    assert FaceAnalyzer(extra_plugins=()).versions["detector"] == f"{YUNET}@yunet_2023mar-optimised"

    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match="another detector, other photos or other ranges"):
        run(*arguments[:-1], "threshold=0.5:0.6")
