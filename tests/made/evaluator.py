"""MXNet's graphs in plain numpy, operator by operator, without ONNX: a second opinion on what an import answers.

It is right itself: on the published networks it answers what MXNet answered (integration/test_mxnet_golden.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from embedding_calculator.arrays import Floats


def evaluate(document: dict[str, Any], arrays: Mapping[str, Any], pictures: Floats) -> dict[str, Floats]:
    """The graph's outputs by name, for ``(N, 3, H, W)`` pictures.

    ``arrays`` has the weights by name, with or without ``arg:`` and ``aux:`` before it.
    """
    params = {name.rpartition(":")[2]: array for name, array in arrays.items()}
    values: list[Any] = []
    for node in document["nodes"]:
        inputs = [values[source] for source, *_ in node["inputs"]]
        attributes = {key: _literal(value) for key, value in node.get("attrs", {}).items()}
        if node["op"] == "null":
            values.append(pictures if node["name"] == "data" else params[node["name"]])
        else:
            values.append(_FORMULAS[node["op"]](inputs, attributes))
    return {f"{document['nodes'][head]['name']}_output": values[head] for head, *_ in document["heads"]}


def _literal(value: str) -> Any:
    return ast.literal_eval(value) if value[0] in "(0123456789TF" else value


def _along_channels(vector: Floats, data: Floats) -> Floats:
    return vector.reshape(-1, *(1,) * (data.ndim - 2))


def _batch_norm(inputs: list[Any], attributes: dict[str, Any]) -> Floats:
    data, *vectors = inputs
    gamma, beta, mean, variance = (_along_channels(vector, data) for vector in vectors)
    scale = 1 if attributes["fix_gamma"] else gamma
    return np.asarray((data - mean) * scale / np.sqrt(variance + attributes.get("eps", 1e-3)) + beta, np.float32)


def _reshape(inputs: list[Any], attributes: dict[str, Any]) -> Floats:
    (data,) = inputs
    return np.reshape(data, [data.shape[i] if code == 0 else code for i, code in enumerate(attributes["shape"])])


def _windows(data: Floats, attributes: dict[str, Any], outside: float) -> Floats:
    """What every position of the kernel sees: ``(N, C, H, W, kernel, kernel)``."""
    pad, stride = attributes.get("pad", (0,))[0], attributes["stride"][0]
    padded = np.pad(data, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(padded, attributes["kernel"], (2, 3))
    return np.asarray(windows[:, :, ::stride, ::stride])


def _convolution(inputs: list[Any], attributes: dict[str, Any]) -> Floats:
    data, weight, *bias = inputs
    patches = _windows(data, attributes, 0)
    if weight.shape[1] == 1:
        answer = np.einsum("nchwkl,ckl->nchw", patches, weight[:, 0])
    else:
        answer = np.tensordot(patches, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return np.asarray(answer + bias[0][:, None, None] if bias else answer, np.float32)


def _fully_connected(inputs: list[Any], _: dict[str, Any]) -> Floats:
    data, weight, bias = inputs
    return np.asarray(data.reshape(len(data), -1) @ weight.T + bias)


def _pooling(inputs: list[Any], attributes: dict[str, Any]) -> Floats:
    (data,) = inputs
    if attributes.get("global_pool"):
        return np.asarray(data.mean((2, 3), keepdims=True))
    return np.asarray(_windows(data, attributes, -np.inf).max((4, 5)))


_FORMULAS: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "Convolution": _convolution,
    "BatchNorm": _batch_norm,
    "FullyConnected": _fully_connected,
    "Pooling": _pooling,
    "Reshape": _reshape,
    "_copy": lambda inputs, _: inputs[0],
    "Dropout": lambda inputs, _: inputs[0],
    "Flatten": lambda inputs, _: inputs[0].reshape(len(inputs[0]), -1),
    "Activation": lambda inputs, _: np.maximum(inputs[0], 0),
    "LeakyReLU": lambda inputs, _: np.where(
        inputs[0] > 0, inputs[0], _along_channels(inputs[1], inputs[0]) * inputs[0]
    ),
    "Concat": lambda inputs, attributes: np.concatenate(inputs, attributes["dim"]),
    "SoftmaxActivation": lambda inputs, _: np.exp(inputs[0]) / np.exp(inputs[0]).sum(1, keepdims=True),
    "UpSampling": lambda inputs, _: inputs[0].repeat(2, axis=2).repeat(2, axis=3),
    "Crop": lambda inputs, _: inputs[0][:, :, : inputs[1].shape[2], : inputs[1].shape[3]],
    "elemwise_add": lambda inputs, _: inputs[0] + inputs[1],
    "_minus_scalar": lambda inputs, attributes: inputs[0] - np.float32(attributes["scalar"]),
    "_mul_scalar": lambda inputs, attributes: inputs[0] * np.float32(attributes["scalar"]),
}
