"""Which engine runs a network: by the settings, else by what ``tune`` measured here, else by what is known of it."""

from __future__ import annotations

import importlib.util
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from embedding_calculator.errors import ConfigurationError
from embedding_calculator.models.runtime import machine
from embedding_calculator.models.runtime.batching import joined
from embedding_calculator.models.runtime.network import Opened, Plan
from embedding_calculator.models.runtime.onnx_runtime import OnnxRuntimeNetwork, Provider
from embedding_calculator.models.runtime.open_vino import OpenVino
from embedding_calculator.models.spec import Traits

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the settings say of engines.

    callers: photos computed at once; each calls a network with one thread of its own.
    gpu: index of the GPU; None or below 0 is the processor.
    gpu_memory_limit: bytes that ONNX Runtime may take of the GPU for one network; None is as many as it likes.
    openvino: True insists on it, False forbids it, None leaves the choice.
    precision: ``f32`` forbids less; ``auto`` allows bf16 for networks known not to suffer from it; ``int8`` moreover
        INT8 for those that have such a variant.
    """

    callers: int = 1
    gpu: int | None = None
    gpu_memory_limit: int | None = None
    openvino: bool | None = None
    precision: Literal["auto", "f32", "int8"] = "auto"

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is asked for."""
        return self.gpu is not None and self.gpu >= 0


class Runtime:
    """Opens networks on the engine that suits them; loads an engine only when a network needs it."""

    def __init__(self, wishes: Wishes | None = None, tuned: Mapping[str, Plan] | None = None) -> None:
        """Take the wishes, and what ``tune`` found: the SHA-256 of a network's file -> its plan.

        Raises:
            ConfigurationError: what is wished for is not there; the text says why.
        """
        self.wishes = wishes or Wishes()
        self._tuned = tuned or {}
        self._provider = Provider()
        if self.wishes.on_gpu:
            if self.wishes.openvino:
                raise ConfigurationError("GPU_IDX asks for a GPU and INTEL_OPTIMIZATION=true for the processor")
            self._provider = Provider.of_gpu(self.wishes.gpu or 0, platform.system(), self.wishes.gpu_memory_limit)
            self._provider.require()
        elif self.wishes.openvino and isinstance(self._openvino, ConfigurationError):
            raise ConfigurationError(f"INTEL_OPTIMIZATION=true, but {self._openvino}")
        if self.wishes.precision == "int8" and (why := self._no_int8()):
            raise ConfigurationError(f"INFERENCE_PRECISION=int8 runs on OpenVINO, but {why}")

    def plan(self, traits: Traits, sha256: str | None = None, *, int8: bool = False) -> Plan:
        """How a network with these traits, in the file with this hash, will run; ``int8``: it has such a variant."""
        tuned = self._tuned.get(sha256 or "")
        return tuned if tuned and self._allows(tuned, traits, int8) else self._known_best(traits, int8)

    def candidates(self, traits: Traits, threads: tuple[int, ...] = (1,), *, int8: bool = False) -> list[Plan]:
        """Every plan that the wishes, the network and the machine allow; with more threads than one where given."""
        plans = [Plan("onnxruntime"), Plan("openvino"), Plan("openvino", "bf16"), Plan("openvino", "int8")]
        return [replace(plan, threads=count) for plan in plans if self._allows(plan, traits, int8) for count in threads]

    def open(
        self,
        path: Path,
        traits: Traits | None = None,
        sha256: str | None = None,
        probed: tuple[int, ...] = (1,),
        int8: Path | None = None,
    ) -> Opened:
        """Open an ONNX file as planned, or its INT8 variant, where there is one and the plan is to run that.

        On a GPU, callers share its runs. ``probed`` is the shape ``(N, 3, H, W)`` of a batch that the network is known
        to take; by default one picture.

        Raises:
            ConfigurationError: the GPU that is asked for cannot be used.
        """
        plan = self.plan(traits or Traits(), sha256, int8=int8 is not None)
        opened = self.open_as(int8 if int8 and plan.precision == "int8" else path, plan)
        return joined(opened, probed) if self.wishes.on_gpu else opened

    def open_as(self, path: Path, plan: Plan) -> Opened:
        """Open an ONNX file by this plan, for INT8 the variant's file; every call is a run of its own."""
        if plan.engine == "onnxruntime":
            return OnnxRuntimeNetwork(path, plan.threads, self._provider)
        if isinstance(self._openvino, ConfigurationError):
            raise self._openvino
        return self._openvino.open(path, plan.precision, plan.threads, self.wishes.callers)

    def _allows(self, plan: Plan, traits: Traits, int8: bool) -> bool:
        if plan.engine == "onnxruntime":
            return plan.precision == "f32" and not self.wishes.openvino
        if self.wishes.openvino is False or self.wishes.on_gpu or isinstance(self._openvino, ConfigurationError):
            return False
        if plan.precision == "int8":
            return int8 and self.wishes.precision == "int8"
        return plan.precision == "f32" or (
            traits.bf16 and self.wishes.precision != "f32" and machine.may_have_bf16() and self._openvino.has_bf16
        )

    def _known_best(self, traits: Traits, int8: bool) -> Plan:
        """Without a measurement on this machine: by those on others, which stand in the catalogue and in the docs."""
        if int8 and self._allows(plan := Plan("openvino", "int8"), traits, int8):
            return plan
        fast = traits.bf16 and machine.has_fast_bf16()
        likely = machine.is_x86() and (fast or traits.float32 == "openvino")
        if likely or self.wishes.openvino:
            if fast and self._allows(plan := Plan("openvino", "bf16"), traits, int8):
                return plan
            if (traits.float32 == "openvino" or self.wishes.openvino) and self._allows(
                plan := Plan("openvino"), traits, int8
            ):
                return plan
        return Plan("onnxruntime")

    def _no_int8(self) -> str | None:
        """Why nothing can be run in INT8; None where it can."""
        if self.wishes.on_gpu:
            return "GPU_IDX asks for a GPU"
        if self.wishes.openvino is False:
            return "INTEL_OPTIMIZATION=false forbids it"
        if isinstance(self._openvino, ConfigurationError):
            return str(self._openvino)
        return None if self._openvino.has_int8 else "it has no INT8 on this processor"

    @cached_property
    def _openvino(self) -> OpenVino | ConfigurationError:
        """The engine, or why there is none."""
        if importlib.util.find_spec("openvino") is None:
            return ConfigurationError("OpenVINO cannot be used: the package openvino is not installed")
        try:
            return OpenVino()
        except ConfigurationError as error:
            _log.warning("%s; its networks run on ONNX Runtime", error)
            return error
