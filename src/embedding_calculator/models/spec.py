"""What the catalogue says of a model: data only, so that no file name, mean, scale or threshold is in code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from embedding_calculator.arrays import Floats, Pixels

Commercial = Literal["yes", "no", "unknown"]
Verified = Literal["weights", "architecture"]
EngineName = Literal["onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How pixels become the tensor a network was trained on: ``(pixel - mean) * scale`` per channel.

    ``size`` is ``(width, height)`` in pixels, or None where the network takes any size. ``mean`` and ``scale`` are in
    the order of ``colour`` and in units of 0..255 pixels.
    """

    size: tuple[int, int] | None = None
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def tensor(self, crops: Pixels | Floats) -> Floats:
        """``(N, H, W, 3)`` RGB, 0..255, uint8 or float32, to the network's ``(N, 3, H, W)`` float32."""
        planes = crops[..., ::-1] if self.colour == "bgr" else crops
        tensor = np.ascontiguousarray(planes.transpose(0, 3, 1, 2), dtype=np.float32)
        if any(self.mean):
            tensor -= np.asarray(self.mean, np.float32)[:, None, None]
        if self.scale != (1.0, 1.0, 1.0):
            tensor *= np.asarray(self.scale, np.float32)[:, None, None]
        return tensor


@dataclass(frozen=True, slots=True)
class Traits:
    """What was measured of a model's networks, on any machine, that tells which engine suits them.

    ``bf16``: its answers do not suffer from bf16, which has two to three decimal digits. Embeddings and classes do
    not; places do: YuNet's points move by a pixel. ``float32``: the engine that is faster on x86 in float32.
    """

    bf16: bool = False
    float32: EngineName = "onnxruntime"
