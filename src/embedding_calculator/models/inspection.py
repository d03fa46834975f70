"""Proof at pull time that an imported network runs, so that a start is never the first to find out.

What it answers to a picture that anybody can make again, its golden vector, is kept beside it: ``models verify`` asks
again, and tells where an engine or a processor has come to answer otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ModelError
from embedding_calculator.models.runtime import open_network

Shapes = dict[str, list[int | str]]
"""Name -> dimensions; a free one by its name, or ``"?"``."""


_ANY_SIDE = 128
"""Side in pixels at which a network is tried that takes any: a multiple of every stride in use."""

_TOLERANCE = 1e-3
"""Of a golden output's largest number: a hundred times what engines in float32 differ by."""


class Signature(NamedTuple):
    """What goes in and what comes out; ``golden`` is what came out, by output, of a ``probe`` of ``probed``."""

    inputs: Shapes
    outputs: Shapes
    probed: tuple[int, ...]
    golden: Mapping[str, Floats]


def inspect(path: Path, size: tuple[int, int] | None) -> Signature:
    """Read names and shapes of an ONNX file, and run it.

    ``size`` is ``(width, height)`` of the catalogue, for networks whose graph leaves it free; one that takes any size
    is tried at 128. A network that says its batch is free must run with two. Raises ModelError where it has more than
    one input, one that is no colour image, or does not run.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: _shape(value) for value in graph.input if value.name not in weights}
    if len(inputs) != 1:
        raise ModelError(f"the network has {len(inputs)} inputs, one image is expected")
    (shape,) = inputs.values()
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise ModelError(f"the network's input has shape {shape}, (N, 3, H, W) is expected")
    width, height = size or (_ANY_SIDE, _ANY_SIDE)
    rows, columns = (
        fixed if isinstance(fixed, int) else free for fixed, free in zip(shape[2:], (height, width), strict=True)
    )
    batch = shape[0] if isinstance(shape[0], int) else 2
    probed = (batch, 3, rows, columns)
    try:
        golden = dict(open_network(path).run(probe(probed)))
    except Exception as error:  # engines have errors of their own
        raise ModelError(f"the network does not run on {batch} pictures of {columns}x{rows}: {error}") from error
    return Signature(inputs, {value.name: _shape(value) for value in graph.output}, probed, golden)


def probe(shape: tuple[int, ...]) -> Floats:
    """Seeded noise, 0..255 float32: pictures of which a golden vector is made."""
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def answers_as_before(path: Path, shape: tuple[int, ...], golden: Mapping[str, Floats]) -> bool:
    """Whether an imported network still gives its golden vector for ``probe(shape)``."""
    answers = open_network(path).run(probe(shape))
    return answers.keys() == golden.keys() and all(
        np.allclose(answers[name], known, rtol=0, atol=_TOLERANCE * max(float(np.abs(known).max(initial=0)), 1.0))
        for name, known in golden.items()
    )


def _shape(value: object) -> list[int | str]:
    dimensions = value.type.tensor_type.shape.dim  # type: ignore[attr-defined]
    return [one.dim_value if one.HasField("dim_value") else one.dim_param or "?" for one in dimensions]
