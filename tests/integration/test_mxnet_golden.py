"""The published MXNet networks, imported, against what MXNet 1.9.1 itself answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.models.importers.mxnet import convert
from embedding_calculator.models.importers.mxnet.params import read_params
from embedding_calculator.models.runtime import Network, open_network
from made.arcface import mobilefacenet
from made.evaluator import evaluate

pytestmark = pytest.mark.integration

FACE_NETWORKS = ["arcface_mobilefacenet", "genderage_v1"]
DETECTORS = ["retinaface_mnet025_v1", "retinaface_mnet025_v2"]


def files(shared: Path, name: str) -> list[Path]:
    (symbol,) = (shared / "models" / "insightface" / name).glob("*-symbol.json")
    (params,) = symbol.parent.glob("*.params")
    return [symbol, params]


def imported(shared: Path, name: str, folder: Path) -> Network:
    convert(files(shared, name), folder / "network.onnx")
    return open_network(folder / "network.onnx")


def golden(shared: Path, name: str) -> tuple[Floats, dict[str, Floats]]:
    stored = dict(np.load(shared / "models" / "golden" / f"{name}.npz"))
    (pictures,) = (stored.pop(key) for key in list(stored) if key.startswith("input"))
    return pictures.reshape(-1, *pictures.shape[-3:]).transpose(0, 3, 1, 2).astype(np.float32), stored


@pytest.mark.parametrize("name", FACE_NETWORKS + DETECTORS)
@pytest.mark.parametrize("count", [1, 8])
def test_answers_are_those_of_mxnet(shared: Path, tmp_path: Path, name: str, count: int) -> None:
    pictures, expected = golden(shared, name)
    answers = imported(shared, name, tmp_path).run(np.resize(pictures, (count, *pictures.shape[1:])))
    assert answers.keys() == expected.keys()
    for key, answer in answers.items():
        np.testing.assert_allclose(answer, np.resize(expected[key], answer.shape), atol=1e-4)


def by_hand(shared: Path, name: str, pictures: Floats) -> dict[str, Floats]:
    symbol, params = files(shared, name)
    return evaluate(json.loads(symbol.read_bytes()), read_params(params), pictures)


@pytest.mark.parametrize("name", FACE_NETWORKS + DETECTORS)
def test_the_evaluation_by_hand_is_right(shared: Path, name: str) -> None:
    """It is what made networks are compared with, so it has to answer what MXNet answered."""
    pictures, expected = golden(shared, name)
    by_numpy = by_hand(shared, name, pictures)
    assert by_numpy.keys() == expected.keys()
    for key, answer in expected.items():
        np.testing.assert_allclose(by_numpy[key], answer, atol=1e-4)


def test_the_made_mobilefacenet_is_the_published_graph(shared: Path) -> None:
    symbol, params = files(shared, "arcface_mobilefacenet")
    made, published = mobilefacenet(), json.loads(symbol.read_bytes())

    def layers(document: Any) -> list[tuple[str, str]]:
        return [(node["op"], node["name"]) for node in document["nodes"] if node["op"] != "null"]

    assert layers(made.document) == layers(published)
    shapes = {name.partition(":")[2]: array.shape for name, array in made.arrays.items()}
    assert shapes == {name: array.shape for name, array in read_params(params).items()}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_answers_rightly_at_a_size_that_no_stride_divides(shared: Path, tmp_path: Path, name: str) -> None:
    pictures, _ = golden(shared, name)
    smaller = np.ascontiguousarray(pictures[:, :, 20:215, 41:310])
    by_numpy = by_hand(shared, name, smaller)
    for key, answer in imported(shared, name, tmp_path).run(smaller).items():
        np.testing.assert_allclose(answer, by_numpy[key], atol=1e-4)
