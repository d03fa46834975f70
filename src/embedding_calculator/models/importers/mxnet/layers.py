"""Layers with weights, pooling, activations and normalisations: MXNet's rules said in ONNX's operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embedding_calculator.models.importers.mxnet.graph import Graph, Tensor
from embedding_calculator.models.importers.mxnet.symbol import Node

_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}


def convolution(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Grouped, depthwise and dilated ones included; the layout has to be channels first."""
    if node.text("layout", "NCHW") != "NCHW":
        raise node.refusal(f"layout={node.attributes['layout']}")
    data, weight, *bias = inputs
    kernel, shape = node.integers("kernel"), weight.constant().shape
    if (*shape[:1], *shape[2:]) != (node.integer("num_filter"), *kernel):
        raise node.refusal(f"a weight of shape {shape}")
    ones = (1,) * len(kernel)
    return graph.add(
        "Conv",
        [data, weight, *([] if node.flag("no_bias", False) else bias)],
        kernel_shape=kernel,
        strides=node.integers("stride") or ones,
        dilations=node.integers("dilate") or ones,
        pads=(node.integers("pad") or (0,) * len(kernel)) * 2,
        group=node.integer("num_group", 1),
    )


def batch_norm(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """With the statistics learnt; ``fix_gamma``, which MXNet means unless told otherwise, makes every gamma 1."""
    if node.integer("axis", 1) != 1:
        raise node.refusal(f"axis={node.attributes['axis']}")
    data, gamma, beta, mean, variance = inputs
    if node.flag("fix_gamma", True):
        gamma = graph.floats(np.ones_like(gamma.constant()))
    return graph.add("BatchNormalization", [data, gamma, beta, mean, variance], epsilon=node.number("eps", 1e-3))


def fully_connected(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """A product with the transposed weight, over all but the batch or, with ``flatten=False``, over the last axis."""
    data, weight, *bias = inputs
    terms = [] if node.flag("no_bias", False) else bias
    if node.flag("flatten", True):
        flat = data if data.rank == 2 else graph.add("Flatten", [data], rank=2, axis=1)
        return graph.add("Gemm", [flat, weight, *terms], transB=1)
    product = graph.add("MatMul", [data, graph.floats(weight.constant().T)])
    return graph.add("Add", [product, *terms]) if terms else product


def activation(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """The activations without parameters."""
    kind = node.text("act_type", "")
    if kind not in _ACTIVATIONS:
        raise node.refusal(f"act_type={kind}")
    return graph.add(_ACTIVATIONS[kind], inputs)


def leaky_relu(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """``leaky``, ``elu``, ``selu``, and ``prelu`` with one slope or one a channel."""
    kind, slope = node.text("act_type", "leaky"), node.number("slope", 0.25)
    match kind:
        case "leaky":
            return graph.add("LeakyRelu", inputs, alpha=slope)
        case "elu":
            return graph.add("Elu", inputs, alpha=slope)
        case "selu":
            return graph.add("Selu", inputs)
        case "prelu":
            data, gamma = inputs
            slopes = gamma.constant()
            axes = (1,) * (data.rank - 2) if slopes.size > 1 else ()
            return graph.add("PRelu", [data, graph.floats(slopes.reshape(-1, *axes))])
        case _:
            raise node.refusal(f"act_type={kind}")


def pooling(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """``max`` and ``avg``, global or windowed; the ``full`` convention rounds the output's size up."""
    kind = node.text("pool_type", "max")
    if kind not in ("max", "avg"):
        raise node.refusal(f"pool_type={kind}")
    if node.flag("global_pool", False):
        return graph.add("GlobalMaxPool" if kind == "max" else "GlobalAveragePool", inputs)
    convention = node.text("pooling_convention", "valid")
    if convention not in ("valid", "full"):
        raise node.refusal(f"pooling_convention={convention}")
    kernel = node.integers("kernel")
    window: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": node.integers("stride") or (1,) * len(kernel),
        "pads": (node.integers("pad") or (0,) * len(kernel)) * 2,
        "ceil_mode": int(convention == "full"),
    }
    if kind == "max":
        return graph.add("MaxPool", inputs, **window)
    return graph.add("AveragePool", inputs, **window, count_include_pad=int(node.flag("count_include_pad", True)))


def softmax_activation(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Over the channels, or over everything that is one instance."""
    mode = node.text("mode", "instance")
    if mode not in ("instance", "channel"):
        raise node.refusal(f"mode={mode}")
    return graph.add("Softmax", inputs, axis=1) if mode == "channel" else _softmax_of_instances(graph, inputs[0])


def softmax_output(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """The softmax of a loss layer; its label, the second input, plays no part outside training."""
    data = inputs[0]
    if node.flag("multi_output", False):
        return graph.add("Softmax", [data], axis=1)
    if node.flag("preserve_shape", False):
        return graph.add("Softmax", [data], axis=-1)
    return _softmax_of_instances(graph, data)


def softmax(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Over one axis, after division by the temperature if there is one."""
    data, temperature = inputs[0], node.number("temperature", 1.0)
    if temperature != 1.0:
        data = graph.add("Div", [data, graph.floats(temperature)])
    return graph.add("Softmax", [data], axis=node.integer("axis", -1))


def l2_normalization(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Division by the root of the sum of squares and ``eps``: of an instance, over channels, or over positions."""
    (data,) = inputs
    axes = {"instance": range(1, data.rank), "channel": range(1, 2), "spatial": range(2, data.rank)}
    mode = node.text("mode", "instance")
    if mode not in axes:
        raise node.refusal(f"mode={mode}")
    squares = graph.add("ReduceSumSquare", [data, graph.integers(*axes[mode])], keepdims=1)
    length = graph.add("Sqrt", [graph.add("Add", [squares, graph.floats(node.number("eps", 1e-10))])])
    return graph.add("Div", [data, length])


def _softmax_of_instances(graph: Graph, data: Tensor) -> Tensor:
    if data.rank == 2:
        return graph.add("Softmax", [data], axis=1)
    flat = graph.add("Softmax", [graph.add("Flatten", [data], rank=2, axis=1)], axis=1)
    return graph.add("Reshape", [flat, graph.shape(data, 0)], rank=data.rank)
