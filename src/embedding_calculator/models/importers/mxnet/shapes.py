"""Operators that move values about without computing: all of them for shapes known only when the network runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedding_calculator.models.importers.mxnet.graph import Graph, Tensor
from embedding_calculator.models.importers.mxnet.symbol import Node

_TO_THE_END = 2**63 - 1


def concat(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """One after the other along ``dim``."""
    return graph.add("Concat", inputs, axis=node.integer("dim", 1))


def flatten(graph: Graph, _: Node, inputs: Sequence[Tensor]) -> Tensor:
    """All but the batch in one row."""
    return graph.add("Flatten", inputs, rank=2, axis=1)


def transpose(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Axes in the order of ``axes``, or reversed."""
    axes = node.integers("axes") or tuple(reversed(range(inputs[0].rank)))
    return graph.add("Transpose", inputs, perm=axes)


def slice_axis(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """From ``begin`` to before ``end`` of one axis; either may count from the end."""
    end = _TO_THE_END if node.text("end", "None") == "None" else node.integer("end")
    axis = graph.integers(node.integer("axis"))
    return graph.add("Slice", [inputs[0], graph.integers(node.integer("begin")), graph.integers(end), axis])


def up_sampling(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Every value repeated ``scale`` times in both directions."""
    sample_type, scale = node.text("sample_type", ""), node.integer("scale")
    if sample_type != "nearest" or len(inputs) != 1:
        raise node.refusal(f"sample_type={sample_type} and {len(inputs)} inputs")
    return graph.add(
        "Resize",
        [inputs[0], None, graph.floats(np.array([1, 1, scale, scale]))],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def crop(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Rows and columns cut to ``h_w`` or to another tensor's size, from ``offset`` or around the centre."""
    data = inputs[0]
    size = graph.shape(inputs[1], 2, 4) if len(inputs) == 2 else graph.integers(*node.integers("h_w"))
    if node.flag("center_crop", False):
        spare = graph.add("Sub", [graph.shape(data, 2, 4), size])
        start = graph.add("Div", [spare, graph.integers(2, 2)])
    else:
        start = graph.integers(*(node.integers("offset") or (0, 0)))
    end = graph.add("Add", [start, size])
    return graph.add("Slice", [data, start, end, graph.integers(2, 3)])


def reshape(graph: Graph, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """MXNet's codes: 0 copies a dimension, -1 is what remains, -2 copies all others, -3 merges two, -4 splits one.

    Unlike ONNX's, MXNet's codes walk along the input's dimensions, so the shape is computed when the network runs,
    from those dimensions.
    """
    data, codes = inputs[0], list(node.integers("shape"))
    if not codes or node.flag("reverse", False):
        raise node.refusal("an older or reversed shape")
    lengths: list[Tensor] = []
    rank = source = 0
    while codes:
        code = codes.pop(0)
        if code == -2:
            lengths.append(graph.shape(data, source))
            rank, source = rank + data.rank - source, data.rank
            continue
        if code >= -1 and code != 0:
            lengths.append(graph.integers(code))
            source += 1
        elif code == 0:
            lengths.append(graph.shape(data, source, source + 1))
            source += 1
        elif code == -3:
            pair = [graph.shape(data, source, source + 1), graph.shape(data, source + 1, source + 2)]
            lengths.append(graph.add("Mul", pair))
            source += 2
        elif code == -4 and len(codes) >= 2:
            lengths += _split(graph, node, graph.shape(data, source, source + 1), codes.pop(0), codes.pop(0))
            rank, source = rank + 1, source + 1
        else:
            raise node.refusal(f"shape={node.attributes['shape']}")
        rank += 1
    return graph.add("Reshape", [data, graph.add("Concat", lengths, axis=0)], rank=rank)


def _split(graph: Graph, node: Node, length: Tensor, first: int, second: int) -> list[Tensor]:
    """Two factors of a length, one of which may be -1: what the other leaves."""
    if first == -1 and second > 0:
        factor = graph.integers(second)
        return [graph.add("Div", [length, factor]), factor]
    if first > 0 and (second > 0 or second == -1):
        factor = graph.integers(first)
        return [factor, graph.add("Div", [length, factor])]
    raise node.refusal(f"shape={node.attributes['shape']}")
