"""Proof at pull time that an imported network runs, so that a start is never the first to find out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from embedding_calculator.errors import ModelError
from embedding_calculator.models.runtime import open_network

Shapes = dict[str, list[int | str]]
"""Name -> dimensions; a free one by its name, or ``"?"``."""


class Signature(NamedTuple):
    """What goes in and what comes out."""

    inputs: Shapes
    outputs: Shapes


def inspect(path: Path, size: tuple[int, int] | None) -> Signature:
    """Read names and shapes of an ONNX file, and run it once on zeros where its input size is known.

    ``size`` is ``(width, height)`` of the catalogue, for networks whose graph leaves it free. A network that says its
    batch is free must run with two. Raises ModelError where it has more than one input, one that is no colour image,
    or does not run.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: _shape(value) for value in graph.input if value.name not in weights}
    signature = Signature(inputs, {value.name: _shape(value) for value in graph.output})
    if len(inputs) != 1:
        raise ModelError(f"the network has {len(inputs)} inputs, one image is expected")
    (shape,) = inputs.values()
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise ModelError(f"the network's input has shape {shape}, (N, 3, H, W) is expected")
    width, height = size or (None, None)
    rows, columns = (
        fixed if isinstance(fixed, int) else free for fixed, free in zip(shape[2:], (height, width), strict=True)
    )
    if rows and columns:
        batch = shape[0] if isinstance(shape[0], int) else 2
        try:
            open_network(path).run(np.zeros((batch, 3, rows, columns), np.float32))
        except Exception as error:  # engines have errors of their own
            raise ModelError(f"the network does not run on {batch} pictures of {columns}x{rows}: {error}") from error
    return signature


def _shape(value: object) -> list[int | str]:
    dimensions = value.type.tensor_type.shape.dim  # type: ignore[attr-defined]
    return [one.dim_value if one.HasField("dim_value") else one.dim_param or "?" for one in dimensions]
