"""FaceNet's Inception-ResNet-v1, from facenet-pytorch's state dicts to ONNX.

Architecture: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", 2016
(https://arxiv.org/abs/1602.07261), with 512 outputs as in the FaceNet networks of 2018, whose weights these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.graph import Graph, fold_batch_norm
from embedding_calculator.models.importers.torch_state import read_state

_EPSILON = 0.001
"""What batch normalisation adds to the variance, as TensorFlow does by default."""


def convert(parts: Sequence[Path], target: Path) -> None:
    """Write the network as float32 ONNX.

    Input ``image``: ``(N, 3, 160, 160)`` float32 RGB, standardised as its training did. Output ``embedding``:
    ``(N, 512)``, of length one. The classifier that the state dicts also hold is left out.

    Raises:
        ModelError: the file is no such state dict.
    """
    (part,) = parts
    network = _Network(Graph(read_state(part)))
    try:
        network.build()
    except (KeyError, ValueError) as error:
        raise ModelError(f"{part.name} has not the weights of Inception-ResNet-v1: {error}. Fetch it again.") from error
    network.graph.save("inception_resnet_v1", target)


class _Network:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def build(self) -> None:
        value = self.graph.input("image", ["batch", 3, 160, 160])
        value = self._stem(value)
        for number in range(5):
            value = self._block35(value, f"repeat_1.{number}")
        value = self._reduce_6a(value)
        for number in range(10):
            value = self._block17(value, f"repeat_2.{number}")
        value = self._reduce_7a(value)
        for number in range(5):
            value = self._block8(value, f"repeat_3.{number}", scale=0.2)
        value = self._block8(value, "block8", scale=1.0, relu=False)
        value = self.graph.node("Flatten", self.graph.node("GlobalAveragePool", value), axis=1)
        self.graph.output(self._embedding(value), "embedding", ["batch", 512])

    def _stem(self, value: str) -> str:
        value = self._convolution(value, "conv2d_1a", (32, 3, 3, 3), stride=2)
        value = self._convolution(value, "conv2d_2a", (32, 32, 3, 3))
        value = self._convolution(value, "conv2d_2b", (64, 32, 3, 3), pad=(1, 1))
        value = self._pool(value)
        value = self._convolution(value, "conv2d_3b", (80, 64, 1, 1))
        value = self._convolution(value, "conv2d_4a", (192, 80, 3, 3))
        return self._convolution(value, "conv2d_4b", (256, 192, 3, 3), stride=2)

    def _block35(self, value: str, name: str) -> str:
        first = self._convolution(value, f"{name}.branch0", (32, 256, 1, 1))
        second = self._convolution(value, f"{name}.branch1.0", (32, 256, 1, 1))
        second = self._convolution(second, f"{name}.branch1.1", (32, 32, 3, 3), pad=(1, 1))
        third = self._convolution(value, f"{name}.branch2.0", (32, 256, 1, 1))
        third = self._convolution(third, f"{name}.branch2.1", (32, 32, 3, 3), pad=(1, 1))
        third = self._convolution(third, f"{name}.branch2.2", (32, 32, 3, 3), pad=(1, 1))
        return self._residual(value, [first, second, third], name, (256, 96, 1, 1), 0.17)

    def _block17(self, value: str, name: str) -> str:
        first = self._convolution(value, f"{name}.branch0", (128, 896, 1, 1))
        second = self._convolution(value, f"{name}.branch1.0", (128, 896, 1, 1))
        second = self._convolution(second, f"{name}.branch1.1", (128, 128, 1, 7), pad=(0, 3))
        second = self._convolution(second, f"{name}.branch1.2", (128, 128, 7, 1), pad=(3, 0))
        return self._residual(value, [first, second], name, (896, 256, 1, 1), 0.1)

    def _block8(self, value: str, name: str, *, scale: float, relu: bool = True) -> str:
        first = self._convolution(value, f"{name}.branch0", (192, 1792, 1, 1))
        second = self._convolution(value, f"{name}.branch1.0", (192, 1792, 1, 1))
        second = self._convolution(second, f"{name}.branch1.1", (192, 192, 1, 3), pad=(0, 1))
        second = self._convolution(second, f"{name}.branch1.2", (192, 192, 3, 1), pad=(1, 0))
        return self._residual(value, [first, second], name, (1792, 384, 1, 1), scale, relu=relu)

    def _reduce_6a(self, value: str) -> str:
        first = self._convolution(value, "mixed_6a.branch0", (384, 256, 3, 3), stride=2)
        second = self._convolution(value, "mixed_6a.branch1.0", (192, 256, 1, 1))
        second = self._convolution(second, "mixed_6a.branch1.1", (192, 192, 3, 3), pad=(1, 1))
        second = self._convolution(second, "mixed_6a.branch1.2", (256, 192, 3, 3), stride=2)
        return self.graph.node("Concat", first, second, self._pool(value), axis=1)

    def _reduce_7a(self, value: str) -> str:
        first = self._convolution(value, "mixed_7a.branch0.0", (256, 896, 1, 1))
        first = self._convolution(first, "mixed_7a.branch0.1", (384, 256, 3, 3), stride=2)
        second = self._convolution(value, "mixed_7a.branch1.0", (256, 896, 1, 1))
        second = self._convolution(second, "mixed_7a.branch1.1", (256, 256, 3, 3), stride=2)
        third = self._convolution(value, "mixed_7a.branch2.0", (256, 896, 1, 1))
        third = self._convolution(third, "mixed_7a.branch2.1", (256, 256, 3, 3), pad=(1, 1))
        third = self._convolution(third, "mixed_7a.branch2.2", (256, 256, 3, 3), stride=2)
        return self.graph.node("Concat", first, second, third, self._pool(value), axis=1)

    def _embedding(self, value: str) -> str:
        weight = self.graph.weight("last_linear.weight", (512, 1792))
        parameters = self._folded("last_linear", weight, "last_bn")
        value = self.graph.node("Gemm", value, *parameters, transB=1)
        return self.graph.node("LpNormalization", value, axis=1, p=2)

    def _convolution(
        self, value: str, name: str, shape: tuple[int, int, int, int], *, stride: int = 1, pad: tuple[int, int] = (0, 0)
    ) -> str:
        """Convolution, batch normalisation and ReLU; the normalisation goes into the convolution's numbers."""
        parameters = self._folded(name, self.graph.weight(f"{name}.conv.weight", shape), f"{name}.bn")
        value = self.graph.node("Conv", value, *parameters, strides=[stride, stride], pads=[*pad, *pad])
        return self.graph.node("Relu", value)

    def _residual(
        self, value: str, branches: list[str], name: str, shape: tuple[int, ...], scale: float, *, relu: bool = True
    ) -> str:
        """What the branches say together, by ``scale``, added to what came in."""
        weight = self.graph.weight(f"{name}.conv2d.weight", shape) * np.float32(scale)
        bias = self.graph.weight(f"{name}.conv2d.bias", shape[:1]) * np.float32(scale)
        parameters = [self.graph.constant(f"{name}.weight", weight), self.graph.constant(f"{name}.bias", bias)]
        change = self.graph.node("Conv", self.graph.node("Concat", *branches, axis=1), *parameters)
        value = self.graph.node("Add", value, change)
        return self.graph.node("Relu", value) if relu else value

    def _pool(self, value: str) -> str:
        return self.graph.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2])

    def _folded(self, name: str, weight: Floats, normalisation: str) -> list[str]:
        """The constants ``name.weight`` and ``name.bias`` of a layer and the batch normalisation behind it."""
        statistics = [
            self.graph.weight(f"{normalisation}.{part}", weight.shape[:1])
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        weight, bias = fold_batch_norm(weight, *statistics, epsilon=_EPSILON)
        return [self.graph.constant(f"{name}.weight", weight), self.graph.constant(f"{name}.bias", bias)]
