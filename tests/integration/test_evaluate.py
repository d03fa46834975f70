"""The command ``evaluate`` on a few photos: numbers, report, and that a second run computes nothing."""

from __future__ import annotations

import csv
import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from embedding_calculator.cli import app
from embedding_calculator.errors import ConfigurationError
from embedding_calculator.evaluation import masks
from embedding_calculator.results import Box, Face, Mask

pytestmark = pytest.mark.integration


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def numbers(*arguments: object) -> dict[str, Any]:
    return dict(json.loads(run(*arguments, "--json")))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    names = ["001_A", "002_A", "003_A", "004_A", "005_A", "007_B", "008_B", "009_C"]
    rows = [f"{one}.jpg,{other}.jpg,{int(one[-1] == other[-1])}" for one, other in combinations(names, 2)]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["image_a,image_b,same", *rows, "001_A.jpg,017_0.jpg,0"]))
    return path


def test_pairs_with_a_fit_and_again(shared: Path, pairs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ("pairs", pairs, "--images", shared / "data/samples", "-o", output)
    told = run(*arguments, "--fit")
    assert "28, 1 left out" in told
    assert told.count("too few pairs of two people to tell") == 2
    assert "similarity_coefficients = [1." in told
    assert "difference_threshold = 1." in told

    journal = (output / "journal.jsonl").read_bytes()
    again = numbers(*arguments)
    assert (output / "journal.jsonl").read_bytes() == journal
    assert again["accuracy"] == 1
    assert again["accuracy_at_similarity_half"] == 1
    assert again["area_under_roc"] == 1
    assert again["true_accepts"] == {"0.01": None, "0.001": None}
    report = (output / "report.html").read_text()
    assert "100.00 %" in report
    assert report.count("<b>\N{EN DASH}</b>") == 2
    assert report.count("data:image/svg+xml;base64,") == 2
    assert {path.name for path in output.iterdir()} >= {"roc.png", "roc.svg", "distances.png", "distances.svg"}


def test_attributes(shared: Path, tmp_path: Path) -> None:
    table = shared / "data/samples/persons.csv"
    told = numbers("attributes", table, "--images", shared / "data/samples", "-o", tmp_path)
    with table.open() as file:
        assert told["people"] == len(list(csv.DictReader(file)))
    assert told["age"]["mean_absolute_error"] < 8
    assert told["gender"]["accuracy"] == 1
    assert (tmp_path / "age-errors.svg").exists()
    assert "Gender" in (tmp_path / "report.html").read_text()


def test_masks_need_a_plugin_that_tells_of_them(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/boxes"
    with pytest.raises(ConfigurationError, match="no plugin tells of masks"):
        run("mask", folder / "boxes.csv", "--images", folder / "images", "-o", tmp_path)


class Masked:
    """Finds the first two faces of every photo and says that they wear masks."""

    plugins = ("mask",)

    def __init__(self, table: dict[str, masks.Labelled]) -> None:
        self._boxes = iter([labelled.boxes[:2] for labelled in table.values()])

    def find_faces(self, photo: bytes, **_: Any) -> list[Face]:
        edges = next(self._boxes).astype(int).tolist()
        return [Face(Box(x, y, right, bottom, 0.9), mask=Mask("with_mask", 0.8)) for x, y, right, bottom in edges]


def test_masks_are_judged_on_the_faces_found(shared: Path, tmp_path: Path) -> None:
    known = dict(list(masks.read_masks(shared / "data/boxes/boxes.csv").items())[:20])
    finder = Masked(known)
    result = masks.assess(known, {name: masks.ask(finder, b"") for name in known}, 0.4)
    words = [word for labelled in known.values() for word in labelled.words[:2]]
    assert result.confusion.counts.sum() == len(words)
    assert result.missed == sum(len(labelled.words) for labelled in known.values()) - len(words)
    assert result.confusion.accuracy == pytest.approx(words.count("with_mask") / len(words))
    assert "Masks" in masks.write_report(result, tmp_path, []).read_text()


def test_without_the_extra_the_remedy_is_told(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[tools\]'"):
        run("pairs", pairs, "--images", tmp_path, "-o", tmp_path / "out")
