"""Block-quantised weights become the float32 weights they stand for, and fixed sizes become free ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers import blockquant

WEIGHTS = np.arange(-12, 12, dtype=np.int8).reshape(2, 12) * 5  # 2 filters of 3 channels, 2 by 2 pixels
ZERO_POINTS = np.array([[0, 3], [-7, 1]], np.int8)
SCALES = np.array([[0.5, 0.25], [2.0, 0.125]], np.float32)  # a block is 8 weights, so the second one is cut short


def published(path: Path) -> Path:
    """A convolution over a 4x4 picture, stored as the model zoo stores its own."""
    constants: dict[str, NDArray[Any]] = {
        "weight_quantized": WEIGHTS,
        "weight_scales": SCALES,
        "weight_zero_point": ZERO_POINTS,
        "weight_shape": np.array([2, 3, 2, 2]),
        "cells": np.array([1, -1, 2]),
        "left_over": np.zeros(3, np.float32),
    }
    nodes = [
        helper.make_node(
            "DequantizeLinear",
            ["weight_quantized", "weight_scales", "weight_zero_point"],
            ["weight_dequantized"],
            axis=1,
            block_size=8,
        ),
        helper.make_node("Reshape", ["weight_dequantized", "weight_shape"], ["weight"]),
        helper.make_node("Conv", ["picture", "weight"], ["planes"], strides=[2, 2]),
        helper.make_node("Transpose", ["planes"], ["pixels"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["pixels", "cells"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "published",
        [
            helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 4, 4]),
            helper.make_tensor_value_info("weight_before_quantising", TensorProto.FLOAT, [2, 3, 2, 2]),
            helper.make_tensor_value_info("weight_scales", TensorProto.FLOAT, [2, 2]),
        ],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 4, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=6)
    onnx.save(model, path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return published(tmp_path / "published.onnx")


def test_weights_are_the_ones_the_blocks_stand_for(source: Path, tmp_path: Path) -> None:
    blockquant.convert([source], tmp_path / "plain.onnx")

    graph = onnx.load(tmp_path / "plain.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    per_weight = np.repeat(SCALES, 8, axis=1)[:, :12], np.repeat(ZERO_POINTS, 8, axis=1)[:, :12]
    expected = (WEIGHTS.astype(np.float32) - per_weight[1]) * per_weight[0]
    assert set(constants) == {"weight", "cells"}
    assert constants["weight"].dtype == np.float32
    np.testing.assert_array_equal(constants["weight"], expected.reshape(2, 3, 2, 2))
    assert [node.op_type for node in graph.node] == ["Conv", "Transpose", "Reshape"]
    assert [value.name for value in graph.input] == ["picture"]


def test_any_batch_and_any_size(source: Path, tmp_path: Path) -> None:
    blockquant.convert([source], tmp_path / "plain.onnx", dynamic_size=True)

    session = ort.InferenceSession(tmp_path / "plain.onnx")
    pictures = np.linspace(0, 255, 2 * 3 * 6 * 10, dtype=np.float32).reshape(2, 3, 6, 10)
    (both,) = session.run(None, {"picture": pictures})
    assert both.shape == (2, 15, 2)
    for picture, answer in zip(pictures, both, strict=True):
        (alone,) = session.run(None, {"picture": picture[None]})
        np.testing.assert_allclose(answer, alone[0], rtol=1e-5)


def test_the_answer_is_that_of_the_published_network(source: Path, tmp_path: Path) -> None:
    blockquant.convert([source], tmp_path / "plain.onnx")

    picture = np.linspace(0, 255, 3 * 4 * 4, dtype=np.float32).reshape(1, 3, 4, 4)
    (plain,) = ort.InferenceSession(tmp_path / "plain.onnx").run(None, {"picture": picture})
    reference = onnx.reference.ReferenceEvaluator(str(source))
    (expected,) = reference.run(None, {"picture": picture, "weight_before_quantising": np.zeros(1, np.float32)})
    np.testing.assert_allclose(plain, np.asarray(expected), rtol=1e-5)


def test_a_network_with_two_pictures_is_refused(tmp_path: Path) -> None:
    two = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("left", "right")]
    graph = helper.make_graph(
        [helper.make_node("Add", ["left", "right"], ["sum"])],
        "two",
        two,
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), tmp_path / "two.onnx")

    with pytest.raises(ModelError, match=r"two\.onnx has 2 inputs"):
        blockquant.convert([tmp_path / "two.onnx"], tmp_path / "plain.onnx")
