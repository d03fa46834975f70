"""Arithmetic between tensors and with scalars, and what passes a tensor on unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from embedding_calculator.models.importers.mxnet.graph import Graph, Tensor
from embedding_calculator.models.importers.mxnet.symbol import Node

_FLOAT_TYPES = ("float16", "float32", "float64")


class Elementwise:
    """An operator that ONNX has under another name, with as many inputs as it likes, broadcast where they differ."""

    def __init__(self, operator: str) -> None:
        self._operator = operator

    def __call__(self, graph: Graph, _: Node, inputs: Sequence[Tensor]) -> Tensor:
        return graph.add(self._operator, inputs, rank=max(tensor.rank for tensor in inputs))


class WithScalar:
    """An operator between a tensor and the attribute ``scalar``; ``reverse`` puts the scalar first."""

    def __init__(self, operator: str, *, reverse: bool = False) -> None:
        self._operator = operator
        self._reverse = reverse

    def __call__(self, graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
        (data,) = inputs
        operands = [data, graph.floats(node.number("scalar"))]
        return graph.add(self._operator, operands[::-1] if self._reverse else operands, rank=data.rank)


def identity(_graph: Graph, _node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Nothing happens outside training."""
    return inputs[0]


def cast(_graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Between floating-point types nothing happens: the whole graph is float32."""
    dtype = node.text("dtype", "")
    if dtype not in _FLOAT_TYPES:
        raise node.refusal(f"dtype={dtype}")
    return inputs[0]


def clip(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Values kept between ``a_min`` and ``a_max``."""
    return graph.add("Clip", [*inputs, graph.floats(node.number("a_min")), graph.floats(node.number("a_max"))])
