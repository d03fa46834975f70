"""Classifiers of MXNet's Gluon model zoo, from their parameter files to ONNX, without MXNet.

A Gluon file has weights and no graph, so the networks are written here: MobileNetV2 (Sandler et al., 2018,
https://arxiv.org/abs/1801.04381) and ResNet-18 (He et al., 2015, https://arxiv.org/abs/1512.03385), with the names that
Gluon's ``save_parameters`` gives to ``mobilenet_v2_1_0`` and ``resnet18_v1``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.graph import Graph, fold_batch_norm
from embedding_calculator.models.importers.mxnet.params import read_params

_EPSILON = 1e-5
"""What batch normalisation adds to the variance, as Gluon does by default."""

_BOTTLENECKS = (
    *[(1, 16, 1)],
    *[(6, 24, 2), (6, 24, 1)],
    *[(6, 32, 2), *[(6, 32, 1)] * 2],
    *[(6, 64, 2), *[(6, 64, 1)] * 3],
    *[(6, 96, 1)] * 3,
    *[(6, 160, 2), *[(6, 160, 1)] * 2],
    *[(6, 320, 1)],
)
"""Of MobileNetV2: how much wider a block is inside, its channels, its stride."""

_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Of ResNet-18, two blocks each: channels, and the stride of the first."""


def convert(parts: Sequence[Path], target: Path, *, network: str, classes: int) -> None:
    """Write the ``.params`` file as float32 ONNX; ``network`` is ``mobilenet_v2_1_0`` or ``resnet18_v1``.

    Input ``image``: ``(N, 3, 224, 224)`` float32 RGB, standardised as its training did. Output ``probabilities``:
    ``(N, classes)``.

    Raises:
        ModelError: the file is damaged, or has not the weights of this network.
    """
    (part,) = parts
    if network not in _BUILDERS:
        raise ModelError(f"the Gluon network {network!r} is not supported; there are: {', '.join(_BUILDERS)}")
    layers = _Layers(Graph(read_params(part)))
    try:
        logits = _BUILDERS[network](layers, layers.graph.input("image", ["batch", 3, 224, 224]), classes)
    except (KeyError, ValueError) as error:
        raise ModelError(f"{part.name} has not the weights of {network}: {error}. Fetch it again.") from error
    layers.graph.output(layers.graph.node("Softmax", logits, axis=1), "probabilities", ["batch", classes])
    layers.graph.save(network, target)


class _Layers:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def convolution(
        self,
        value: str,
        name: str,
        normalisation: str,
        channels: tuple[int, int],
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> str:
        """Convolution without bias and batch normalisation, which goes into the convolution's numbers."""
        before, after = channels
        statistics = [
            self.graph.weight(f"{normalisation}.{part}", (after,))
            for part in ("gamma", "beta", "running_mean", "running_var")
        ]
        weight = self.graph.weight(f"{name}.weight", (after, before // groups, kernel, kernel))
        weight, bias = fold_batch_norm(weight, *statistics, epsilon=_EPSILON)
        return self.graph.node(
            "Conv",
            value,
            self.graph.constant(f"{name}.weight", weight),
            self.graph.constant(f"{name}.bias", bias),
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def relu6(self, value: str) -> str:
        lowest = self.graph.constant("zero", np.array(0, np.float32))
        highest = self.graph.constant("six", np.array(6, np.float32))
        return self.graph.node("Clip", value, lowest, highest)

    def flat_mean(self, value: str) -> str:
        return self.graph.node("Flatten", self.graph.node("GlobalAveragePool", value), axis=1)


def _mobilenet_v2(layers: _Layers, value: str, classes: int) -> str:
    channels = 32
    value = layers.relu6(layers.convolution(value, "features.0", "features.1", (3, channels), 3, 2))
    for number, (expansion, after, stride) in enumerate(_BOTTLENECKS, 3):
        name, wide = f"features.{number}.out", channels * expansion
        inner = layers.relu6(layers.convolution(value, f"{name}.0", f"{name}.1", (channels, wide)))
        inner = layers.relu6(layers.convolution(inner, f"{name}.3", f"{name}.4", (wide, wide), 3, stride, wide))
        inner = layers.convolution(inner, f"{name}.6", f"{name}.7", (wide, after))
        value = layers.graph.node("Add", inner, value) if stride == 1 and channels == after else inner
        channels = after
    value = layers.relu6(layers.convolution(value, "features.20", "features.21", (channels, 1280)))
    weight = layers.graph.weight("output.0.weight", (classes, 1280, 1, 1))[:, :, 0, 0]
    return layers.graph.node("Gemm", layers.flat_mean(value), layers.graph.constant("output.weight", weight), transB=1)


def _resnet18_v1(layers: _Layers, value: str, classes: int) -> str:
    node = layers.graph.node
    channels = 64
    value = node("Relu", layers.convolution(value, "features.0", "features.1", (3, channels), 7, 2))
    value = node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, (after, first_stride) in enumerate(_STAGES, 4):
        for block, stride in enumerate((first_stride, 1)):
            name = f"features.{stage}.{block}"
            inner = layers.convolution(value, f"{name}.body.0", f"{name}.body.1", (channels, after), 3, stride)
            inner = layers.convolution(node("Relu", inner), f"{name}.body.3", f"{name}.body.4", (after, after), 3)
            if channels != after:
                down = f"{name}.downsample"
                value = layers.convolution(value, f"{down}.0", f"{down}.1", (channels, after), 1, stride)
            value, channels = node("Relu", node("Add", inner, value)), after
    weight = layers.graph.constant("output.weight", layers.graph.weight("output.weight", (classes, channels)))
    bias = layers.graph.constant("output.bias", layers.graph.weight("output.bias", (classes,)))
    return node("Gemm", layers.flat_mean(value), weight, bias, transB=1)


_BUILDERS: Mapping[str, Callable[[_Layers, str, int], str]] = {
    "mobilenet_v2_1_0": _mobilenet_v2,
    "resnet18_v1": _resnet18_v1,
}
