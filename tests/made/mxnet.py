"""A writer of MXNet's ``symbol.json`` and ``.params``, and of graphs in the words of MXNet's Python interface."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from made.weights import Weights

Arrays = Mapping[str, np.ndarray[Any, Any]]

_TYPE_FLAGS = {"float32": 0, "float64": 1, "float16": 2, "int32": 4}


def params_bytes(arrays: Arrays, layout: int = 2) -> bytes:
    """A ``.params`` file; ``layout`` 0 is the oldest, 2 that of MXNet 1.x."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        if layout == 2:
            parts.append(struct.pack("<Ii", 0xF993FAC9, 0))
        elif layout == 1:
            parts.append(struct.pack("<I", 0xF993FAC8))
        parts.append(struct.pack(f"<I{array.ndim}{'q' if layout else 'I'}", array.ndim, *array.shape))
        parts.append(struct.pack("<iii", 1, 0, _TYPE_FLAGS[array.dtype.name]) + array.tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    parts += [struct.pack("<Q", len(name)) + name.encode() for name in arrays]
    return b"".join(parts)


@dataclass(frozen=True)
class Published:
    """A network as it is published: the graph, and the weights under the names they have in the file."""

    document: dict[str, Any]
    arrays: Arrays

    @property
    def symbol(self) -> bytes:
        """The content of ``symbol.json``."""
        return json.dumps(self.document, indent=2).encode()

    @property
    def params(self) -> bytes:
        """The content of the ``.params`` file."""
        return params_bytes(self.arrays)

    @property
    def numbers(self) -> int:
        """How many weights there are."""
        return sum(array.size for array in self.arrays.values())


@dataclass
class Symbol:
    """A graph under construction. A layer is the index of its node; its weights are made as it is added.

    MXNet writes a layer's attributes at its weights' nodes too, every attribute as text, and counts nameless
    operators: ``_plus0``, ``_plus1``.
    """

    weights: Weights
    nodes: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    channels: dict[int, int] = field(default_factory=dict)
    _sums: count[int] = field(default_factory=count)
    _crops: count[int] = field(default_factory=count)

    def variable(self, name: str, **attributes: str) -> int:
        """An input or a weight."""
        return self._node("null", name, [], attributes)

    def picture(self, *, identity: bool = False, normalise: bool = True) -> int:
        """``data``, three channels, 0 to 255; ``normalise`` to -1 to 1, as most of these graphs do themselves."""
        layer = self.variable("data")
        self.channels[layer] = 3
        if identity:
            layer = self.layer("_copy", "id", [layer])
        if normalise:
            layer = self.layer("_minus_scalar", "_minusscalar0", [layer], scalar="127.5")
            layer = self.layer("_mul_scalar", "_mulscalar0", [layer], scalar="0.0078125")
        return layer

    def layer(self, operator: str, name: str, inputs: Sequence[int], **attributes: str) -> int:
        """An operator without weights, with as many channels as its first input."""
        index = self._node(operator, name, inputs, attributes)
        self.channels[index] = self.channels[inputs[0]]
        return index

    def convolution(
        self,
        name: str,
        data: int,
        filters: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int = 0,
        groups: int | None = None,
        bias: bool = False,
        scale: float = 1.0,
        **more: str,
    ) -> int:
        """``groups`` as many as channels is depthwise; None leaves the attribute out. ``scale`` is the weights'."""
        attributes = {"kernel": f"({kernel}, {kernel})", "num_filter": str(filters)}
        attributes |= {"pad": f"({pad}, {pad})", "stride": f"({stride}, {stride})"} | more
        if not bias:
            attributes["no_bias"] = "True"
        if groups is not None:
            attributes["num_group"] = str(groups)
        weight = self.weights.layer((filters, self.channels[data] // (groups or 1), kernel, kernel)) * np.float32(scale)
        inputs = [data, self._weight(f"{name}_weight", weight, attributes)]
        if bias:
            inputs.append(self._weight(f"{name}_bias", self.weights.normal((filters,), 0.1), attributes))
        index = self._node("Convolution", name, inputs, attributes)
        self.channels[index] = filters
        return index

    def batch_norm(
        self, name: str, data: int, *, fix_gamma: bool = False, scale: float = 1.0, **attributes: str
    ) -> int:
        """With gammas around ``scale``, not one even where they are to be ignored, as published files have them."""
        shape = (self.channels[data],)
        attributes = {"fix_gamma": str(fix_gamma), "momentum": "0.9"} | attributes
        inputs = [
            data,
            self._weight(f"{name}_gamma", self.weights.positive(shape) * np.float32(scale), attributes),
            self._weight(f"{name}_beta", self.weights.normal(shape, 0.1), attributes),
            self._statistic(f"{name}_moving_mean", self.weights.normal(shape, 0.1), attributes, "zero"),
            self._statistic(f"{name}_moving_var", self.weights.positive(shape), attributes, "one"),
        ]
        index = self._node("BatchNorm", name, inputs, attributes)
        self.channels[index] = self.channels[data]
        return index

    def prelu(self, name: str, data: int) -> int:
        """A slope for every channel."""
        slopes = self.weights.positive((self.channels[data],)) * np.float32(0.25)
        gamma = self._weight(f"{name}_gamma", slopes, {"__init__": '["Constant", {"value": 0.25}]'})
        return self.layer("LeakyReLU", name, [data, gamma], act_type="prelu")

    def relu(self, name: str, data: int) -> int:
        """Without weights."""
        return self.layer("Activation", name, [data], act_type="relu")

    def add(self, one: int, other: int) -> int:
        """The sum of two layers."""
        return self.layer("elemwise_add", f"_plus{next(self._sums)}", [one, other])

    def crop_like(self, data: int, like: int) -> int:
        """The first layer cut to the second one's height and width."""
        return self.layer("Crop", f"crop{next(self._crops)}", [data, like], num_args="2")

    def fully_connected(self, name: str, data: int, outputs: int, inputs: int, *, weight: str | None = None) -> int:
        """Of all ``inputs`` numbers of a picture; the weight may have a name of its own."""
        matrix = self._weight(weight or f"{name}_weight", self.weights.layer((outputs, inputs)), {})
        bias = self._weight(f"{name}_bias", self.weights.normal((outputs,), 0.1), {})
        index = self._node("FullyConnected", name, [data, matrix, bias], {"num_hidden": str(outputs)})
        self.channels[index] = outputs
        return index

    def published(self, *outputs: int, version: int = 10200) -> Published:
        """The finished graph with these outputs, as this version of MXNet writes it."""
        rows = list(range(len(self.nodes) + 1))
        variables = [index for index, node in enumerate(self.nodes) if node["op"] == "null"]
        document = {
            "nodes": self.nodes,
            "arg_nodes": variables,
            "node_row_ptr": rows,
            "heads": [[output, 0, 0] for output in outputs],
            "attrs": {"mxnet_version": ["int", version]},
        }
        return Published(document, self.arrays)

    def _weight(self, name: str, array: np.ndarray[Any, Any], attributes: Mapping[str, str]) -> int:
        self.arrays[f"arg:{name}"] = array
        return self.variable(name, **attributes)

    def _statistic(self, name: str, array: np.ndarray[Any, Any], attributes: Mapping[str, str], start: str) -> int:
        self.arrays[f"aux:{name}"] = array
        return self.variable(name, **attributes, __init__=f'["{start}", {{}}]')

    def _node(self, operator: str, name: str, inputs: Sequence[int], attributes: Mapping[str, str]) -> int:
        node: dict[str, Any] = {"op": operator, "name": name}
        if attributes:
            node["attrs"] = dict(sorted(attributes.items()))
        node["inputs"] = [[source, 0, 0] for source in inputs]
        self.nodes.append(node)
        return len(self.nodes) - 1
