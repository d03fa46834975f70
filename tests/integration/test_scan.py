"""The command ``scan`` on photos whose faces are known: mistakes are told, drawn, and the exit status."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from embedding_calculator.cli import app
from embedding_calculator.errors import ParameterError
from serving import wait_for

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
    assert "3 photos judged: 1 face missed, 1 false" in result.stdout
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


def test_a_second_run_does_not_scan_what_the_first_drew(samples: Path, tmp_path: Path) -> None:
    shutil.copy(samples / "012_4.jpg", tmp_path)
    drawn = tmp_path / "drawn"
    for _ in range(2):
        assert "in 1 photo\n" in scan(tmp_path, "-o", drawn, "--plugins", "").stdout
    assert "in 1 photo\n" in scan(drawn, "-o", drawn, "--plugins", "").stdout


def test_boxes_and_no_pictures(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/boxes"
    with (folder / "boxes.csv").open() as file:
        rows = [row for row in csv.reader(file) if row[0] == "maksssksksss195.jpg"]
    table = tmp_path / "boxes.csv"
    table.write_text("\n".join(["image,x_min,y_min,x_max,y_max", *(",".join(row[:5]) for row in rows)]))
    photo = folder / "images/maksssksksss195.jpg"
    result = scan(photo, "--boxes", table, "-o", tmp_path / "out", "--plugins", "", SAVE_IMG="false")
    assert result.exit_code == 0, result.output
    assert "1 photo judged: 0 faces missed" in result.stdout
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


def test_a_csv_of_the_wrong_kind_is_told_by_what_it_should_be(samples: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image,x_min,y_min,x_max,y_max\n017_0.jpg,,,,\n")
    with pytest.raises(ParameterError, match="lacks the columns nose_x, nose_y; its first line must name image"):
        scan(samples / "017_0.jpg", "--noses", boxes)
    with pytest.raises(ParameterError, match="holds noses; give it to --noses"):
        scan(samples / "017_0.jpg", "--boxes", samples / "noses.csv")


def test_the_table_is_in_the_order_of_the_photos(samples: Path, tmp_path: Path) -> None:
    """A large photo first: those after it are ready before it."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"junk")
    photos = [samples / "001_A.jpg", samples / "000_5.jpg", broken, samples / "017_0.jpg", samples / "012_4.jpg"]
    result = scan(*photos, "--plugins", "age")
    assert result.exit_code == 1
    places = [result.stdout.index(photo.name) for photo in photos]
    assert places == sorted(places)
    assert "in 5 photos; 1 could not be read" in result.stdout
    assert "gender" not in result.stdout


def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "embedding_calculator", "scan", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.fixture
def many(samples: Path, tmp_path: Path) -> Path:
    """A folder of photos that takes longer than a test may."""
    folder = tmp_path / "many"
    folder.mkdir()
    photos = sorted(samples.glob("0*.jpg"))
    for number in range(2000):
        (folder / f"{number:04}.jpg").symlink_to(photos[number % len(photos)])
    return folder


@pytest.mark.parametrize("drawn", [False, True])
def test_an_interrupted_scan_keeps_what_was_done(many: Path, tmp_path: Path, drawn: bool) -> None:
    lines = tmp_path / "faces.jsonl"
    process = start(many, "--json", lines, "--plugins", "", *(["-o", tmp_path / "out"] if drawn else []))
    wait_for(lambda: lines.exists() and lines.read_bytes().count(b"\n") >= 5)
    process.send_signal(signal.SIGINT)
    told, errors = (text.decode() for text in process.communicate(timeout=60))
    assert process.returncode == 130
    kept = [json.loads(line) for line in lines.read_text().splitlines()]
    assert 5 <= len(kept) < 2000
    assert f"in {len(kept)} photos" in told
    assert f"interrupted after {len(kept)} of 2000 photos" in errors
    assert "Traceback" not in errors
    assert all(Path(line["photo"]).name in told for line in kept)


def test_a_closed_pipe_ends_a_scan_quietly(many: Path) -> None:
    process = start(many, "--json", "-")
    assert process.stdout
    assert process.stderr
    process.stdout.read(100)
    process.stdout.close()
    assert process.communicate(timeout=60)[1] == b""


def test_a_photo_is_read_when_its_turn_comes(samples: Path, tmp_path: Path) -> None:
    """One that goes while others are computed is told, and the others go on."""
    photos = [tmp_path / f"{number}.jpg" for number in range(40)]
    for photo in photos:
        shutil.copy(samples / "000_5.jpg", photo)
    lines = tmp_path / "faces.jsonl"
    process = start(tmp_path, "--json", lines, "--plugins", "")
    wait_for(lambda: lines.exists() and lines.stat().st_size)
    photos[-1].unlink()
    process.communicate(timeout=60)
    assert process.returncode == 1
    errors = {Path(line["photo"]).name: line["error"] for line in map(json.loads, lines.read_text().splitlines())}
    assert len(errors) == 40
    assert [name for name, error in errors.items() if error] == ["39.jpg"]
