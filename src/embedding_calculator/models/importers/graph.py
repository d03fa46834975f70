"""ONNX graphs written layer by layer from a table of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from embedding_calculator.arrays import Floats

_OPSET = 17
_IR_VERSION = 8

Shape = Sequence[int | str]
"""Of a graph's input or output: a number, or a word for a side that may differ from call to call."""


class Graph:
    """A graph in the making. Values are known by the names that ``node``, ``input`` and ``constant`` return."""

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._state = state
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def weight(self, name: str, shape: tuple[int, ...]) -> Floats:
        """A tensor of the state dict as float32.

        Raises:
            KeyError: there is none of that name.
            ValueError: it has another shape.
        """
        array = self._state[name]
        if array.shape != shape:
            raise ValueError(f"{name} has the shape {array.shape} instead of {shape}")
        return np.ascontiguousarray(array, np.float32)

    def input(self, name: str, shape: Shape) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, value: str, name: str, shape: Shape) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self._constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        value = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [value], **attributes))
        return value

    def save(self, name: str, target: Path) -> None:
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, target)


def fold_batch_norm(
    weight: Floats, gamma: Floats, beta: Floats, mean: Floats, variance: Floats, *, epsilon: float
) -> tuple[Floats, Floats]:
    """The weight and bias of a layer that does what one without bias and the batch normalisation behind it did.

    ``weight`` is ``(C, ...)``, C the channels that come out; the others are ``(C,)``. ``epsilon`` is what the
    framework adds to the variance. Computed in float64. Ioffe, Szegedy: "Batch Normalization", 2015
    (https://arxiv.org/abs/1502.03167).
    """
    factor = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return folded.astype(np.float32), (beta - mean * factor).astype(np.float32)
