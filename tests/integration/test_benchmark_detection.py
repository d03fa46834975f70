"""The command ``benchmark-detection`` on the layouts of the field, made of annotated photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from embedding_calculator.arrays import Floats
from embedding_calculator.cli import app
from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation.datasets import open_dataset
from embedding_calculator.evaluation.detection import read_boxes

pytestmark = pytest.mark.integration

MTCNN, YUNET = "facenet.FaceDetector", "opencv_zoo.FaceDetector"


@pytest.fixture(scope="module")
def images(shared: Path) -> Path:
    return shared / "data/boxes/images"


@pytest.fixture(scope="module")
def street(shared: Path) -> dict[str, Floats]:
    """Ten photos whose faces are all large enough to be found."""
    boxes = read_boxes(shared / "data/boxes/boxes.csv")
    large = {name: faces for name, faces in boxes.items() if (faces[:, 2] - faces[:, 0] > 32).all()}
    return dict(list(large.items())[:10])


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, ["benchmark-detection", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def write_fddb(folder: Path, images: Path, photos: dict[str, Floats]) -> None:
    """Ellipses that touch the boxes, upright or lying on their side."""
    (folder / "FDDB-folds").mkdir(parents=True)
    (folder / "originalPics").symlink_to(images)
    for fold in range(2):
        lines = []
        for name, boxes in list(photos.items())[fold::2]:
            lines += [Path(name).stem, str(len(boxes))]
            for number, (x_min, y_min, x_max, y_max) in enumerate(boxes.tolist()):
                half_width, half_height = (x_max - x_min) / 2, (y_max - y_min) / 2
                radii = (half_width, half_height, 0) if number % 2 else (half_height, half_width, np.pi / 2)
                lines.append(" ".join(map(str, [*radii, (x_min + x_max) / 2, (y_min + y_max) / 2, 1])))
        (folder / f"FDDB-folds/FDDB-fold-{fold + 1:02}-ellipseList.txt").write_text("\n".join(lines) + "\n")


def write_wider(folder: Path, images: Path, photos: dict[str, Floats]) -> None:
    (folder / "wider_face_split").mkdir(parents=True)
    (folder / "WIDER_val/images").mkdir(parents=True)
    (folder / "WIDER_val/images/0--Street").symlink_to(images)
    lines = ["0--Street/nobody.jpg", "0", "0 0 0 0 0 0 0 0 0 0"]
    for name, boxes in photos.items():
        lines += [f"0--Street/{name}", str(len(boxes) + 1), "1 1 900 900 0 0 0 1 0 0"]  # An invalid one first.
        for x_min, y_min, x_max, y_max in boxes.astype(int).tolist():
            lines.append(f"{x_min} {y_min} {x_max - x_min} {y_max - y_min} 0 0 0 0 0 0")
    (folder / "wider_face_split/wider_face_val_bbx_gt.txt").write_text("\n".join(lines))


def test_detectors_side_by_side_on_fddb(images: Path, street: dict[str, Floats], tmp_path: Path) -> None:
    write_fddb(tmp_path / "fddb", images, street)
    for photo in open_dataset(tmp_path / "fddb"):
        assert photo.boxes is not None
        np.testing.assert_allclose(photo.boxes, street[photo.name + ".jpg"], atol=0.01)

    output = tmp_path / "out"
    arguments = (tmp_path / "fddb", "--detector", YUNET, "--detector", MTCNN, "-o", output, "--overlap", "0.4")
    told = run(*arguments)
    assert f"{YUNET}: Undetected faces: 0/{sum(map(len, street.values()))}, False face detections: " in told
    numbers = run(*arguments, "--json")["detectors"]
    assert set(numbers) == {YUNET, MTCNN}
    assert numbers[YUNET]["average_precision"] > 0.9
    assert numbers[MTCNN]["faces"] == numbers[YUNET]["faces"]
    assert {path.name for path in output.iterdir()} >= {"precision-recall.png", "precision-recall.svg", "report.html"}
    assert "AP" in (output / "report.html").read_text()


def test_wider(images: Path, street: dict[str, Floats], tmp_path: Path) -> None:
    write_wider(tmp_path / "wider", images, street)
    photos = open_dataset(tmp_path / "wider/wider_face_split")
    assert photos[0].noses.shape == (0, 2)
    for photo, (name, boxes) in zip(photos[1:], street.items(), strict=True):
        assert photo.path == tmp_path / "wider/WIDER_val/images/0--Street" / name
        np.testing.assert_array_equal(photo.boxes, boxes)
    told = run(tmp_path / "wider/wider_face_split/wider_face_val_bbx_gt.txt", "-o", tmp_path / "out", "--json")
    numbers = told["detectors"][YUNET]
    assert numbers["photos"] == len(street)
    assert numbers["unreadable"] == 1
    assert numbers["undetected_faces"] == 0


def test_mistakes_are_drawn(images: Path, street: dict[str, Floats], tmp_path: Path) -> None:
    (name, boxes), *_ = street.items()
    table = tmp_path / "boxes.csv"
    lines = [",".join(map(str, [name, *box])) for box in [*boxes.tolist()[1:], [0, 0, 30, 30]]]
    table.write_text("\n".join(["image,x_min,y_min,x_max,y_max", *lines]))
    numbers = run(table, "--images", images, "-o", tmp_path / "out", "--overlap", "0.4", "--json")["detectors"][YUNET]
    assert numbers["undetected_faces"] == 1
    assert numbers["false_detections"] == 1
    (picture,) = (tmp_path / "out/errors").rglob("*.jpg")
    assert picture.stem == Path(name).stem
    assert "1 missed, 1 false" in (tmp_path / "out/report.html").read_text()


def test_annotations_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="neither FDDB-folds"):
        open_dataset(tmp_path)
    folds = tmp_path / "FDDB-folds"
    folds.mkdir()
    (folds / "FDDB-fold-01-ellipseList.txt").write_text("a\n2\n1 2 0 3 4 1\n")
    with pytest.raises(ParameterError, match="faces of a are cut short"):
        open_dataset(tmp_path)
