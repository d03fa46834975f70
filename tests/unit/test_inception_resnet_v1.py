"""The imported Inception-ResNet-v1 answers as an independent implementation does.

The expected numbers are those of facenet-pytorch 2.6.0 on PyTorch 2.13 with the same made weights and pictures.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.models.importers import inception_resnet_v1
from embedding_calculator.models.importers.graph import Graph
from embedding_calculator.models.runtime import open_network

NAMES_AND_SHAPES = "85d43996164f0738f90bd2440a419cc4e039ac51722297849b04d89850589b3f"
EMBEDDINGS = np.array(
    [
        [-0.0110718, -0.0617302, 0.0470094, -0.0521199, 0.0772039, -0.0537122, -0.0026669, -0.0163049],
        [-0.0110095, -0.0617783, 0.0464754, -0.0516934, 0.0772680, -0.0542308, -0.0026774, -0.0164516],
    ]
)


def made(name: str, shape: tuple[int, ...]) -> Floats:
    """Weights that keep signals alive through all layers, the same wherever they are made."""
    uniform = np.random.default_rng(zlib.crc32(name.encode())).random(shape, np.float32) * 2 - 1
    if len(shape) > 1:
        return uniform * np.float32(np.sqrt(6 / np.prod(shape[1:])))
    if name.endswith(("bn.weight", "running_var")):
        return 1 + uniform * np.float32(0.3)
    return uniform * np.float32(0.1)


def test_answers_as_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, tuple[int, ...]] = {}

    def weight(_: Graph, name: str, shape: tuple[int, ...]) -> Floats:
        asked[name] = shape
        return made(name, shape)

    monkeypatch.setattr(inception_resnet_v1, "read_state", lambda _: {})
    monkeypatch.setattr(Graph, "weight", weight)
    inception_resnet_v1.convert([tmp_path / "weights.pt"], tmp_path / "network.onnx")
    lines = "\n".join(f"{name} {list(shape)}" for name, shape in sorted(asked.items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == NAMES_AND_SHAPES
    embeddings = open_network(tmp_path / "network.onnx").run(made("pictures", (2, 3, 160, 160)))["embedding"]
    assert embeddings.shape == (2, 512)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embeddings[:, ::64], EMBEDDINGS, atol=1e-5)
