"""TensorFlow's frozen graphs (``.pb``) to ONNX. Needs the extra ``import-tensorflow``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.tensorflow_graph import tensorflow, write


def convert(
    parts: Sequence[Path],
    target: Path,
    *,
    image: str,
    output: str,
    size: tuple[int, int],
    flags: Mapping[str, bool] | None = None,
) -> None:
    """Write what leads from the node ``image`` to the node ``output`` as float32 ONNX.

    Whatever fed ``image``, such as a queue of training pictures, is cut away; the picture is of ``size``, width and
    height in pixels. ``flags`` are nodes that say how the network shall run, as FaceNet's ``phase_train``: what
    depends on one is decided here, and the branches not taken are cut away too.

    Raises:
        ModelError: the file is damaged, lacks one of the nodes, or has an operator that is not known; or the extra is
            not installed.
    """
    tf = tensorflow()
    from google.protobuf.message import DecodeError

    (part,) = parts
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(part.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{part.name} is not a frozen TensorFlow graph: {error}. Fetch it again.") from error
    nodes = {node.name: node for node in graph.node}
    flags = flags or {}
    if absent := [name for name in (image, output, *flags) if name not in nodes]:
        raise ModelError(f"{part.name} has no node {absent[0]!r}")
    picture = tf.compat.v1.NodeDef(name=image, op="Placeholder")
    picture.attr["dtype"].type = tf.float32.as_datatype_enum
    picture.attr["shape"].shape.CopyFrom(tf.TensorShape([None, size[1], size[0], 3]).as_proto())
    nodes[image].CopyFrom(picture)
    try:
        _decide(nodes, flags)
    except (CycleError, KeyError) as error:
        raise ModelError(f"{part.name} is not a whole graph without loops: {error}") from error
    write(tf.compat.v1.graph_util.extract_sub_graph(graph, [output]), f"{image}:0", f"{output}:0", target)


def _decide(nodes: Mapping[str, Any], flags: Mapping[str, bool]) -> None:
    """Turn every ``Switch`` and ``Merge`` that depends on ``flags`` into the way taken; nothing waits for others then.

    A ``Switch`` passes its first input on at output 1 where its second is true, else at output 0; the other output is
    dead, and so is what follows from it. A ``Merge`` passes on the one input that is alive.
    """
    order = TopologicalSorter({name: [_source(value) for value in node.input] for name, node in nodes.items()})
    truth = dict(flags)
    dead: set[str] = set()  # nodes without any answer, and tensors (NODE:OUTPUT) that are the way not taken
    decided = {}  # node -> the one input that it passes on
    for name in order.static_order():
        node = nodes[name]
        alive = [value for value in node.input if not {_source(value), _tensor(value)} & dead]
        if node.op == "Merge" and len(alive) == 1:
            decided[name] = alive[0]
        elif len(alive) < (1 if node.op == "Merge" else len(node.input)):
            dead.add(name)
        elif node.op == "Switch" and _source(node.input[1]) in truth:
            decided[name] = node.input[0]
            dead.add(f"{name}:{0 if truth[_source(node.input[1])] else 1}")
        if node.op in {"Identity", "Switch"} and _source(node.input[0]) in truth:
            truth[name] = truth[_source(node.input[0])]
    for name, node in nodes.items():
        passed = [decided[name]] if name in decided else node.input
        inputs = [_source(value) if _source(value) in decided else value for value in passed if value[0] != "^"]
        if name in decided:
            node.op = "Identity"
            node.attr.pop("N", None)
        node.attr.pop("_class", None)  # which nodes were to share a device
        del node.input[:]
        node.input.extend(inputs)


def _source(value: str) -> str:
    """The node that an input names: ``NODE``, ``NODE:OUTPUT``, or ``^NODE`` where it only waits for it."""
    return value.removeprefix("^").partition(":")[0]


def _tensor(value: str) -> str:
    """The tensor that an input names; output 0 goes by its node's bare name."""
    return value if ":" in value else f"{value}:0"
