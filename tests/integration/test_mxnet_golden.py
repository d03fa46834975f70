"""The published MXNet networks, imported, against what MXNet 1.9.1 itself answered."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.models.importers.mxnet import convert
from embedding_calculator.models.importers.mxnet.params import read_params
from embedding_calculator.models.runtime import Network, open_network

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


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_answers_rightly_at_a_size_that_no_stride_divides(shared: Path, tmp_path: Path, name: str) -> None:
    pictures, expected = golden(shared, name)
    by_numpy = evaluate(shared, name, pictures)
    for key, answer in expected.items():
        np.testing.assert_allclose(by_numpy[key], answer, atol=1e-4)
    smaller = np.ascontiguousarray(pictures[:, :, 20:215, 41:310])
    by_numpy = evaluate(shared, name, smaller)
    for key, answer in imported(shared, name, tmp_path).run(smaller).items():
        np.testing.assert_allclose(answer, by_numpy[key], atol=1e-4)


def evaluate(shared: Path, name: str, pictures: Floats) -> dict[str, Floats]:
    """The detector's graph in plain numpy, operator by operator, without ONNX: a second opinion."""
    symbol, params_path = files(shared, name)
    document, params = json.loads(symbol.read_bytes()), read_params(params_path)
    values: list[Any] = []
    for node in document["nodes"]:
        inputs = [values[source] for source, *_ in node["inputs"]]
        attributes = {key: literal(value) for key, value in node.get("attrs", {}).items()}
        if node["op"] == "null":
            values.append(pictures if node["name"] == "data" else params[node["name"]])
        else:
            values.append(FORMULAS[node["op"]](inputs, attributes))
    return {f"{document['nodes'][head]['name']}_output": values[head] for head, *_ in document["heads"]}


def literal(value: str) -> Any:
    return ast.literal_eval(value) if value[0] in "(0123456789TF" else value


def batch_norm(inputs: list[Any], attributes: dict[str, Any]) -> Floats:
    data, gamma, beta, mean, variance = (array if array.ndim == 4 else array[:, None, None] for array in inputs)
    scale = 1 if attributes["fix_gamma"] else gamma
    return np.asarray((data - mean) * scale / np.sqrt(variance + attributes.get("eps", 1e-3)) + beta, np.float32)


def reshape(inputs: list[Any], attributes: dict[str, Any]) -> Floats:
    (data,) = inputs
    return np.reshape(data, [data.shape[i] if code == 0 else code for i, code in enumerate(attributes["shape"])])


def convolution(inputs: list[Any], attributes: dict[str, Any]) -> Floats:
    data, weight, *bias = inputs
    pad, stride = attributes["pad"][0], attributes["stride"][0]
    padded = np.pad(data, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    if weight.shape[1] == 1:
        answer = np.einsum("nchwkl,ckl->nchw", patches, weight[:, 0])
    else:
        answer = np.tensordot(patches, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return np.asarray(answer + bias[0][:, None, None] if bias else answer, np.float32)


FORMULAS: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "Convolution": convolution,
    "BatchNorm": batch_norm,
    "Reshape": reshape,
    "Activation": lambda inputs, _: np.maximum(inputs[0], 0),
    "Concat": lambda inputs, attributes: np.concatenate(inputs, attributes["dim"]),
    "SoftmaxActivation": lambda inputs, _: np.exp(inputs[0]) / np.exp(inputs[0]).sum(1, keepdims=True),
    "UpSampling": lambda inputs, _: inputs[0].repeat(2, axis=2).repeat(2, axis=3),
    "Crop": lambda inputs, _: inputs[0][:, :, : inputs[1].shape[2], : inputs[1].shape[3]],
    "elemwise_add": lambda inputs, _: inputs[0] + inputs[1],
    "_minus_scalar": lambda inputs, attributes: inputs[0] - np.float32(attributes["scalar"]),
    "_mul_scalar": lambda inputs, attributes: inputs[0] * np.float32(attributes["scalar"]),
}
