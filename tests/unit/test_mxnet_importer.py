"""Small MXNet graphs, imported and run, against the operators' formulas written out in numpy."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.mxnet import convert
from embedding_calculator.models.importers.mxnet.params import read_params
from made.mxnet import Arrays, params_bytes

RANDOM = np.random.default_rng(7)
PICTURES = RANDOM.standard_normal((2, 3, 6, 5)).astype(np.float32)


def node(operator: str, name: str, inputs: list[int], key: str = "attrs", **attributes: str) -> dict[str, Any]:
    return {"op": operator, "name": name, key: attributes, "inputs": [[source, 0, 0] for source in inputs]}


def write(folder: Path, nodes: list[dict[str, Any]], arrays: Arrays) -> list[Path]:
    symbol, params = folder / "symbol.json", folder / "model.params"
    symbol.write_text(json.dumps({"nodes": nodes, "heads": [[len(nodes) - 1, 0, 0]]}))
    params.write_bytes(params_bytes(arrays))
    return [symbol, params]


def run(folder: Path, nodes: list[dict[str, Any]], arrays: Arrays, pictures: Floats = PICTURES) -> Floats:
    target = folder / "network.onnx"
    convert(write(folder, nodes, arrays), target)
    session = ort.InferenceSession(target, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"data": pictures})[0], np.float32)


def run_one(folder: Path, operator: str, attributes: dict[str, str], arrays: Arrays | None = None) -> Floats:
    """One operator on the pictures, its parameters in the order of ``arrays``."""
    arrays = arrays or {}
    variables = [node("null", "data", []), *(node("null", name.removeprefix("arg:"), []) for name in arrays)]
    return run(folder, [*variables, node(operator, "it", list(range(len(variables))), **attributes)], arrays)


def pooled(reducer: str, window: tuple[int, int, int], *, full: bool, count_pad: bool) -> Floats:
    """The pictures pooled as MXNet defines it, one window (kernel, stride, pad) at a time."""
    values, (kernel, stride, pad) = PICTURES, window

    def outputs(length: int) -> int:
        steps = (length + 2 * pad - kernel) / stride
        return 1 + int(np.ceil(steps) if full else np.floor(steps))

    height, width = values.shape[2:]
    answer = np.zeros((*values.shape[:2], outputs(height), outputs(width)), np.float32)
    for row in range(answer.shape[2]):
        for column in range(answer.shape[3]):
            top, left = row * stride - pad, column * stride - pad
            bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
            inside = values[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            if reducer == "max":
                answer[:, :, row, column] = inside.max((2, 3))
            else:
                count = (bottom - top) * (right - left) if count_pad else inside.shape[2] * inside.shape[3]
                answer[:, :, row, column] = inside.sum((2, 3)) / count
    return answer


def softmax(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    powers = np.exp(values)
    return np.asarray(powers / powers.sum(axis, keepdims=True), np.float32)


@pytest.mark.parametrize(
    ("operator", "attributes", "formula"),
    [
        ("_plus_scalar", {"scalar": "1.5"}, lambda x: x + 1.5),
        ("_minus_scalar", {"scalar": "127.5"}, lambda x: x - 127.5),
        ("_rminus_scalar", {"scalar": "2"}, lambda x: 2 - x),
        ("_mul_scalar", {"scalar": "0.0078125"}, lambda x: x * 0.0078125),
        ("_div_scalar", {"scalar": "4"}, lambda x: x / 4),
        ("_rdiv_scalar", {"scalar": "4"}, lambda x: 4 / x),
        ("_PlusScalar", {"scalar": "1e-01"}, lambda x: x + 0.1),
        ("Activation", {"act_type": "relu"}, lambda x: np.maximum(x, 0)),
        ("Activation", {"act_type": "sigmoid"}, lambda x: 1 / (1 + np.exp(-x))),
        ("Activation", {"act_type": "tanh"}, np.tanh),
        ("Activation", {"act_type": "softrelu"}, lambda x: np.log1p(np.exp(x))),
        ("LeakyReLU", {}, lambda x: np.where(x > 0, x, 0.25 * x)),
        ("LeakyReLU", {"act_type": "leaky", "slope": "0.1"}, lambda x: np.where(x > 0, x, 0.1 * x)),
        ("LeakyReLU", {"act_type": "elu", "slope": "0.3"}, lambda x: np.where(x > 0, x, 0.3 * np.expm1(x))),
        ("clip", {"a_min": "-0.5", "a_max": "0.25"}, lambda x: x.clip(-0.5, 0.25)),
        ("SoftmaxActivation", {}, lambda x: softmax(x, (1, 2, 3))),
        ("SoftmaxActivation", {"mode": "channel"}, lambda x: softmax(x, 1)),
        ("softmax", {}, lambda x: softmax(x, 3)),
        ("softmax", {"axis": "1", "temperature": "2.0"}, lambda x: softmax(x / 2, 1)),
        ("SoftmaxOutput", {"multi_output": "True"}, lambda x: softmax(x, 1)),
        ("SoftmaxOutput", {"preserve_shape": "1"}, lambda x: softmax(x, 3)),
        ("SoftmaxOutput", {}, lambda x: softmax(x, (1, 2, 3))),
        ("L2Normalization", {}, lambda x: x / np.sqrt((x * x).sum((1, 2, 3), keepdims=True) + 1e-10)),
        ("L2Normalization", {"mode": "channel"}, lambda x: x / np.sqrt((x * x).sum(1, keepdims=True) + 1e-10)),
        (
            "L2Normalization",
            {"mode": "spatial", "eps": "0.5"},
            lambda x: x / np.sqrt((x * x).sum((2, 3), keepdims=True) + 0.5),
        ),
        ("Flatten", {}, lambda x: x.reshape(2, -1)),
        ("transpose", {}, lambda x: x.transpose()),
        ("transpose", {"axes": "(0, 2, 3, 1)"}, lambda x: x.transpose(0, 2, 3, 1)),
        ("slice_axis", {"axis": "1", "begin": "1", "end": "None"}, lambda x: x[:, 1:]),
        ("slice_axis", {"axis": "-1", "begin": "-3", "end": "-1"}, lambda x: x[..., -3:-1]),
        ("UpSampling", {"sample_type": "nearest", "scale": "2"}, lambda x: x.repeat(2, 2).repeat(2, 3)),
        ("Crop", {"h_w": "(2, 3)", "offset": "(1, 2)"}, lambda x: x[:, :, 1:3, 2:5]),
        ("Crop", {"h_w": "(2, 3)", "center_crop": "True"}, lambda x: x[:, :, 2:4, 1:4]),
        ("Reshape", {"shape": "(0, 3, -1, 0)"}, lambda x: x.reshape(2, 3, 6, 5)),
        ("Reshape", {"shape": "(-1, 15)"}, lambda x: x.reshape(12, 15)),
        ("Reshape", {"shape": "(0, -3, 0)"}, lambda x: x.reshape(2, 18, 5)),
        ("Reshape", {"shape": "(-3, -2)"}, lambda x: x.reshape(6, 6, 5)),
        ("Reshape", {"shape": "(0, 0, -4, 2, -1, 0)"}, lambda x: x.reshape(2, 3, 2, 3, 5)),
        ("Reshape", {"shape": "(-4, -1, 2, -2)"}, lambda x: x.reshape(1, 2, 3, 6, 5)),
        ("Reshape", {"shape": "(0L, -3L, 5L)"}, lambda x: x.reshape(2, 18, 5)),
        ("Pooling", {"kernel": "(2, 2)", "global_pool": "True"}, lambda x: x.max((2, 3), keepdims=True)),
        ("Pooling", {"pool_type": "avg", "global_pool": "True"}, lambda x: x.mean((2, 3), keepdims=True)),
        ("Dropout", {"p": "0.4"}, lambda x: x),
        ("Cast", {"dtype": "float16"}, lambda x: x),
    ],
)
def test_one_operator(tmp_path: Path, operator: str, attributes: dict[str, str], formula: Any) -> None:
    np.testing.assert_allclose(run_one(tmp_path, operator, attributes), formula(PICTURES), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pool_type", ["max", "avg"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("count_pad", [False, True])
@pytest.mark.parametrize("window", [(3, 2, 1), (2, 2, 0), (3, 2, 0), (3, 1, 1)])
def test_pooling(tmp_path: Path, pool_type: str, full: bool, count_pad: bool, window: tuple[int, int, int]) -> None:
    kernel, stride, pad = window
    attributes = {
        "pool_type": pool_type,
        "pooling_convention": "full" if full else "valid",
        "count_include_pad": str(count_pad),
        "kernel": f"({kernel}, {kernel})",
        "stride": f"({stride}, {stride})",
        "pad": f"({pad}, {pad})",
    }
    answer = run_one(tmp_path, "Pooling", attributes)
    np.testing.assert_allclose(answer, pooled(pool_type, window, full=full, count_pad=count_pad), atol=1e-6)


@pytest.mark.parametrize("groups", [1, 3])
def test_convolution_with_dilation_and_bias(tmp_path: Path, groups: int) -> None:
    weight = RANDOM.standard_normal((6, 3 // groups, 3, 2)).astype(np.float32)
    bias = RANDOM.standard_normal(6).astype(np.float32)
    answer = run_one(
        tmp_path,
        "Convolution",
        {
            "kernel": "(3, 2)",
            "dilate": "(2, 1)",
            "pad": "(1, 0)",
            "stride": "(1, 2)",
            "num_filter": "6",
            "num_group": str(groups),
        },
        {"arg:weight": weight, "arg:bias": bias},
    )
    padded = np.pad(PICTURES, ((0, 0), (0, 0), (1, 1), (0, 0)))
    expected = np.zeros((2, 6, 4, 2), np.float32)
    for channel in range(6):
        read = range(3) if groups == 1 else [channel // 2]
        for row, column in np.ndindex(4, 2):
            patch = padded[:, read, row : row + 5 : 2, 2 * column : 2 * column + 2]
            expected[:, channel, row, column] = (patch * weight[channel]).sum((1, 2, 3)) + bias[channel]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize("fix_gamma", [None, "True", "False"])
def test_batch_norm_ignores_gamma_unless_told_otherwise(tmp_path: Path, fix_gamma: str | None) -> None:
    gamma, beta, mean = (RANDOM.standard_normal(3).astype(np.float32) for _ in range(3))
    variance = RANDOM.uniform(0.5, 2, 3).astype(np.float32)
    arrays = {"arg:gamma": gamma, "arg:beta": beta, "aux:mean": mean, "aux:variance": variance}
    variables = [node("null", name, []) for name in ("data", "gamma", "beta", "mean", "variance")]
    attributes = {} if fix_gamma is None else {"fix_gamma": fix_gamma}
    answer = run(tmp_path, [*variables, node("BatchNorm", "bn", [0, 1, 2, 3, 4], **attributes)], arrays)
    effective = gamma if fix_gamma == "False" else np.ones(3)
    scale = (effective / np.sqrt(variance + 1e-3))[:, None, None]
    np.testing.assert_allclose(answer, (PICTURES - mean[:, None, None]) * scale + beta[:, None, None], atol=1e-5)


@pytest.mark.parametrize("slopes", [[0.3], [0.1, 0.2, 0.4]])
def test_prelu_with_one_slope_or_one_a_channel(tmp_path: Path, slopes: list[float]) -> None:
    gamma = np.array(slopes, np.float32)
    answer = run_one(tmp_path, "LeakyReLU", {"act_type": "prelu"}, {"arg:gamma": gamma})
    np.testing.assert_allclose(answer, np.where(PICTURES > 0, PICTURES, gamma[:, None, None] * PICTURES), atol=1e-6)


def test_prelu_after_a_fully_connected_layer(tmp_path: Path) -> None:
    weight = RANDOM.standard_normal((4, 90)).astype(np.float32)
    gamma = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    nodes = [
        *(node("null", name, []) for name in ("data", "weight", "gamma")),
        node("FullyConnected", "fc", [0, 1], num_hidden="4", no_bias="True"),
        node("LeakyReLU", "relu", [3, 2], act_type="prelu"),
    ]
    product = PICTURES.reshape(2, 90) @ weight.T
    answer = run(tmp_path, nodes, {"arg:weight": weight, "arg:gamma": gamma})
    np.testing.assert_allclose(answer, np.where(product > 0, product, gamma * product), atol=1e-4)


def test_fully_connected_over_the_last_axis_alone(tmp_path: Path) -> None:
    weight, bias = RANDOM.standard_normal((4, 5)).astype(np.float32), np.arange(4, dtype=np.float32)
    arrays = {"arg:weight": weight, "arg:bias": bias}
    answer = run_one(tmp_path, "FullyConnected", {"num_hidden": "4", "flatten": "False"}, arrays)
    np.testing.assert_allclose(answer, PICTURES @ weight.T + bias, atol=1e-5)


@pytest.mark.parametrize(
    ("operator", "formula"),
    [
        ("elemwise_add", lambda x, y: x + y),
        ("_Plus", lambda x, y: x + y),
        ("broadcast_sub", lambda x, y: x - y),
        ("broadcast_mul", lambda x, y: x * y),
        ("_Div", lambda x, y: x / y),
        ("Concat", lambda x, y: np.concatenate([x, y], 1)),
        ("add_n", lambda x, y: x + y),
    ],
)
def test_two_tensors(tmp_path: Path, operator: str, formula: Any) -> None:
    nodes = [
        node("null", "data", []),
        node("_plus_scalar", "other", [0], scalar="10"),
        node(operator, "it", [0, 1], dim="1", num_args="2"),
    ]
    np.testing.assert_allclose(run(tmp_path, nodes, {}), formula(PICTURES, PICTURES + 10), rtol=1e-5, atol=1e-5)


def test_crop_to_the_size_of_another_tensor(tmp_path: Path) -> None:
    nodes = [
        node("null", "data", []),
        node("Pooling", "smaller", [0], kernel="(2, 2)", stride="(2, 2)"),
        node("Crop", "it", [0, 1], num_args="2", offset="(1, 1)"),
    ]
    np.testing.assert_array_equal(run(tmp_path, nodes, {}), PICTURES[:, :, 1:4, 1:3])


def test_broadcast_with_a_parameter_stored_in_half_precision(tmp_path: Path) -> None:
    scale = np.array([1.5, -2, 0.25], np.float16).reshape(1, 3, 1, 1)
    answer = run_one(tmp_path, "broadcast_mul", {}, {"arg:scale": scale})
    np.testing.assert_allclose(answer, PICTURES * scale.astype(np.float32), atol=1e-6)


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
def test_attributes_under_every_key_they_have_had(tmp_path: Path, key: str) -> None:
    nodes = [node("null", "data", []), node("_mul_scalar", "it", [0], key, scalar="3")]
    np.testing.assert_allclose(run(tmp_path, nodes, {}), PICTURES * 3, rtol=1e-6)


def test_an_inner_output_leaves_out_what_it_does_not_need(tmp_path: Path) -> None:
    nodes = [
        node("null", "data", []),
        node("_mul_scalar", "twice", [0], scalar="2"),
        node("SomeLoss", "loss", [1]),
    ]
    convert(write(tmp_path, nodes, {}), tmp_path / "network.onnx", outputs=["twice_output"], input_size=(5, 6))
    session = ort.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 6, 5]
    np.testing.assert_allclose(session.run(["twice_output"], {"data": PICTURES})[0], PICTURES * 2, rtol=1e-6)
    with pytest.raises(ModelError, match="no output 'thrice_output'"):
        convert(write(tmp_path, nodes, {}), tmp_path / "network.onnx", outputs=["thrice_output"])


@pytest.mark.parametrize(
    ("operator", "attributes", "message"),
    [
        ("Deformable", {}, "MXNet operator Deformable \\(node 'it'\\) is not supported"),
        ("Activation", {"act_type": "mish"}, "Activation \\(node 'it'\\) is not supported with act_type=mish"),
        ("Pooling", {"pool_type": "lp", "kernel": "(2, 2)"}, "pool_type=lp"),
        ("UpSampling", {"sample_type": "bilinear", "scale": "2"}, "sample_type=bilinear"),
        ("Reshape", {"shape": "(0, -5)"}, "shape=\\(0, -5\\)"),
        ("_plus_scalar", {"scalar": "__import__('os')"}, "scalar=__import__"),
        ("Flatten", {"unused": "1"}, None),
    ],
)
def test_what_is_unknown_is_refused_by_name(
    tmp_path: Path, operator: str, attributes: dict[str, str], message: str | None
) -> None:
    if message is None:
        run_one(tmp_path, operator, attributes)
        return
    with pytest.raises(ModelError, match=message):
        run_one(tmp_path, operator, attributes)


@pytest.mark.parametrize(
    "symbol",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"nodes": [{"op": "_copy", "name": "a", "inputs": [[0, 0, 0]]}], "heads": [[0, 0, 0]]}',
        b'{"nodes": [{"op": "null", "name": "data", "inputs": []}], "heads": [[7, 0, 0]]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_symbol_is_refused(tmp_path: Path, symbol: bytes) -> None:
    paths = write(tmp_path, [node("null", "data", [])], {})
    paths[0].write_bytes(symbol)
    with pytest.raises(ModelError, match=r"symbol\.json is not an MXNet symbol file"):
        convert(paths, tmp_path / "network.onnx")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    nodes = [
        *(node("null", name, []) for name in ("data", "weight")),
        node("Convolution", "it", [0, 1], kernel="(3, 3)", no_bias="True", num_filter="2"),
    ]
    with pytest.raises(ModelError, match="weight has to be a parameter"):
        run(tmp_path, nodes, {"arg:something_else": np.zeros((2, 3, 3, 3), np.float32)})
    with pytest.raises(ModelError, match=r"a weight of shape \(2, 27\)"):
        run(tmp_path, nodes, {"arg:weight": np.zeros((2, 27), np.float32)})
    with pytest.raises(ModelError, match="int32"):
        run(tmp_path, nodes, {"arg:weight": np.zeros((2, 3, 3, 3), np.int32)})


@pytest.mark.parametrize("layout", [0, 1, 2])
def test_params_of_every_age(tmp_path: Path, layout: int) -> None:
    arrays: Arrays = {"arg:a": np.arange(6, dtype=np.float32).reshape(2, 3), "aux:b": np.array([1.5], np.float16)}
    path = tmp_path / "model.params"
    path.write_bytes(params_bytes(arrays, layout))
    params = read_params(path)
    assert params.keys() == {"a", "b"}
    np.testing.assert_array_equal(params["a"], arrays["arg:a"])
    np.testing.assert_array_equal(params["b"], arrays["aux:b"])


def test_params_cut_short_anywhere_are_refused(tmp_path: Path) -> None:
    content = params_bytes({"arg:a": np.zeros((2, 3), np.float32), "arg:b": np.zeros(4, np.float32)})
    path = tmp_path / "model.params"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"model\.params is not a usable MXNet params file"):
            read_params(path)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" + bytes(60),
        struct.pack("<QQQ", 0x112, 0, 2**62),
        struct.pack("<QQQIiI", 0x112, 0, 1, 0xF993FAC9, 0, 2**31 - 1),
        struct.pack("<QQQIiIqqiii", 0x112, 0, 1, 0xF993FAC9, 0, 2, 2**40, 2**40, 1, 0, 0),
        struct.pack("<QQQIiIqqiii", 0x112, 0, 1, 0xF993FAC9, 0, 2, -1, -4, 1, 0, 0),
        struct.pack("<QQQIiIqiii", 0x112, 0, 1, 0xF993FAC9, 1, 1, 1, 1, 0, 0),
        struct.pack("<QQQIiIqiiifQ", 0x112, 0, 1, 0xF993FAC9, 0, 1, 1, 1, 0, 99, 0.0, 0),
        struct.pack("<QQQQQ", 0x112, 0, 0, 1, 2**60),
        params_bytes({}) + b"more",
    ],
)
def test_hostile_params_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.params"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.params is not a usable MXNet params file"):
        read_params(path)
