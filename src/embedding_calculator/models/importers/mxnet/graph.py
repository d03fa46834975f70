"""The ONNX graph under construction, and the tensors that operators hand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.mxnet.params import Array

OPSET = 19  # AveragePool says since then what a window that hangs over the edge averages
_IR_VERSION = 9


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A value in the graph: its name, how many dimensions it has, and its content if that is known now."""

    name: str
    rank: int
    value: Array | None = None

    def constant(self) -> Array:
        """The content of a parameter.

        Raises:
            ModelError: it is computed, or is an input of the network.
        """
        if self.value is None:
            raise ModelError(f"{self.name} has to be a parameter with weights, and is not one")
        return self.value


@dataclass(slots=True)
class Graph:
    """Collects nodes and constants. Parameters keep their MXNet names; everything else is numbered."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    _names: int = 0

    def add(
        self, operator: str, inputs: Sequence[Tensor | None], *, rank: int | None = None, **attributes: Any
    ) -> Tensor:
        """One ONNX node; its only output, of ``rank`` dimensions or as many as the first input has."""
        names = ["" if tensor is None else self._use(tensor) for tensor in inputs]
        first = inputs[0]
        output = Tensor(self._name(operator.lower()), (first.rank if first else 0) if rank is None else rank)
        self.nodes.append(helper.make_node(operator, names, [output.name], output.name, **attributes))
        return output

    def floats(self, values: Array | float) -> Tensor:
        """A float32 constant."""
        array = np.asarray(values, np.float32)
        return Tensor(self._name("constant"), array.ndim, array)

    def integers(self, *values: int) -> Tensor:
        """A one-dimensional int64 constant, as shapes and axes are given."""
        return Tensor(self._name("constant"), 1, np.asarray(values, np.int64))

    def shape(self, tensor: Tensor, start: int, end: int | None = None) -> Tensor:
        """The lengths of dimensions ``start`` to before ``end``, known only when the network runs."""
        attributes = {"start": start} if end is None else {"start": start, "end": end}
        return self.add("Shape", [tensor], rank=1, **attributes)

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[tuple[Tensor, str]]) -> onnx.ModelProto:
        """The finished model: each of ``outputs`` under the name asked for, checked, with inferred shapes.

        Raises:
            ModelError: the graph does not fit together; the text is the checker's.
        """
        infos = []
        for tensor, name in outputs:
            self.nodes.append(helper.make_node("Identity", [self._use(tensor)], [name], name))
            shape = ["batch", *[None] * (tensor.rank - 1)]
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        graph = helper.make_graph(self.nodes, "mxnet", inputs, infos, list(self.constants.values()))
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="embedding-calculator",
        )
        content = model.SerializeToString()  # Given the model itself, either would make the same bytes for itself.
        try:
            onnx.checker.check_model(content)
            return onnx.shape_inference.infer_shapes(content, check_type=True, strict_mode=True, data_prop=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as cause:
            raise ModelError(f"the MXNet graph and its weights do not fit together: {cause}") from cause

    def _use(self, tensor: Tensor) -> str:
        if tensor.value is not None and tensor.name not in self.constants:
            self.constants[tensor.name] = numpy_helper.from_array(np.ascontiguousarray(tensor.value), tensor.name)
        return tensor.name

    def _name(self, stem: str) -> str:
        self._names += 1
        return f"{stem}__{self._names}"
