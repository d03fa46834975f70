"""The table: every MXNet operator that can be imported, under every name it has borne."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from embedding_calculator.models.importers.mxnet import arithmetic, layers, shapes
from embedding_calculator.models.importers.mxnet.arithmetic import Elementwise, WithScalar
from embedding_calculator.models.importers.mxnet.graph import Graph, Tensor
from embedding_calculator.models.importers.mxnet.symbol import Node

Emitter: TypeAlias = Callable[[Graph, Node, Sequence[Tensor]], Tensor]
"""Adds what a node means to the graph and returns the node's first output."""

_ALIASES: list[tuple[Emitter, str]] = [
    (layers.convolution, "Convolution Convolution_v1"),
    (layers.batch_norm, "BatchNorm BatchNorm_v1 CuDNNBatchNorm"),
    (layers.fully_connected, "FullyConnected"),
    (layers.activation, "Activation"),
    (layers.leaky_relu, "LeakyReLU"),
    (layers.pooling, "Pooling Pooling_v1"),
    (layers.softmax_activation, "SoftmaxActivation"),
    (layers.softmax_output, "SoftmaxOutput Softmax"),
    (layers.softmax, "softmax"),
    (layers.l2_normalization, "L2Normalization"),
    (arithmetic.identity, "_copy identity Dropout BlockGrad stop_gradient"),
    (arithmetic.cast, "Cast cast amp_cast"),
    (arithmetic.clip, "clip"),
    (shapes.concat, "Concat concat"),
    (shapes.flatten, "Flatten flatten"),
    (shapes.transpose, "transpose"),
    (shapes.slice_axis, "slice_axis"),
    (shapes.up_sampling, "UpSampling"),
    (shapes.crop, "Crop"),
    (shapes.reshape, "Reshape reshape"),
    (Elementwise("Add"), "elemwise_add _Plus _plus _add broadcast_add broadcast_plus"),
    (Elementwise("Sub"), "elemwise_sub _Minus _minus _sub broadcast_sub broadcast_minus"),
    (Elementwise("Mul"), "elemwise_mul _Mul _mul broadcast_mul"),
    (Elementwise("Div"), "elemwise_div _Div _div broadcast_div"),
    (Elementwise("Sum"), "ElementWiseSum add_n"),
    (Elementwise("Relu"), "relu"),
    (Elementwise("Sigmoid"), "sigmoid"),
    (Elementwise("Tanh"), "tanh"),
    (Elementwise("Exp"), "exp"),
    (Elementwise("Sqrt"), "sqrt"),
    (WithScalar("Add"), "_plus_scalar _PlusScalar"),
    (WithScalar("Sub"), "_minus_scalar _MinusScalar"),
    (WithScalar("Sub", reverse=True), "_rminus_scalar _RMinusScalar"),
    (WithScalar("Mul"), "_mul_scalar _MulScalar"),
    (WithScalar("Div"), "_div_scalar _DivScalar"),
    (WithScalar("Div", reverse=True), "_rdiv_scalar _RDivScalar"),
    (WithScalar("Pow"), "_power_scalar _PowerScalar"),
    (WithScalar("Max"), "_maximum_scalar _MaximumScalar"),
    (WithScalar("Min"), "_minimum_scalar _MinimumScalar"),
]

OPERATORS: dict[str, Emitter] = {name: emitter for emitter, names in _ALIASES for name in names.split()}
