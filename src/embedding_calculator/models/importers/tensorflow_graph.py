"""What the importers of TensorFlow's formats share: TensorFlow reads, tf2onnx writes; both run at pull time only."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import onnx

from embedding_calculator.errors import ModelError, install_extra

_OPSET = 17

# fmt: off
_KNOWN = {
    "Add", "AddN", "AddV2", "AvgPool", "BatchNormWithGlobalNormalization", "BiasAdd", "Cast", "Concat", "ConcatV2",
    "Const", "Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "Div", "Elu", "ExpandDims", "FusedBatchNorm",
    "FusedBatchNormV2", "FusedBatchNormV3", "Identity", "IdentityN", "LeakyRelu", "LogSoftmax", "MatMul", "Max",
    "MaxPool", "Maximum", "Mean", "Min", "Minimum", "Mul", "Neg", "NoOp", "Pack", "Pad", "PadV2", "Placeholder",
    "PlaceholderWithDefault", "Pow", "Prod", "RealDiv", "Relu", "Relu6", "Reshape", "Rsqrt", "Shape", "Sigmoid",
    "Slice", "Softmax", "Sqrt", "Square", "SquaredDifference", "Squeeze", "StopGradient", "StridedSlice", "Sub",
    "Sum", "Tanh", "Transpose",
}
"""Operators that networks for faces are made of; nothing that touches files, devices or other programs."""
# fmt: on


def tensorflow() -> Any:
    """The package; raises ModelError that names the extra which brings it."""
    try:
        import tensorflow
        import tf2onnx  # noqa: F401 -- so that both are told missing before anything is done
    except ImportError as error:
        raise ModelError(
            f"this model is published in TensorFlow's format, and {error.name!r}, which translates it once, is not "
            f"installed. Run, {install_extra('import-tensorflow')}, then pull again. What is pulled runs without it."
        ) from error
    return tensorflow


def refuse_unknown(nodes: Iterable[Any], also: Container[str] = ()) -> None:
    """Raise a ModelError that names the first operator which networks for faces do not need and is not in ``also``."""
    for node in nodes:
        if node.op not in _KNOWN and node.op not in also:
            raise ModelError(f"TensorFlow operator {node.op} (node {node.name!r}) is not supported")


def write(graph: Any, image: str, output: str, target: Path) -> None:
    """Translate a frozen ``GraphDef`` to float32 ONNX.

    ``image`` and ``output`` name its tensors, such as ``input:0``. The picture goes in as ``(N, 3, H, W)`` instead of
    TensorFlow's ``(N, H, W, 3)``; everything else keeps its layout and its name.

    Raises:
        ModelError: the graph has an operator that no network for faces needs; the text names it.
    """
    refuse_unknown(graph.node)
    import tf2onnx

    model, _ = tf2onnx.convert.from_graph_def(
        graph, input_names=[image], output_names=[output], opset=_OPSET, inputs_as_nchw=[image]
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
