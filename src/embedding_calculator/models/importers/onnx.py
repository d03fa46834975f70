"""A model that is published as ONNX already: checked, its batch freed, otherwise as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from embedding_calculator.errors import ModelError


def convert(parts: Sequence[Path], target: Path, *, dynamic_batch: bool = True) -> None:
    """Write the one ONNX file ``parts`` to ``target``.

    With ``dynamic_batch`` a fixed first dimension of input and outputs is made free.
    Raises ModelError where the file is no valid ONNX or keeps its weights in files beside it.
    """
    (source,) = parts
    model = read_model(source)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"not a valid ONNX model: {error}") from error
    if dynamic_batch:
        _free_batch(model.graph)
    onnx.save(model, target)


def read_model(path: Path) -> onnx.ModelProto:
    """The model of an ONNX file that has its weights in itself.

    Raises:
        ModelError: the file is no ONNX, or names other files for its weights.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{path.name} is damaged or no ONNX model: {error}") from error
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        raise ModelError("the ONNX file keeps its weights in other files; a single file is needed")
    return model


def _free_batch(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if value.name not in weights and dimensions and dimensions[0].dim_value == 1:
            dimensions[0].dim_param = "batch"
    # Shapes noted in between still say one; engines infer them anew.
    del graph.value_info[:]
