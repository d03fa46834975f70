"""How a network runs: the Protocol that plugins see (network), two engines, and the choice between them."""

from pathlib import Path

from embedding_calculator.models.runtime.choice import Runtime, Wishes
from embedding_calculator.models.runtime.network import Model, Network, Plan, Running

__all__ = ["Model", "Network", "Plan", "Running", "Runtime", "Wishes", "open_network"]


def open_network(path: Path) -> Network:
    """Open an ONNX file in float32 on the engine that runs everything."""
    return Runtime(Wishes(openvino=False)).open(path)
