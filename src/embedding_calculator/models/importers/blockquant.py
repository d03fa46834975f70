"""Weight-only, block-quantised ONNX to plain float32 ONNX.

OpenCV's model zoo publishes its networks also with the weights stored as 8-bit blocks, each followed by a
``DequantizeLinear`` and a ``Reshape``. That saves bytes on the way here and nothing afterwards: engines run the same
float arithmetic and only start slower. So whatever depends on constants alone is computed once, by the reference
implementation that ONNX itself ships.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.onnx import read_model

_IR_VERSION = 10
"""The format that goes with opset 21, the first to know blocks; the published files still declare 6."""


def convert(parts: Sequence[Path], target: Path, *, dynamic_size: bool = False) -> None:
    """Write ``parts[0]`` to ``target`` as float32 ONNX that takes any number of pictures at once.

    With ``dynamic_size`` the network also takes pictures of any height and width, which is only true of networks
    that are convolutions all the way through.

    Raises:
        ModelError: the file is no ONNX, keeps its weights elsewhere, or has not exactly one input. Damage beyond that
            is told by ONNX's own tools, in any type.
    """
    (source,) = parts
    model = read_model(source)
    graph = model.graph

    _fold_constants(graph, model.opset_import)
    _keep_real_inputs(graph)
    if len(graph.input) != 1:
        raise ModelError(f"{source.name} has {len(graph.input)} inputs where one, the picture, was expected")
    _free_batch_in_reshapes(graph)
    _declare_shapes(graph, dynamic_size)

    model.ir_version = max(model.ir_version, _IR_VERSION)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def _fold_constants(graph: onnx.GraphProto, opsets: Sequence[onnx.OperatorSetIdProto]) -> None:
    """Replace every node that depends on constants alone by what it computes; drop constants nobody reads then."""
    known = {tensor.name for tensor in graph.initializer}
    folded, kept = [], []
    for node in graph.node:
        if all(name in known for name in node.input):
            folded.append(node)
            known.update(node.output)
        else:
            kept.append(node)

    read = {name for node in kept for name in node.input}
    results = [name for node in folded for name in node.output if name in read]
    constants = onnx.helper.make_model(
        onnx.helper.make_graph(
            folded,
            "constants",
            [],
            [onnx.ValueInfoProto(name=name) for name in results],
            graph.initializer,
        ),
        opset_imports=opsets,
    )
    values = ReferenceEvaluator(constants).run(None, {})
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    tensors += [numpy_helper.from_array(value, name) for name, value in zip(results, values, strict=True)]

    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors)


def _keep_real_inputs(graph: onnx.GraphProto) -> None:
    """Old exporters list weights among the inputs, even such as block quantisation has renamed since."""
    constants = {tensor.name for tensor in graph.initializer}
    read = {name for node in graph.node for name in node.input} - constants
    real = [value for value in graph.input if value.name in read]
    del graph.input[:]
    graph.input.extend(real)


def _free_batch_in_reshapes(graph: onnx.GraphProto) -> None:
    """``(1, -1, C)`` becomes ``(0, -1, C)``: keep the batch instead of insisting on one."""
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        if tensor.name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            if shape[0] == 1:
                shape[0] = 0
                tensor.CopyFrom(numpy_helper.from_array(shape.astype(np.int64), tensor.name))


def _declare_shapes(graph: onnx.GraphProto, dynamic_size: bool) -> None:
    """Name the free axes, and forget the sizes inferred for the published input."""
    del graph.value_info[:]
    batch, _, height, width = graph.input[0].type.tensor_type.shape.dim
    batch.dim_param = "batch"
    if dynamic_size:
        height.dim_param, width.dim_param = "height", "width"
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "batch"
        if dynamic_size:
            output.type.tensor_type.shape.dim[1].dim_param = f"cells_{output.name}"
