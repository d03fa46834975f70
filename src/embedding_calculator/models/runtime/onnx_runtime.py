"""Networks on ONNX Runtime: everywhere, and on accelerators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ConfigurationError
from embedding_calculator.models.runtime.network import Outputs, Running, run_in_pieces

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
CORE_ML = "CoreMLExecutionProvider"


@dataclass(frozen=True, slots=True)
class Provider:
    """What ONNX Runtime calls a device: its name, and how it is to be set up."""

    name: str = CPU
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_gpu(cls, index: int, system: str, memory_limit: int | None = None) -> Provider:
        """The provider for the GPU of this index: CUDA, or on a Mac (``system`` is ``Darwin``) CoreML.

        ``memory_limit`` is in bytes, for what ONNX Runtime takes for activations and weights; CoreML knows none.
        """
        if system == "Darwin":
            return cls(CORE_ML)
        # Trying out every algorithm for every shape (the default) takes seconds for each shape first met.
        options: dict[str, Any] = {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"}
        if memory_limit:
            options |= {"gpu_mem_limit": memory_limit, "arena_extend_strategy": "kSameAsRequested"}
        return cls(CUDA, options)

    def require(self) -> None:
        """Raise ConfigurationError where the installed ONNX Runtime does not know this device at all."""
        import onnxruntime as ort

        if self.name not in (known := ort.get_available_providers()):
            remedy = (
                "install onnxruntime-gpu in place of onnxruntime"
                if self.name == CUDA
                else "install another onnxruntime"
            )
            raise ConfigurationError(
                f"GPU_IDX asks for a GPU, but the installed onnxruntime {ort.__version__} has no {self.name}, only "
                f"{', '.join(known)}: {remedy}, or set GPU_IDX=-1 to compute on the processor"
            )


class OnnxRuntimeNetwork:
    """A session that any number of threads may run at once."""

    def __init__(self, path: Path, threads: int, provider: Provider) -> None:
        """Open an ONNX file.

        Raises:
            ConfigurationError: the device cannot be used.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Two callers with a thread each beat one caller with two; a spinning thread steals the other caller's core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        wanted = [(provider.name, dict(provider.options))]
        if provider.name != CPU:
            wanted.append((CPU, {}))
        self._session = ort.InferenceSession(path, options, providers=wanted)
        used = self._session.get_providers()
        # ONNX Runtime falls back to the processor in silence where a GPU or its libraries are missing.
        if used[0] != provider.name:
            raise ConfigurationError(
                f"GPU_IDX asks for a GPU, but {provider.name} with {dict(provider.options)} did not start: driver, "
                f"CUDA or cuDNN are missing, of another version than onnxruntime {ort.__version__} needs, or there is "
                f"no such GPU (nvidia-smi lists them). GPU_IDX=-1 computes on the processor"
            )
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._run = partial(run_in_pieces, self._compute) if provider.name == CPU else self._compute
        self.running = Running("onnxruntime", provider.name, "f32", threads, self._nodes())

    def run(self, batch: Floats) -> Outputs:
        """See ``Network``."""
        return self._run(batch)

    def _compute(self, batch: Floats) -> Outputs:
        return dict(zip(self._outputs, self._session.run(None, {self._input: batch}), strict=True))

    def _nodes(self) -> Mapping[str, int] | None:
        """Nodes by provider, as the session assigned them; told by ONNX Runtime 1.24 and later."""
        if not hasattr(self._session, "get_provider_graph_assignment_info"):
            return None
        nodes: Counter[str] = Counter()
        for part in self._session.get_provider_graph_assignment_info():
            nodes[part.ep_name] += len(part.get_nodes())
        return dict(nodes)
