"""Inception-v3 as rude-carnie fine-tuned it, from its TensorFlow checkpoints to ONNX.

Architecture: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015
(https://arxiv.org/abs/1512.00567), with the variables' names of TensorFlow-Slim. The checkpoint has no graph for
pictures that stand alone, so the network is written here. Needs the extra ``import-tensorflow`` to read the weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.graph import Graph, fold_batch_norm
from embedding_calculator.models.importers.tensorflow_graph import tensorflow

_EPSILON = 0.001
"""What batch normalisation adds to the variance, as TensorFlow does by default."""

_Value = tuple[str, int]
"""A tensor of the graph by its name, and how many channels it has."""


def convert(parts: Sequence[Path], target: Path, *, classes: int) -> None:
    """Write the checkpoint ``[.index, .data-00000-of-00001]`` as float32 ONNX.

    Input ``image``: ``(N, 3, H, W)`` float32 RGB, standardised as its training did, 75 pixels a side and more. Output
    ``probabilities``: ``(N, classes)``.

    Raises:
        ModelError: the files are no such checkpoint, or the extra is not installed.
    """
    network = _Network(Graph(_Checkpoint(parts)))
    try:
        network.build(classes)
    except (KeyError, ValueError) as error:
        raise ModelError(f"{parts[0].name} has not the weights of Inception-v3: {error}. Fetch it again.") from error
    network.graph.save("inception_v3", target)


class _Checkpoint(Mapping[str, NDArray[Any]]):
    """The variables of a checkpoint by name."""

    def __init__(self, parts: Sequence[Path]) -> None:
        tf = tensorflow()
        index, _ = parts
        try:
            self._reader = tf.train.load_checkpoint(os.fspath(index.with_suffix("")))
        except (tf.errors.OpError, ValueError) as error:
            raise ModelError(f"{index.name} is not a TensorFlow checkpoint: {error}. Fetch it again.") from error
        self._shapes = self._reader.get_variable_to_shape_map()

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._shapes:
            raise KeyError(name)
        array: NDArray[Any] = self._reader.get_tensor(name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


class _Network:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def build(self, classes: int) -> None:
        value = self.graph.input("image", ["batch", 3, "height", "width"]), 3
        value = self._convolution(value, "Conv2d_1a_3x3", 32, (3, 3), stride=2)
        value = self._convolution(value, "Conv2d_2a_3x3", 32, (3, 3), same=False)
        value = self._convolution(value, "Conv2d_2b_3x3", 64, (3, 3))
        value = self._shrunk(value)
        value = self._convolution(value, "Conv2d_3b_1x1", 80, (1, 1))
        value = self._convolution(value, "Conv2d_4a_3x3", 192, (3, 3), same=False)
        value = self._shrunk(value)
        value = self._mixed_5(value, "Mixed_5b", 32)
        value = self._mixed_5(value, "Mixed_5c", 64, "Conv2d_0b_1x1", "Conv_1_0c_5x5")
        value = self._mixed_5(value, "Mixed_5d", 64)
        value = self._mixed_6a(value)
        for name, channels in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            value = self._mixed_6(value, name, channels)
        value = self._mixed_7a(value)
        value = self._mixed_7(value, "Mixed_7b", "Conv2d_0b_3x1")
        value = self._mixed_7(value, "Mixed_7c", "Conv2d_0c_3x1")
        flat = self.graph.node("Flatten", self.graph.node("GlobalAveragePool", value[0]), axis=1)
        weight = self.graph.constant("output/weights", self.graph.weight("output/weights", (value[1], classes)))
        bias = self.graph.constant("output/biases", self.graph.weight("output/biases", (classes,)))
        probabilities = self.graph.node("Softmax", self.graph.node("Gemm", flat, weight, bias), axis=1)
        self.graph.output(probabilities, "probabilities", ["batch", classes])

    def _mixed_5(
        self, value: _Value, name: str, pooled: int, reduce: str = "Conv2d_0a_1x1", wide: str = "Conv2d_0b_5x5"
    ) -> _Value:
        first = self._convolution(value, f"{name}/Branch_0/Conv2d_0a_1x1", 64, (1, 1))
        second = self._convolution(value, f"{name}/Branch_1/{reduce}", 48, (1, 1))
        second = self._convolution(second, f"{name}/Branch_1/{wide}", 64, (5, 5))
        third = self._convolution(value, f"{name}/Branch_2/Conv2d_0a_1x1", 64, (1, 1))
        third = self._convolution(third, f"{name}/Branch_2/Conv2d_0b_3x3", 96, (3, 3))
        third = self._convolution(third, f"{name}/Branch_2/Conv2d_0c_3x3", 96, (3, 3))
        return self._joined(first, second, third, self._averaged(value, name, pooled))

    def _mixed_6a(self, value: _Value) -> _Value:
        first = self._convolution(value, "Mixed_6a/Branch_0/Conv2d_1a_1x1", 384, (3, 3), stride=2)
        second = self._convolution(value, "Mixed_6a/Branch_1/Conv2d_0a_1x1", 64, (1, 1))
        second = self._convolution(second, "Mixed_6a/Branch_1/Conv2d_0b_3x3", 96, (3, 3))
        second = self._convolution(second, "Mixed_6a/Branch_1/Conv2d_1a_1x1", 96, (3, 3), stride=2)
        return self._joined(first, second, self._shrunk(value))

    def _mixed_6(self, value: _Value, name: str, channels: int) -> _Value:
        first = self._convolution(value, f"{name}/Branch_0/Conv2d_0a_1x1", 192, (1, 1))
        second = self._convolution(value, f"{name}/Branch_1/Conv2d_0a_1x1", channels, (1, 1))
        second = self._convolution(second, f"{name}/Branch_1/Conv2d_0b_1x7", channels, (1, 7))
        second = self._convolution(second, f"{name}/Branch_1/Conv2d_0c_7x1", 192, (7, 1))
        third = self._convolution(value, f"{name}/Branch_2/Conv2d_0a_1x1", channels, (1, 1))
        third = self._convolution(third, f"{name}/Branch_2/Conv2d_0b_7x1", channels, (7, 1))
        third = self._convolution(third, f"{name}/Branch_2/Conv2d_0c_1x7", channels, (1, 7))
        third = self._convolution(third, f"{name}/Branch_2/Conv2d_0d_7x1", channels, (7, 1))
        third = self._convolution(third, f"{name}/Branch_2/Conv2d_0e_1x7", 192, (1, 7))
        return self._joined(first, second, third, self._averaged(value, name, 192))

    def _mixed_7a(self, value: _Value) -> _Value:
        first = self._convolution(value, "Mixed_7a/Branch_0/Conv2d_0a_1x1", 192, (1, 1))
        first = self._convolution(first, "Mixed_7a/Branch_0/Conv2d_1a_3x3", 320, (3, 3), stride=2)
        second = self._convolution(value, "Mixed_7a/Branch_1/Conv2d_0a_1x1", 192, (1, 1))
        second = self._convolution(second, "Mixed_7a/Branch_1/Conv2d_0b_1x7", 192, (1, 7))
        second = self._convolution(second, "Mixed_7a/Branch_1/Conv2d_0c_7x1", 192, (7, 1))
        second = self._convolution(second, "Mixed_7a/Branch_1/Conv2d_1a_3x3", 192, (3, 3), stride=2)
        return self._joined(first, second, self._shrunk(value))

    def _mixed_7(self, value: _Value, name: str, tall: str) -> _Value:
        first = self._convolution(value, f"{name}/Branch_0/Conv2d_0a_1x1", 320, (1, 1))
        second = self._convolution(value, f"{name}/Branch_1/Conv2d_0a_1x1", 384, (1, 1))
        second = self._joined(
            self._convolution(second, f"{name}/Branch_1/Conv2d_0b_1x3", 384, (1, 3)),
            self._convolution(second, f"{name}/Branch_1/{tall}", 384, (3, 1)),
        )
        third = self._convolution(value, f"{name}/Branch_2/Conv2d_0a_1x1", 448, (1, 1))
        third = self._convolution(third, f"{name}/Branch_2/Conv2d_0b_3x3", 384, (3, 3))
        third = self._joined(
            self._convolution(third, f"{name}/Branch_2/Conv2d_0c_1x3", 384, (1, 3)),
            self._convolution(third, f"{name}/Branch_2/Conv2d_0d_3x1", 384, (3, 1)),
        )
        return self._joined(first, second, third, self._averaged(value, name, 192))

    def _convolution(
        self, value: _Value, name: str, channels: int, kernel: tuple[int, int], *, stride: int = 1, same: bool = True
    ) -> _Value:
        """Convolution, batch normalisation and ReLU; as large as before where ``same`` and the stride is 1."""
        source, before = value
        name = f"InceptionV3/{name}"
        statistics = [
            self.graph.weight(f"{name}/BatchNorm/{part}", (channels,))
            for part in ("beta", "moving_mean", "moving_variance")
        ]
        weight = self.graph.weight(f"{name}/weights", (*kernel, before, channels)).transpose(3, 2, 0, 1)
        gamma = np.ones(channels, np.float32)  # its training left that factor to the next layer
        weight, bias = fold_batch_norm(weight, gamma, *statistics, epsilon=_EPSILON)
        pad = [kernel[0] // 2, kernel[1] // 2] if same and stride == 1 else [0, 0]
        result = self.graph.node(
            "Conv",
            source,
            self.graph.constant(f"{name}/weights", weight),
            self.graph.constant(f"{name}/biases", bias),
            strides=[stride, stride],
            pads=pad * 2,
        )
        return self.graph.node("Relu", result), channels

    def _shrunk(self, value: _Value) -> _Value:
        return self.graph.node("MaxPool", value[0], kernel_shape=[3, 3], strides=[2, 2]), value[1]

    def _averaged(self, value: _Value, name: str, channels: int) -> _Value:
        """The branch that averages first; pixels outside the picture do not count."""
        mean = self.graph.node("AveragePool", value[0], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
        return self._convolution((mean, value[1]), f"{name}/Branch_3/Conv2d_0b_1x1", channels, (1, 1))

    def _joined(self, *values: _Value) -> _Value:
        together = self.graph.node("Concat", *(name for name, _ in values), axis=1)
        return together, sum(channels for _, channels in values)
