"""The InsightFace family on real photos, against what the original component answered with the same weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.imaging.align import ARCFACE_112, Crop, cut
from embedding_calculator.imaging.chroma import decode_full_chroma, has_quarter_chroma
from embedding_calculator.imaging.decode import Limits, open_picture
from embedding_calculator.imaging.picture import ArrayPicture, Picture
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.importers import convert
from embedding_calculator.models.runtime import Model, open_network
from embedding_calculator.plugins.base import FaceBatch
from embedding_calculator.plugins.insightface import (
    AgeDetector,
    Calculator,
    FaceDetector,
    GenderAgeDetector,
    GenderDetector,
)

pytestmark = pytest.mark.integration

MAX_SIDE = 640
LARGE = 3_000
"""Photos wider than this are decoded at a fraction, where colours are as fine as brightness anyway."""

Open = Callable[[str], Model]


@pytest.fixture(scope="module")
def model(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """A catalogue entry, imported from the published files beside the repository."""
    catalog, folder = Catalog.load(), tmp_path_factory.mktemp("models")
    published = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in shared.glob("models/insightface/*/*")}

    def opened(name: str) -> Model:
        entry = catalog.entry(name)
        file = entry.files["network"]
        target = folder / f"{name}.onnx"
        if not target.exists():
            convert(file.importer, [published[part.sha256 or ""] for part in file.parts], target, file.options)
        return Model(name, entry.input, entry.parameters, {"network": open_network(target)})

    return opened


def opened(path: Path) -> Picture:
    data = path.read_bytes()
    picture = open_picture(data, limits=Limits(10**8, 10**8), apply_orientation=False)
    if max(picture.width, picture.height) < LARGE and has_quarter_chroma(data):
        return ArrayPicture(decode_full_chroma(data))
    return picture


def samples(shared: Path) -> Iterator[tuple[str, Picture, list[dict[str, Any]]]]:
    recorded = json.loads((shared / "data" / "recorded" / "insightface-mobilenet.json").read_text())
    for name, answer in recorded.items():
        if name != "/status":
            yield name, opened(shared / "data" / "samples" / name), answer.get("result", [])


def edges(face: dict[str, Any]) -> Floats:
    return np.array([face["box"][key] for key in ("x_min", "y_min", "x_max", "y_max")], np.float32)


def overlaps(box: Floats, boxes: Floats) -> Floats:
    shared = np.prod(np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(shared / (np.prod(box[2:] - box[:2]) + areas - shared), np.float32)


@dataclass(frozen=True)
class Agreement:
    """How our answers about the recorded faces agree with the recorded ones, one number a face."""

    overlap: Floats
    landmarks: Floats
    similarity: Floats
    years: Floats
    gender: Floats
    norm: Floats


@pytest.fixture(scope="module")
def agreement(shared: Path, model: Open) -> Agreement:
    detector = FaceDetector(model("retinaface_mnet025_v1"), MAX_SIDE)
    calculator, gender_age = Calculator(model("arcface_mobilefacenet")), GenderAgeDetector(model("genderage_v1"))
    rows = []
    for name, picture, expected in samples(shared):
        found = detector.detect(picture, detector.default_threshold)
        if not expected:
            assert len(found) == 0, f"{name} has no face"
            continue
        found = found[np.array([overlaps(edges(face), found.boxes).argmax() for face in expected])]
        crops: dict[Crop, Pixels] = {ARCFACE_112: cut(picture, ARCFACE_112, found.boxes, found.landmarks)}
        faces = FaceBatch(picture.width, picture.height, found, crops)
        embeddings, described = calculator(faces), gender_age(faces)
        for index, face in enumerate(expected):
            box, ours, theirs = edges(face), embeddings[index]["embedding"], np.array(face["embedding"])
            distance = np.linalg.norm(np.trunc(found.landmarks[index]) - face["landmarks"], axis=1).mean()
            norms = np.linalg.norm(ours), np.linalg.norm(theirs)
            rows.append(
                [
                    overlaps(box, found.boxes[index : index + 1])[0],
                    distance / (box[2:] - box[:2]).max(),
                    ours @ theirs / norms[0] / norms[1],
                    abs(described[index]["age"].low - face["age"]["low"]),
                    described[index]["gender"].value == face["gender"]["value"],
                    norms[0] / norms[1],
                ]
            )
    return Agreement(*np.array(rows, np.float32).T)


def test_every_face_is_found_where_the_original_found_it(agreement: Agreement) -> None:
    assert len(agreement.overlap) == 43
    assert agreement.overlap.min() > 0.9
    assert np.median(agreement.overlap) >= 0.99
    assert np.median(agreement.landmarks) <= 0.002
    assert agreement.landmarks.max() <= 0.02


def test_embeddings_match_those_that_the_original_stored(agreement: Agreement) -> None:
    assert np.median(agreement.similarity) >= 0.99
    assert agreement.similarity.min() >= 0.97
    np.testing.assert_allclose(agreement.norm, 1, atol=0.05)


def test_age_and_gender_are_those_of_the_original(agreement: Agreement) -> None:
    assert (agreement.years <= 1).mean() >= 0.95
    assert agreement.gender.mean() >= 0.98


class CountingNetwork:
    def __init__(self, model: Model) -> None:
        self._network = model.network
        self.runs = 0

    def run(self, batch: Floats) -> Any:
        self.runs += 1
        return self._network.run(batch)


def test_age_and_gender_of_a_picture_take_one_pass(shared: Path, model: Open) -> None:
    picture = opened(shared / "data" / "samples" / "000_5.jpg")
    found = FaceDetector(model("retinaface_mnet025_v1"), MAX_SIDE).detect(picture, 0.8)
    faces = FaceBatch(
        picture.width,
        picture.height,
        found,
        {ARCFACE_112: cut(picture, ARCFACE_112, found.boxes, found.landmarks)},
    )
    network = model("genderage_v1")
    counting = CountingNetwork(network)
    counted = Model(network.name, network.input, network.parameters, {"network": counting})
    ages, genders, both = (plugin(counted)(faces) for plugin in (AgeDetector, GenderDetector, GenderAgeDetector))
    assert counting.runs == 1
    assert [{**age, **gender} for age, gender in zip(ages, genders, strict=True)] == list(both)


@pytest.mark.parametrize("name", ["retinaface_mnet025_v2", "retinaface_mnet025_v1-rgb", "det_500m", "det_2.5g"])
def test_other_detectors_find_the_same_faces_and_points(shared: Path, model: Open, name: str) -> None:
    """The landmarks of ``retinaface_mnet025_v2``, which the original scaled wrongly, are right here."""
    detector = FaceDetector(model(name), MAX_SIDE)
    found_overlaps, distances, expected_faces = [], [], 0
    for sample, picture, expected in samples(shared):
        found = detector.detect(picture, detector.default_threshold)
        if not expected:
            assert len(found) == 0, sample
            continue
        expected_faces += len(expected)
        for face in expected:
            shares = overlaps(edges(face), found.boxes) if len(found) else np.zeros(1, np.float32)
            if shares.max() > 0.4:
                sides = edges(face)[2:] - edges(face)[:2]
                points = found.landmarks[shares.argmax()]
                found_overlaps.append(shares.max())
                distances.append(np.linalg.norm(points - face["landmarks"], axis=1).mean() / sides.max())
    assert len(found_overlaps) >= 0.9 * expected_faces
    assert np.median(found_overlaps) > 0.7
    assert np.median(distances) < 0.06
