"""Gluon's classifiers from the published file to an answer.

The expected numbers are those of MXNet 1.9.1 with the same made weights, its own resizing and normalising included.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from astronaut import face_batch

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ModelError
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.importers import gluon
from embedding_calculator.models.importers.graph import Graph
from embedding_calculator.models.sources import Sources
from embedding_calculator.models.store import Store
from embedding_calculator.plugins.insightface.facemask import MaskDetector
from made.mxnet import params_bytes
from publisher import republished, serving, zip_of

ANSWERS = {
    "mobilenet_v2_on_mafa_kaggle123": (
        [[0.1929652, 0.4483216, 0.3587131], [0.1919829, 0.4507815, 0.3572356]],
        ("with_mask", 0.4406353),
    ),
    "resnet18_on_mafa_kaggle123": (
        [[0.4931407, 0.2161845, 0.2906747], [0.4933027, 0.2163050, 0.2903924]],
        ("without_mask", 0.9992701),
    ),
}


def made(name: str, shape: tuple[int, ...]) -> Floats:
    """Weights that keep signals alive through all layers, the same wherever they are made."""
    uniform = np.random.default_rng(zlib.crc32(name.encode())).random(shape, np.float32) * 2 - 1
    factor = np.float32(0.1 if name.startswith("output") else 1)
    if len(shape) > 1:
        return uniform * np.float32(np.sqrt(6 / np.prod(shape[1:]))) * factor
    if name.endswith(("gamma", "running_var")):
        return 1 + uniform * np.float32(0.3)
    return uniform * np.float32(0.1) * factor


@pytest.mark.parametrize("name", ANSWERS)
def test_from_the_published_file_to_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    probabilities, (value, probability) = ANSWERS[name]
    entry = Catalog.load().entry(name)
    asked: dict[str, Floats] = {}

    def weight(_: Graph, name: str, shape: tuple[int, ...]) -> Floats:
        return asked.setdefault(name, made(name, shape))

    with monkeypatch.context() as patch:
        patch.setattr(gluon, "read_params", lambda _: {})
        patch.setattr(Graph, "weight", weight)
        gluon.convert([tmp_path / "none"], tmp_path / "none.onnx", **entry.files["network"].options)
    published = zip_of(**{"mask/best.params": params_bytes(asked)})
    store = Store(tmp_path / "models")
    with serving() as publisher:
        (source,) = entry.parts[0].sources
        entry = republished(entry, {str(source.url): published}, publisher)
        store.pull([entry], Sources())
    model = store.open(entry)
    pictures = made("pictures", (2, 3, 224, 224))
    np.testing.assert_allclose(model.network.run(pictures)["probabilities"], probabilities, atol=1e-5)
    detector = MaskDetector(model)
    masks = [fields["mask"] for fields in detector(face_batch(detector.crop, 2))]
    assert [mask.value for mask in masks] == [value] * 2
    assert [mask.probability for mask in masks] == pytest.approx([probability] * 2, abs=1e-4)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    part = tmp_path / "other.params"
    part.write_bytes(params_bytes({"features.0.weight": np.zeros((32, 3, 3, 3), np.float32)}))
    with pytest.raises(ModelError, match=r"other\.params has not the weights of resnet18_v1: 'features\.1\.gamma'"):
        gluon.convert([part], tmp_path / "network.onnx", network="resnet18_v1", classes=3)
    with pytest.raises(ModelError, match=r"'vgg11' is not supported; there are: mobilenet_v2_1_0, resnet18_v1"):
        gluon.convert([part], tmp_path / "network.onnx", network="vgg11", classes=3)
