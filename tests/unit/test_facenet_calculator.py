"""FaceNet from the published file to the embedding of a face.

The expected numbers are those of TensorFlow 2.21 with the same made weights, on the face as scikit-image resizes it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from astronaut import face_batch
from test_inception_resnet_v1 import made
from test_torch_state import StateDict, Storage, archive, tensor

from embedding_calculator.arrays import Floats
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.importers import inception_resnet_v1
from embedding_calculator.models.importers.graph import Graph
from embedding_calculator.models.sources import Sources
from embedding_calculator.models.store import Store
from embedding_calculator.plugins.base import Calculator as CalculatorProtocol
from embedding_calculator.plugins.facenet import Calculator
from embedding_calculator.plugins.prewhitening import prewhitened
from publisher import republished, serving

EMBEDDING = [0.0234638, -0.0803119, 0.0320635, -0.0542922, 0.0319631, -0.0359146, -0.0182245, -0.0295171]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A file as PyTorch saves it, with every weight of the architecture."""
    asked: dict[str, Floats] = {}

    def weight(_: Graph, name: str, shape: tuple[int, ...]) -> Floats:
        return asked.setdefault(name, made(name, shape))

    with monkeypatch.context() as patch:
        patch.setattr(inception_resnet_v1, "read_state", lambda _: {})
        patch.setattr(Graph, "weight", weight)
        inception_resnet_v1.convert([tmp_path / "none.pt"], tmp_path / "none.onnx")
    state = StateDict()
    storages: dict[str, bytes] = {}
    for number, (name, array) in enumerate(asked.items()):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        state[name] = tensor(Storage("FloatStorage", str(number), array.size), 0, array.shape, strides)
        storages[f"_{number}"] = array.tobytes()
    return archive(tmp_path / "weights.pt", state, zipfile.ZIP_STORED, **storages).read_bytes()


def test_from_the_published_file_to_an_embedding(tmp_path: Path, weights: bytes) -> None:
    entry = Catalog.load().find("facenet.Calculator")
    assert entry.name == "20180402-114759"
    store = Store(tmp_path / "models")
    with serving() as publisher:
        (source,) = entry.parts[0].sources
        entry = republished(entry, {str(source.url): weights}, publisher)
        store.pull([entry], Sources())
    calculator = Calculator(store.open(entry))
    assert isinstance(calculator, CalculatorProtocol)
    assert calculator.similarity_coefficients == (1.1817961, 5.291995557)
    assert calculator.difference_threshold == 0.4
    embeddings = [fields["embedding"] for fields in calculator(face_batch(calculator.crop, 2))]
    assert len(embeddings) == 2
    for embedding in embeddings:
        assert embedding.shape == (512,)
        assert embedding.dtype == np.float32
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(embedding[::64], EMBEDDING, atol=5e-4)


def test_every_face_is_whitened_for_itself() -> None:
    rng = np.random.default_rng(0)
    crops = np.stack([rng.integers(0, 40, (16, 16, 3)), rng.integers(0, 256, (16, 16, 3)), np.full((16, 16, 3), 9)])
    white = prewhitened(crops.astype(np.uint8))
    assert white.shape == (3, 3, 16, 16)
    assert white.dtype == np.float32
    np.testing.assert_allclose(white.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(white.std(axis=(1, 2, 3)), [1, 1, 0], atol=1e-5)
    # The original's formula, of pixels from 0 to 1.
    face = crops[1] / 255
    np.testing.assert_allclose(white[1].transpose(1, 2, 0), (face - face.mean()) / face.std(), atol=1e-5)
    # A faint pattern stays faint: its deviation is less than 1 / sqrt(N).
    faint = np.full((1, 16, 16, 3), 100, np.uint8)
    faint[0, 0, 0] = 101
    assert prewhitened(faint).max() == pytest.approx(1 / 255 * np.sqrt(16 * 16 * 3), rel=0.01)
