"""MXNet's ``symbol.json`` and ``.params`` to ONNX, without MXNet.

The networks of the original's InsightFace plugins are published in this format. Needs nothing beyond ``onnx``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.mxnet.graph import Graph, Tensor
from embedding_calculator.models.importers.mxnet.operators import OPERATORS
from embedding_calculator.models.importers.mxnet.params import Array, read_params
from embedding_calculator.models.importers.mxnet.symbol import Node, Symbol, read_symbol


def convert(
    parts: Sequence[Path],
    target: Path,
    *,
    outputs: list[str] | None = None,
    input_size: tuple[int, int] | None = None,
) -> None:
    """Write a network published as ``[symbol.json, params]`` to ``target`` as float32 ONNX.

    ``outputs`` names what the network shall answer, as MXNet names it (``fc1_output``); the default is the graph's own
    outputs. The input is ``(N, 3, H, W)`` for any N; ``input_size`` is (width, height) where the network takes only
    one, otherwise height and width stay open.

    Raises:
        ModelError: a file is damaged, an operator is unknown, or graph and weights do not fit together.
    """
    symbol_path, params_path = parts
    symbol = read_symbol(symbol_path)
    if outputs is not None:
        symbol = symbol.select(outputs)
    params = read_params(params_path)
    onnx.save(_translate(symbol, params, input_size), target)


def _translate(symbol: Symbol, params: dict[str, Array], input_size: tuple[int, int] | None) -> onnx.ModelProto:
    graph = Graph()
    needed = symbol.needed()
    data = _input_name([symbol.nodes[index] for index in needed], params)
    tensors: dict[int, Tensor] = {}
    for index in needed:
        node = symbol.nodes[index]
        if node.name == data:
            tensors[index] = Tensor(data, 4)
        elif node.is_variable:
            # A variable without content is the label of a loss; whoever wants its content says what is missing.
            tensors[index] = _parameter(node.name, params[node.name]) if node.name in params else Tensor(node.name, 1)
        else:
            tensors[index] = _operator(graph, node, [_first(symbol, tensors, source) for source in node.inputs])
    width, height = input_size or ("width", "height")
    image = helper.make_tensor_value_info(data, TensorProto.FLOAT, ["batch", 3, height, width])
    return graph.model([image], [_output(symbol, tensors, head) for head in symbol.heads])


def _input_name(nodes: list[Node], params: dict[str, Array]) -> str:
    """The variable that is the picture: the first that has no weights; others may be labels of a loss."""
    for node in nodes:
        if node.is_variable and node.name not in params:
            return node.name
    raise ModelError("the MXNet graph has no input: every variable of it is among the weights")


def _parameter(name: str, value: Array) -> Tensor:
    if not np.issubdtype(value.dtype, np.floating):
        raise ModelError(f"the MXNet parameter {name!r} holds {value.dtype}, not floating-point numbers")
    return Tensor(name, value.ndim, value.astype(np.float32, copy=False))


def _operator(graph: Graph, node: Node, inputs: list[Tensor]) -> Tensor:
    emit = OPERATORS.get(node.operator)
    if emit is None:
        raise ModelError(f"MXNet operator {node.operator} (node {node.name!r}) is not supported")
    try:
        return emit(graph, node, inputs)
    except (ValueError, IndexError) as cause:
        raise node.refusal(f"{len(inputs)} inputs: {cause}") from cause


def _first(symbol: Symbol, tensors: dict[int, Tensor], source: tuple[int, int]) -> Tensor:
    """The tensor a node reads; only first outputs exist, further ones are for training or not imported."""
    index, output = source
    if output != 0:
        raise symbol.nodes[index].refusal(f"output {output} in use")
    return tensors[index]


def _output(symbol: Symbol, tensors: dict[int, Tensor], head: tuple[int, int]) -> tuple[Tensor, str]:
    return _first(symbol, tensors, head), f"{symbol.nodes[head[0]].name}_output"
