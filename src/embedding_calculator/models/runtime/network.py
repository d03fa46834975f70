"""What plugins see of an engine: one small Protocol, so that the engine behind a model is a choice and not a habit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.models.spec import EngineName, InputSpec

Precision = Literal["f32", "bf16", "int8"]
Outputs: TypeAlias = Mapping[str, Floats]

_ALONE = 96 * 96
"""Pixels of an input from which it is computed alone, see ``run_in_pieces``."""


class Network(Protocol):
    """One network with one image input, safe to call from several threads at once."""

    def run(self, batch: Floats) -> Outputs:
        """``(N, 3, H, W)`` float32 in, every output by its name in the graph out."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """On which engine a network runs, how exactly it multiplies, and with how many threads for one call."""

    engine: EngineName
    precision: Precision = "f32"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Running:
    """How a network really runs, for ``/status``.

    ``device`` is the engine's own word (``CPU``, ``CUDAExecutionProvider`` ...); ``nodes`` counts the graph's nodes by
    device where the engine tells it.
    """

    engine: EngineName
    device: str
    precision: Precision
    threads: int
    nodes: Mapping[str, int] | None = None


class Opened(Network, Protocol):
    """A network that says how it runs."""

    running: Running


@dataclass(frozen=True, slots=True)
class Model:
    """A catalogue entry whose networks are open and ready.

    ``parameters`` is the entry's free table: thresholds, strides, similarity coefficients, labels ... ``networks``
    are by the file's key in the entry: ``network`` where there is one, ``pnet``/``rnet``/``onet`` for MTCNN; so are
    ``running``, and ``inputs`` of those that take other pixels than ``input`` says.
    """

    name: str
    input: InputSpec
    parameters: Mapping[str, Any]
    networks: Mapping[str, Network]
    running: Mapping[str, Running] = field(default_factory=dict)
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """The network of an entry that has just one."""
        (network,) = self.networks.values()
        return network


def run_in_pieces(run: Callable[[Floats], Outputs], batch: Floats) -> Outputs:
    """Run a batch on a processor: large inputs one by one, small ones together.

    Large inputs gain nothing from company there (SFace in ONNX Runtime 24.1 ms a face in a batch, 24.4 alone; in
    OpenVINO a change of the batch costs what it gains), but an engine keeps memory for the largest batch it has met:
    13 faces cost SFace 150 MB for good. Small inputs gain up to four times (64x64, bf16: 0.16 ms of 0.52).
    """
    if len(batch) == 1 or batch.shape[2] * batch.shape[3] < _ALONE:
        return run(batch)
    answers = [run(batch[index : index + 1]) for index in range(len(batch))]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
