"""The command ``scan`` on photos whose faces are known: mistakes are told, drawn, and the exit status."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from embedding_calculator.cli import app

pytestmark = pytest.mark.integration


@pytest.fixture
def samples(shared: Path) -> Path:
    return shared / "data/samples"


@pytest.fixture
def wrong(samples: Path, tmp_path: Path) -> Path:
    """The samples' noses, but the first of 000_5.jpg is left out, and 017_0.jpg is said to have one."""
    with (samples / "noses.csv").open() as file:
        rows = list(csv.reader(file))
    path = tmp_path / "noses.csv"
    path.write_text("\n".join(",".join(row) for row in [rows[0], *rows[2:], ["017_0.jpg", "100", "100"]]))
    return path


def scan(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, ["scan", *map(str, arguments)], catch_exceptions=False, env=environment)


def test_right_answers(samples: Path) -> None:
    result = scan(samples, "--noses", samples / "noses.csv", "--plugins", "", IMG_NAMES="000_5.jpg, 012_4 016_8.jpg")
    assert result.exit_code == 0
    assert "3 photos judged: 0 faces missed, 0 false" in result.stdout


def test_mistakes_are_told_and_drawn(samples: Path, wrong: Path, tmp_path: Path) -> None:
    output, lines = tmp_path / "out", tmp_path / "faces.jsonl"
    environment = {"IMG_NAMES": "000_5 012_4 017_0", "SAVE_IMG": "on_error"}
    result = scan(samples, "--noses", wrong, "-o", output, "--json", lines, "--plugins", "", **environment)
    assert result.exit_code == 1
    assert "3 photos judged: 1 faces missed, 1 false" in result.stdout
    assert "4 false" in result.stdout
    assert "1 missed" in result.stdout
    assert {path.name for path in output.iterdir()} == {"000_5.jpg.png", "017_0.jpg.png"}
    mistakes = {Path(line["photo"]).name: line["mistakes"] for line in map(json.loads, lines.read_text().splitlines())}
    assert mistakes["000_5.jpg"] == {"missed": [], "false": [3]}
    assert mistakes["012_4.jpg"] == {"missed": [], "false": []}
    assert mistakes["017_0.jpg"] == {"missed": [0], "false": []}
    with Image.open(output / "017_0.jpg.png") as image, Image.open(samples / "017_0.jpg") as photo:
        x, y = (round(100 * side / whole) for side, whole in zip(image.size, photo.size, strict=True))
        red = np.asarray(image)[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).astype(int)
    assert (red[:, 0] - red[:, 1:].max(axis=1)).max() > 120


def test_boxes_and_no_pictures(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/boxes"
    with (folder / "boxes.csv").open() as file:
        rows = [row for row in csv.reader(file) if row[0] == "maksssksksss195.jpg"]
    table = tmp_path / "boxes.csv"
    table.write_text("\n".join(["image,x_min,y_min,x_max,y_max", *(",".join(row[:5]) for row in rows)]))
    photo = folder / "images/maksssksksss195.jpg"
    result = scan(photo, "--boxes", table, "-o", tmp_path / "out", "--plugins", "", SAVE_IMG="false")
    assert result.exit_code == 0, result.output
    assert "1 photos judged: 0 faces missed" in result.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_a_remote_service_as_the_original_names_it(samples: Path, service: str) -> None:
    arguments = (samples / "000_5.jpg", samples / "001_A.jpg", "--noses", samples / "noses.csv", "--plugins", "")
    result = scan(*arguments, USE_REMOTE="True", ML_URL=service)
    assert result.exit_code == 0
    assert "2 photos judged: 0 faces missed, 0 false" in result.stdout
    port = service.rpartition(":")[2]
    assert scan(*arguments, USE_REMOTE="1", ML_HOST="127.0.0.1", ML_PORT=port).exit_code == 0


def test_what_is_not_annotated_is_warned_about(samples: Path) -> None:
    result = scan(samples / "017_0.jpg", "--noses", samples / "noses.csv", "--plugins", "")
    assert result.exit_code == 0
    assert "not annotated" in result.stderr
