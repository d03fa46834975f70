"""What every importer's result goes through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from embedding_calculator.models.importers import flush_subnormals
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
