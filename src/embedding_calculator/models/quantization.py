"""Eight-bit copies of float32 networks, made so that engines multiply in INT8 and answers stay near.

Weights have a scale for each output channel, activations one for each tensor, both symmetric. What ruins such a copy of
a network with depthwise layers is that one scale serves all channels of a tensor, whose ranges differ a hundredfold. So
channels are first brought to like ranges, where it costs nothing: a layer gives its channel divided by a factor, and
the layer after it takes the factor back into its weights; the slopes between them (PReLU, ReLU) let positive factors
through. For a depthwise layer, whose weights have a scale for each such channel, the factor is the channel's range;
for others it is weighed against the range of the weights that must take it up.

Nagel, van Baalen, Blankevoort, Welling: "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV
2019, https://arxiv.org/abs/1906.04721; the weighing of ranges as measured, by a power, is that of Xiao et al.:
"SmoothQuant", ICML 2023, https://arxiv.org/abs/2211.10438.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ModelError

_LAYERS = ("Conv", "Gemm")
_HOMOGENEOUS = frozenset({"PRelu", "Relu", "LeakyRelu"})

_CLIPPED = 1e-5
"""Share of an activation's largest values that is cut off, so that the others have finer steps."""

_ACTIVATIONS_SHARE = 0.7
"""How far a channel's range in activations counts, against that of its weights: 0.5 to 1 differ little for SFace."""


class _Link(NamedTuple):
    """``tensor`` is made by ``maker`` (a slope after it or not) for ``taker`` alone."""

    maker: Any
    tensor: str
    taker: Any


def quantise(path: Path, target: Path, crops: Floats) -> tuple[str, ...]:
    """Write the INT8 copy of the ONNX file ``path`` to ``target``; returns the layers that stay in float32.

    ``crops`` is ``(N, 3, H, W)`` float32, as the network gets it: a hundred faces of the kind it will see. The layer
    that sees the pixels stays in float32: alone it costs SFace more than all others together, for a tenth of a
    millisecond.

    Raises ModelError where there is nothing to quantise.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorData, TensorsData

    model = _folded(path)
    _balance(model, crops)
    layers = [node for node in model.graph.node if node.op_type in _LAYERS]
    first = _first_layers(model)
    if len(layers) == len(first):
        raise ModelError("it has no convolution or matrix product but those that see the pixels")
    tensors = list(dict.fromkeys(node.input[0] for node in layers))
    ranges = {
        name: TensorData(lowest=np.float32(-limit), highest=np.float32(limit))
        for name, limit in _limits(model, tensors, crops).items()
    }
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.Percentile, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=list(first),
        op_types_to_quantize=list(_LAYERS),
        # Slopes are computed in float32 with the layer before them; rounding between the two would only lose.
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": list(_LAYERS),
            "QuantizeBias": False,
        },
    )
    quantizer.quantize_model()
    onnx.save(quantizer.model.model, target)
    return first


def _folded(path: Path) -> Any:
    """The network with its batch norms folded into the layers before them, every node named."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    # ONNX Runtime names every domain that it knows; other engines need not know them.
    used = {node.domain for node in model.graph.node}
    domains = [domain for domain in model.opset_import if domain.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(domains)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return model


def _first_layers(model: Any) -> tuple[str, ...]:
    """Names of the layers that see the pixels, with nothing but arithmetic between."""
    seen = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    first = []
    for node in model.graph.node:
        if seen.isdisjoint(node.input):
            continue
        if node.op_type in _LAYERS:
            first.append(node.name)
        else:
            seen.update(node.output)
    return tuple(first)


def _balance(model: Any, crops: Floats) -> None:
    """Bring the channels between two layers to like ranges, see the top of this file. The answers stay the same."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    links = list(_links(model, weights))
    for link, reach in zip(links, _reaches(model, [link.tensor for link in links], crops), strict=True):
        taking = numpy_helper.to_array(weights[link.taker.input[1]])
        depthwise = _groups(link.taker) > 1
        factors = np.maximum(reach, 1e-6)
        if not depthwise:
            needed = np.maximum(np.abs(taking).max(axis=(0, 2, 3)), 1e-6)
            factors = factors**_ACTIVATIONS_SHARE / needed ** (1 - _ACTIVATIONS_SHARE)
        # A channel that is dark on all these crops may shine on another.
        factors = np.clip(factors / np.exp(np.log(factors).mean()), 1e-3, 1e3).astype(np.float32)
        columns = factors[:, None, None, None] if depthwise else factors[None, :, None, None]
        changed = {link.taker.input[1]: taking * columns}
        for name in link.maker.input[1:]:
            made = numpy_helper.to_array(weights[name])
            changed[name] = made / factors.reshape(-1, *[1] * (made.ndim - 1))
        for name, value in changed.items():
            weights[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))


def _links(model: Any, weights: Mapping[str, Any]) -> Iterator[_Link]:
    """The places between two convolutions where channels can be scaled: nobody else sees what is between."""
    makers = {output: node for node in model.graph.node for output in node.output}
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(value.name for value in model.graph.output)
    for taker in model.graph.node:
        if taker.op_type != "Conv":
            continue
        tensor = taker.input[0]
        maker, between = makers.get(tensor), [tensor]
        if maker is not None and maker.op_type in _HOMOGENEOUS:
            between.append(maker.input[0])
            maker = makers.get(maker.input[0])
        if maker is None or maker.op_type != "Conv" or any(uses[name] > 1 for name in between):
            continue
        owned = [*maker.input[1:], taker.input[1]]
        if all(name in weights and uses[name] == 1 for name in owned):
            channels = weights[maker.input[1]].dims[0]
            if _groups(taker) in {1, channels} and (_groups(taker) == 1 or weights[taker.input[1]].dims[0] == channels):
                yield _Link(maker, tensor, taker)


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _reaches(model: Any, tensors: Sequence[str], crops: Floats) -> list[Floats]:
    """The largest magnitude of each channel of each tensor: ``(C,)`` each."""
    reaches: list[Floats] | None = None
    for values in _seen_inside(model, tensors, crops):
        found = [np.abs(value[0]).max(axis=(1, 2)) for value in values]
        reaches = found if reaches is None else [np.maximum(*both) for both in zip(reaches, found, strict=True)]
    return reaches or []


def _limits(model: Any, tensors: Sequence[str], crops: Floats) -> dict[str, float]:
    """The magnitude of each tensor that but a share of ``_CLIPPED`` exceeds."""
    largest: dict[str, Floats] = {name: np.zeros(0, np.float32) for name in tensors}
    for values in _seen_inside(model, tensors, crops):
        for name, value in zip(tensors, values, strict=True):
            kept = 1 + int(_CLIPPED * value.size * len(crops))
            together = np.concatenate([largest[name], np.abs(value).ravel()])
            largest[name] = np.partition(together, -kept)[-kept:]
    return {name: max(float(values.min()), 1e-6) for name, values in largest.items()}


def _seen_inside(model: Any, tensors: Sequence[str], crops: Floats) -> Iterator[list[Floats]]:
    """The values of these tensors, for each crop."""
    import onnx
    import onnxruntime as ort

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Anything above would merge the nodes whose values are asked for.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    for index in range(len(crops)):
        yield session.run(list(tensors), {image.name: crops[index : index + 1]})
