"""What every importer's result goes through."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers import blockquant, flush_subnormals
from embedding_calculator.models.importers import onnx as plain_onnx
from embedding_calculator.models.importers.mxnet.params import read_params
from publisher import tiny_network


def test_weights_too_small_to_matter_become_zero(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    model = onnx.load_from_string(tiny_network())
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    smallest = np.finfo(np.float32).smallest_normal
    weights[:4, 0] = [smallest / 2, -smallest / 8, smallest, -smallest]
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    model.graph.initializer.append(helper.make_tensor("sizes", onnx.TensorProto.INT64, [2], [0, 7]))
    onnx.save(model, path)
    flush_subnormals(path)
    flushed = onnx.load(path)
    weights[:2, 0] = 0
    np.testing.assert_array_equal(numpy_helper.to_array(flushed.graph.initializer[0]), weights)
    np.testing.assert_array_equal(numpy_helper.to_array(flushed.graph.initializer[2]), [0, 7])
    assert flushed.graph.node == model.graph.node
    before = path.stat().st_mtime_ns
    flush_subnormals(path)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("importer", [blockquant, plain_onnx])
def test_what_is_no_onnx_is_told(importer: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(tiny_network()[:-1])
    with pytest.raises(ModelError, match=r"network\.onnx is damaged or no ONNX model"):
        importer.convert([path], tmp_path / "target")


def test_an_array_without_numbers_but_of_impossible_shape_is_told(tmp_path: Path) -> None:
    path = tmp_path / "network.params"
    array = struct.pack("<IiI3q3i", 0xF993FAC9, 0, 3, 0, 2**40, 2**40, 1, 0, 0)
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + array + struct.pack("<QQ", 1, 1) + b"w")
    with pytest.raises(ModelError, match="an array of shape"):
        read_params(path)
