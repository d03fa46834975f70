"""The three networks of MTCNN, from facenet-pytorch's state dicts to ONNX.

Architecture: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016
(https://arxiv.org/abs/1604.02878), with the layer sizes of its authors' published networks, whose weights these are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.graph import Graph
from embedding_calculator.models.importers.torch_state import read_state

Stage = Literal["pnet", "rnet", "onet"]


def convert(parts: Sequence[Path], target: Path, *, stage: Stage) -> None:
    """Write one stage as float32 ONNX.

    Input ``image``: ``(N, 3, H, W)`` float32 RGB, ``(pixel - 127.5) / 128``; H = W = 24 for ``rnet``, 48 for ``onet``,
    any size from 12 up for ``pnet``. Outputs: ``probability`` of a face, ``offsets`` of the box's four edges in units
    of its sides, and for ``onet`` ``landmarks``, five x then five y in the same units. Shapes are ``(N, 1)``,
    ``(N, 4)``, ``(N, 10)``; for ``pnet`` ``(N, 1, h, w)`` and ``(N, 4, h, w)``, one cell every two pixels.

    Raises:
        ModelError: the file is no such state dict.
    """
    (part,) = parts
    graph = Graph(read_state(part))
    try:
        _STAGES[stage](graph)
    except (KeyError, ValueError) as error:
        raise ModelError(f"{part.name} has not the weights of MTCNN's {stage}: {error}. Fetch it again.") from error
    graph.save(f"mtcnn_{stage}", target)


def _pnet(graph: Graph) -> None:
    value = graph.input("image", ["batch", 3, "height", "width"])
    value = _convolution(graph, value, 1, (10, 3, 3, 3))
    value = _pool(graph, value, 2)
    value = _convolution(graph, value, 2, (16, 10, 3, 3))
    value = _convolution(graph, value, 3, (32, 16, 3, 3))
    cells = ("batch", "rows", "columns")
    _output(graph, _probability(graph, value, "conv4_1", (32, 1, 1)), "probability", 1, cells)
    _output(graph, _affine(graph, value, "conv4_2", (4, 32, 1, 1)), "offsets", 4, cells)


def _rnet(graph: Graph) -> None:
    value = graph.input("image", ["batch", 3, 24, 24])
    value = _pool(graph, _convolution(graph, value, 1, (28, 3, 3, 3)), 3)
    value = _pool(graph, _convolution(graph, value, 2, (48, 28, 3, 3)), 3)
    value = _convolution(graph, value, 3, (64, 48, 2, 2))
    value = _dense(graph, value, 4, (128, 576))
    _output(graph, _probability(graph, value, "dense5_1", (128,)), "probability", 1)
    _output(graph, _affine(graph, value, "dense5_2", (4, 128)), "offsets", 4)


def _onet(graph: Graph) -> None:
    value = graph.input("image", ["batch", 3, 48, 48])
    value = _pool(graph, _convolution(graph, value, 1, (32, 3, 3, 3)), 3)
    value = _pool(graph, _convolution(graph, value, 2, (64, 32, 3, 3)), 3)
    value = _pool(graph, _convolution(graph, value, 3, (64, 64, 3, 3)), 2)
    value = _convolution(graph, value, 4, (128, 64, 2, 2))
    value = _dense(graph, value, 5, (256, 1152))
    _output(graph, _probability(graph, value, "dense6_1", (256,)), "probability", 1)
    _output(graph, _affine(graph, value, "dense6_2", (4, 256)), "offsets", 4)
    _output(graph, _affine(graph, value, "dense6_3", (10, 256)), "landmarks", 10)


_STAGES: Final[Mapping[str, Callable[[Graph], None]]] = {"pnet": _pnet, "rnet": _rnet, "onet": _onet}


def _convolution(graph: Graph, value: str, number: int, shape: tuple[int, ...]) -> str:
    value = _affine(graph, value, f"conv{number}", shape)
    slope = graph.weight(f"prelu{number}.weight", shape[:1])
    return graph.node("PRelu", value, graph.constant(f"prelu{number}", slope[:, None, None]))


def _dense(graph: Graph, value: str, number: int, shape: tuple[int, ...]) -> str:
    # The weights expect the picture's columns outermost, as in the authors' networks.
    value = graph.node("Flatten", graph.node("Transpose", value, perm=[0, 3, 2, 1]), axis=1)
    value = _affine(graph, value, f"dense{number}", shape)
    return graph.node(
        "PRelu", value, graph.constant(f"prelu{number}", graph.weight(f"prelu{number}.weight", shape[:1]))
    )


def _pool(graph: Graph, value: str, size: int) -> str:
    return graph.node("MaxPool", value, kernel_shape=[size, size], strides=[2, 2], ceil_mode=1)


def _probability(graph: Graph, value: str, layer: str, inputs: tuple[int, ...]) -> str:
    """The softmax of two values is, for the second, the sigmoid of their difference: one row of weights does."""
    weight, bias = graph.weight(f"{layer}.weight", (2, *inputs)), graph.weight(f"{layer}.bias", (2,))
    parameters = (
        graph.constant(f"{layer}.weight", weight[1:] - weight[:1]),
        graph.constant(f"{layer}.bias", bias[1:] - bias[:1]),
    )
    return graph.node("Sigmoid", _apply(graph, value, *parameters, convolution=len(inputs) == 3))


def _affine(graph: Graph, value: str, layer: str, shape: tuple[int, ...]) -> str:
    weight = graph.constant(f"{layer}.weight", graph.weight(f"{layer}.weight", shape))
    bias = graph.constant(f"{layer}.bias", graph.weight(f"{layer}.bias", shape[:1]))
    return _apply(graph, value, weight, bias, convolution=len(shape) == 4)


def _apply(graph: Graph, value: str, weight: str, bias: str, *, convolution: bool) -> str:
    return graph.node("Conv", value, weight, bias) if convolution else graph.node("Gemm", value, weight, bias, transB=1)


def _output(graph: Graph, value: str, name: str, channels: int, cells: tuple[str, ...] = ("batch",)) -> None:
    batch, *rest = cells
    graph.output(value, name, [batch, channels, *rest])
