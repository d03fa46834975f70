"""How a network runs: one small Protocol, so that the engine behind a model is a choice and not a habit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from embedding_calculator.arrays import Floats
from embedding_calculator.models.spec import InputSpec


class Network(Protocol):
    """One network with one image input, safe to call from several threads at once."""

    def run(self, batch: Floats) -> Mapping[str, Floats]:
        """``(N, 3, H, W)`` float32 in, every output by its name in the graph out."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """A catalogue entry whose networks are open and ready.

    ``parameters`` is the entry's free table: thresholds, strides, similarity coefficients, labels ... ``networks``
    are by the file's key in the entry: ``network`` where there is one, ``pnet``/``rnet``/``onet`` for MTCNN.
    """

    name: str
    input: InputSpec
    parameters: Mapping[str, Any]
    networks: Mapping[str, Network]

    @property
    def network(self) -> Network:
        """The network of an entry that has just one."""
        (network,) = self.networks.values()
        return network


def open_network(path: Path, threads: int = 1) -> Network:
    """Open an ONNX file on the engine chosen for this machine."""
    return _OnnxRuntimeNetwork(path, threads)


class _OnnxRuntimeNetwork:
    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Two callers with a thread each beat one caller with two; a spinning thread steals the other caller's core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, batch: Floats) -> Mapping[str, Floats]:
        return dict(zip(self._outputs, self._session.run(None, {self._input: batch}), strict=True))
