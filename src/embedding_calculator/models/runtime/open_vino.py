"""Networks on OpenVINO: the fastest engine on x86 processors for most networks, and the only one here with bf16."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ConfigurationError
from embedding_calculator.models.runtime.network import Outputs, Precision, Running, run_in_pieces


class OpenVino:
    """The engine; one is enough for all networks of a process."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            ConfigurationError: OpenVINO is not installed or does not run here; the text says why.
        """
        try:
            openvino = _import_silently()
            # Its table of types is made by the first call that needs it; two threads at once there wait for each other
            # for ever, one with the interpreter's lock, one with the table's (seen with 2026.4).
            openvino.Type.f32.to_dtype()
            self._core = openvino.Core()
            self._capabilities = frozenset(self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        except (ImportError, RuntimeError) as error:
            raise ConfigurationError(f"OpenVINO cannot be used: {error}") from error

    @property
    def has_bf16(self) -> bool:
        """Whether OpenVINO computes in bf16 on this processor."""
        return "BF16" in self._capabilities

    @property
    def has_int8(self) -> bool:
        """Whether OpenVINO computes in INT8 on this processor."""
        return "INT8" in self._capabilities

    def open(self, path: Path, precision: Precision, threads: int, callers: int) -> OpenVinoNetwork:
        """Open an ONNX file for ``callers`` that may run it at once, with ``threads`` each.

        For ``int8`` the file itself says which layers are to be multiplied so; see ``models.quantization``.
        """
        # Each caller has a stream: the network's activations once more, its weights not. The shapes stay free: OpenVINO
        # computes as fast as with fixed ones, and a change of shape costs 0.2 to 2 ms.
        config = {
            # What a network in INT8 leaves in float32 is too little for bf16 to make it faster.
            "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
            "NUM_STREAMS": callers,
            "INFERENCE_NUM_THREADS": callers * threads,
            "ENABLE_CPU_PINNING": False,
        }
        return OpenVinoNetwork(self._core.compile_model(str(path), "CPU", config), precision, threads)


class OpenVinoNetwork:
    """A compiled model that any number of threads may run at once; those beyond its streams wait."""

    def __init__(self, compiled: Any, precision: Precision, threads: int) -> None:
        self._compiled = compiled
        # An output may bear the names of nodes that were merged into it; its sink is called after the graph's.
        self._outputs = [output.node.friendly_name.rpartition("/sink_port_")[0] for output in compiled.outputs]
        self._idle: list[Any] = []
        self.running = Running("openvino", "CPU", precision, threads)

    def run(self, batch: Floats) -> Outputs:
        """See ``Network``."""
        return run_in_pieces(self._compute, batch)

    def _compute(self, batch: Floats) -> Outputs:
        # As many requests as there were callers at once; the one used last is warm in the processor's cache.
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            answers = request.infer([np.ascontiguousarray(batch)], share_inputs=True)
            return dict(zip(self._outputs, answers.values(), strict=True))
        finally:
            self._idle.append(request)


def _import_silently() -> ModuleType:
    """OpenVINO without its telemetry.

    ``import openvino`` tells its makers' statistics at Google that it was imported, and keeps an identity for that in
    the home folder, unless ``openvino_telemetry`` cannot be imported. Nothing leaves this process unasked.
    """
    name = "openvino_telemetry"
    if "openvino" in sys.modules or name in sys.modules:
        import openvino

        return openvino  # type: ignore[no-any-return]
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino

        return openvino  # type: ignore[no-any-return]
    finally:
        del sys.modules[name]
