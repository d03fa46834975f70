"""Today's InsightFace packs: ONNX networks with the signatures of the published ones, zipped as they are."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from made.weights import Weights

_IRESNETS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
_STAGES = ((128, 0, 2, 128), (128, 128, 8, 128), (256, 256, 12, 256), (256, 512, 4, 256))
"""MobileFaceNet's: filters, inner width of the block that halves the size, further blocks, their inner width."""
_ARCFACE_INPUT: tuple[int | str, ...] = ("None", 3, 112, 112)


def zipped(members: Mapping[str, bytes], folder: str = "") -> bytes:
    """A zip as the publishers make them; ``folder`` is where all of it lies inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"{folder}/{name}" if folder else name, content)
    return buffer.getvalue()


@dataclass
class Graph:
    """An ONNX graph under construction, as PyTorch exports one: numbered names, opset 11.

    A layer is its name; normalisation that follows a convolution is part of it, as export leaves it.
    """

    weights: Weights
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    channels: dict[str, int] = field(default_factory=lambda: {"input.1": 3})

    def add(self, operator: str, inputs: Sequence[str], name: str = "", channels: int = 0, **attributes: Any) -> str:
        """A node; returns its output, which is called ``name`` or has a number."""
        output = name or str(len(self.nodes) + 1000)
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        self.channels[output] = channels or self.channels[inputs[0]]
        return output

    def constant(self, values: Any) -> str:
        """Weights; float32 unless they are whole numbers."""
        array = np.asarray(values)
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def convolution(
        self, data: str, filters: int, kernel: int, stride: int = 1, groups: int = 1, scale: float = 1.0
    ) -> str:
        """With bias, padded so that a stride of one keeps the size; a 7x7 kernel is not padded."""
        pad = kernel // 2 if kernel < 7 else 0
        weight = self.weights.layer((filters, self.channels[data] // groups, kernel, kernel)) * np.float32(scale)
        inputs = [data, self.constant(weight), self.constant(self.weights.normal((filters,), 0.1))]
        window: dict[str, Any] = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "pads": [pad] * 4,
            "dilations": [1, 1],
        }
        return self.add("Conv", inputs, channels=filters, group=groups, **window)

    def prelu(self, data: str) -> str:
        """A slope for every channel."""
        slopes = self.weights.positive((self.channels[data], 1, 1)) * np.float32(0.25)
        return self.add("PRelu", [data, self.constant(slopes)])

    def batch_norm(self, data: str, name: str = "") -> str:
        """Normalisation that no convolution precedes."""
        shape = (self.channels[data],)
        positive, normal = self.weights.positive, self.weights.normal
        vectors = [positive(shape), normal(shape, 0.1), normal(shape, 0.1), positive(shape)]
        return self.add("BatchNormalization", [data, *map(self.constant, vectors)], name, epsilon=1e-5, momentum=0.9)

    def embedding(self, data: str, positions: int, name: str) -> str:
        """Everything in one row, and that into 512 normalised numbers."""
        flat = self.add("Flatten", [data], axis=1)
        weight = self.weights.layer((512, self.channels[data] * positions))
        inputs = [flat, self.constant(weight), self.constant(self.weights.normal((512,), 0.1))]
        return self.batch_norm(self.add("Gemm", inputs, channels=512, alpha=1.0, beta=1.0, transB=1), name)

    def serialise(self, shape: Sequence[int | str], outputs: Mapping[str, Sequence[int | str]]) -> bytes:
        """The finished model: the input's shape, and every output's."""
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in outputs.items()
        ]
        picture = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, list(shape))
        graph = helper.make_graph(self.nodes, "torch-jit-export", [picture], values, self.constants)
        opset = helper.make_opsetid("", 11)
        return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=6).SerializeToString())


def iresnet(layers: int, output: str, seed: int) -> bytes:
    """``w600k_r50`` and ``glintr100``: 512 numbers of 112x112 pixels from -1 to 1, by a residual network with PReLU.

    The published files call the output ``683`` and ``1333``, and say that it is for one picture.
    """
    graph = Graph(Weights(seed))
    body = graph.prelu(graph.convolution("input.1", 64, 3))
    for width, units in zip((64, 128, 256, 512), _IRESNETS[layers], strict=True):
        for unit in range(units):
            stride = 1 if unit else 2
            inner = graph.prelu(graph.convolution(graph.batch_norm(body), width, 3))
            inner = graph.convolution(inner, width, 3, stride, scale=0.2)
            body = graph.add("Add", [inner, body if unit else graph.convolution(body, width, 1, stride)])
    graph.embedding(graph.batch_norm(body), 49, output)
    return graph.serialise(_ARCFACE_INPUT, {output: [1, 512]})


def mobile(output: str = "516", seed: int = 7) -> bytes:
    """``w600k_mbf``: 512 numbers of 112x112 pixels from -1 to 1, by MobileFaceNet of double width and depth.

    The depth is inferred from the size of the published file.
    """
    graph = Graph(Weights(seed))

    def bottleneck(data: str, filters: int, inner: int, stride: int) -> str:
        wide = graph.prelu(graph.convolution(data, inner, 1))
        narrow = graph.prelu(graph.convolution(wide, inner, 3, stride, inner))
        return graph.convolution(narrow, filters, 1, scale=0.4)

    body = graph.prelu(graph.convolution("input.1", 128, 3, 2))
    for filters, widening, blocks, inner in _STAGES:
        if widening:
            body = bottleneck(body, filters, widening, 2)
        for _ in range(blocks):
            body = graph.add("Add", [body, bottleneck(body, filters, inner, 1)])
    body = graph.prelu(graph.convolution(body, 512, 1))
    graph.embedding(graph.convolution(body, 512, 7, groups=512), 1, output)
    return graph.serialise(_ARCFACE_INPUT, {output: [1, 512]})


def scrfd_10g(seed: int = 8) -> bytes:
    """``det_10g``: SCRFD-10GF with five points, for one picture of any size from -1 to 1.

    Widths are those of https://arxiv.org/abs/2105.04714: a residual backbone of 56, 88, 88 and 224 channels, a pyramid
    of 56 with paths down and up, and three layers of 80 shared by the answers of a stride. Names and shapes of the nine
    outputs are the published file's, which promises the rows of a 640x640 picture whatever it is given.
    """
    graph = Graph(Weights(seed))

    def unit(data: str, filters: int, kernel: int = 3, stride: int = 1) -> str:
        return graph.add("Relu", [graph.convolution(data, filters, kernel, stride)])

    body = unit(unit(unit("input.1", 28, stride=2), 28), 56)
    body = graph.add("MaxPool", [body], kernel_shape=[2, 2], strides=[2, 2])
    levels = []
    for width, units in ((56, 3), (88, 4), (88, 2), (224, 3)):
        for index in range(units):
            stride = 2 if width != 56 and index == 0 else 1
            inner = graph.convolution(unit(body, width, 3, stride), width, 3, scale=0.3)
            shortcut = body if index else graph.convolution(body, width, 1, stride)
            body = graph.add("Relu", [graph.add("Add", [inner, shortcut])])
        levels.append(body)
    lateral = [graph.convolution(level, 56, 1) for level in levels[1:]]
    for index in (1, 0):
        lateral[index] = graph.add("Add", [lateral[index], _doubled(graph, lateral[index + 1])])
    fused = [graph.convolution(level, 56, 3) for level in lateral]
    for index in (1, 2):
        fused[index] = graph.add("Add", [fused[index], graph.convolution(fused[index - 1], 56, 3, 2)])
    pyramid = [fused[0], *(graph.convolution(level, 56, 3) for level in fused[1:])]
    names = {1: ("448", "471", "494"), 4: ("451", "474", "497"), 10: ("454", "477", "500")}
    for index, level in enumerate(pyramid):
        features = unit(unit(unit(level, 80), 80), 80)
        for width, outputs in names.items():
            answer = graph.convolution(features, 2 * width, 3, scale=0.3)
            if width == 1:
                none = graph.constant(np.full((1, 2, 1, 1), -3, np.float32))  # most cells see no face
                answer = graph.add("Sigmoid", [graph.add("Add", [answer, none])])
            last = graph.add("Transpose", [answer], perm=[0, 2, 3, 1])
            graph.add("Reshape", [last, graph.constant(np.array([-1, width]))], outputs[index])
    shapes = {name: [2 * (80 >> index) ** 2, width] for width, row in names.items() for index, name in enumerate(row)}
    return graph.serialise((1, 3, "?", "?"), shapes)


def _doubled(graph: Graph, data: str) -> str:
    sides = graph.constant(np.array([1, 1, 2, 2], np.float32))
    none = graph.constant(np.zeros(0, np.float32))
    modes: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.add("Resize", [data, none, sides], **modes)
