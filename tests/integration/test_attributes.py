"""Age and gender of people whose age and gender are known."""

from __future__ import annotations

import csv
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.imaging.align import Crop, cut
from embedding_calculator.imaging.picture import Raster
from embedding_calculator.models.runtime import Model, open_network
from embedding_calculator.models.spec import InputSpec
from embedding_calculator.plugins.base import Detections, FaceBatch, FacePlugin
from embedding_calculator.plugins.dlib_zoo import AgeDetector, GenderDetector
from embedding_calculator.plugins.dlib_zoo.chip import CHIP

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Photo:
    """A picture already decoded."""

    pixels: Pixels

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def raster(self, scale: float) -> Raster:
        return Raster(self.pixels, 1.0, 1.0)


@pytest.fixture(scope="session")
def networks() -> Path:
    """A folder with ``age-v1.onnx``, ``gender-v1.onnx`` and ``yunet.onnx``."""
    folder = os.environ.get("EC_NETWORKS")
    if not folder:
        pytest.skip("needs EC_NETWORKS, a folder of networks")
    return Path(folder)


def open_model(networks: Path, name: str) -> Model:
    catalogue = resources.files("embedding_calculator.models") / "catalog" / "dlib_zoo.toml"
    (entry,) = (e for e in tomllib.loads(catalogue.read_text())["model"] if e["name"] == name)
    file = entry["files"]["network"]["parts"][0]["filename"]
    given = entry["input"]
    spec = InputSpec(tuple(given["size"]), given["colour"], tuple(given["mean"]), tuple(given["scale"]))
    return Model(name, spec, entry["parameters"], {"network": open_network(networks / file)})


class Analyser:
    """Faces by YuNet on a canvas of 640, then age and gender."""

    def __init__(self, networks: Path) -> None:
        self._yunet = cv2.FaceDetectorYN.create(str(networks / "yunet.onnx"), "", (640, 640), 0.6, 0.3)
        self._plugins: list[FacePlugin] = [
            AgeDetector(open_model(networks, "dnn_age_predictor_v1")),
            GenderDetector(open_model(networks, "dnn_gender_classifier_v1")),
        ]

    def detect(self, photo: Photo) -> Detections:
        scale = 640 / max(photo.width, photo.height)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas = cv2.resize(photo.pixels, None, fx=scale, fy=scale, interpolation=method)
        self._yunet.setInputSize(canvas.shape[1::-1])
        rows = self._yunet.detect(canvas[..., ::-1])[1]
        found: Floats = np.zeros((0, 15), np.float32) if rows is None else rows.astype(np.float32)
        found = found[np.argsort(-found[:, 2] * found[:, 3])]
        found[:, :14] /= np.float32(scale)
        boxes = np.hstack([found[:, :2], found[:, :2] + found[:, 2:4]])
        return Detections(boxes, found[:, 14], found[:, 4:14].reshape(-1, 5, 2))

    def describe(self, photo: Photo, detections: Detections) -> list[Mapping[str, Any]]:
        crops: dict[Crop, Pixels] = {CHIP: cut(photo, CHIP, detections.boxes, detections.landmarks)}
        faces = FaceBatch(photo.width, photo.height, detections, crops)
        answers = [plugin(faces) for plugin in self._plugins]
        return [{**age, **gender} for age, gender in zip(*answers, strict=True)]


@pytest.fixture(scope="session")
def analyser(networks: Path) -> Analyser:
    return Analyser(networks)


def read(path: Path, pad: int = 0) -> Photo:
    with Image.open(path) as image:
        image.draft("RGB", (1200, 1200))
        return Photo(np.pad(np.asarray(image.convert("RGB")), ((pad, pad), (pad, pad), (0, 0))))


def test_persons_of_the_samples(shared: Path, analyser: Analyser) -> None:
    with (shared / "data/samples/persons.csv").open() as file:
        persons = list(csv.DictReader(file))
    errors = []
    for person in persons:
        photo = read(shared / "data/samples" / person["image"])
        answer = analyser.describe(photo, analyser.detect(photo)[:1])[0]
        assert answer["gender"].value == person["gender"], person["image"]
        assert answer["gender"].probability > 0.5
        errors.append(abs((answer["age"].low + answer["age"].high) / 2 - int(person["age"])))
    assert np.mean(errors) < 8


def test_many_faces_get_the_answers_they_get_alone(shared: Path, analyser: Analyser) -> None:
    photo = read(shared / "data/samples/000_5.jpg")
    faces = analyser.detect(photo)
    assert len(faces) >= 5
    together = analyser.describe(photo, faces)
    for index, answer in enumerate(together):
        (alone,) = analyser.describe(photo, faces[index : index + 1])
        assert answer["gender"].value == alone["gender"].value
        assert answer["gender"].probability == pytest.approx(alone["gender"].probability, abs=1e-4)
        assert (answer["age"].low, answer["age"].high) == (alone["age"].low, alone["age"].high)


def test_nobody_is_no_age_and_no_gender(shared: Path, analyser: Analyser) -> None:
    photo = read(shared / "data/samples/017_0.jpg")
    assert analyser.describe(photo, analyser.detect(photo)[:0]) == []


@pytest.mark.performance
def test_portraits_of_all_ages(shared: Path, analyser: Analyser) -> None:
    with (shared / "data/utkface/labels.csv").open() as file:
        labels = list(csv.DictReader(file))
    years = np.array([int(label["age"]) for label in labels])
    estimates, ranges, stated, right = [], [], [], []
    for label in labels:
        photo = read(shared / "data/utkface/images" / label["image"], pad=60)
        answer = analyser.describe(photo, analyser.detect(photo)[:1])[0]
        age = answer["age"]
        estimates.append((age.low + age.high) / 2)
        ranges.append(age.low <= int(label["age"]) <= age.high)
        stated.append(age.probability)
        right.append(answer["gender"].value == label["gender"])
    errors = np.abs(np.array(estimates) - years)
    by_decade = {int(d) * 10: round(float(errors[years // 10 == d].mean()), 1) for d in np.unique(years // 10)}
    gender = np.array(right)[years >= 16].mean()
    print(f"age error {errors.mean():.2f} years, by decade {by_decade}; gender from 16 on {gender:.3f}")
    print(f"ranges hold the age {np.mean(ranges):.2f}, say {np.mean(stated):.2f}")
    assert errors.mean() <= 8.0
    assert gender >= 0.90
    assert abs(np.mean(ranges) - np.mean(stated)) < 0.12
