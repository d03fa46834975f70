"""What is known of the processor and the installed engines, without loading either engine."""

from __future__ import annotations

import platform
import re
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def is_x86() -> bool:
    """Whether this is a 64-bit x86 processor."""
    return platform.machine().lower() in {"x86_64", "amd64"}


@cache
def may_have_bf16() -> bool:
    """Whether the processor multiplies bf16 (AVX512-BF16 or AMX); True where the system does not tell."""
    flags = _field("flags")
    return flags is None or not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


@cache
def has_fast_bf16() -> bool:
    """Whether bf16 is faster than float32: with AMX it is, with AVX512-BF16 alone every network here is slower."""
    return "amx_bf16" in (_field("flags") or "").split()


def fingerprint() -> dict[str, str | None]:
    """What a measurement of engines holds for: the processor and the versions of the engines."""
    name = _field("model name") or platform.processor()
    # Virtual machines call many processors by one name; what these can do tells them apart.
    features = sha256((_field("flags") or "").encode()).hexdigest()[:12]
    return {"cpu": f"{name} ({features})", "onnxruntime": _version("onnxruntime"), "openvino": _version("openvino")}


def _field(name: str) -> str | None:
    """A line of the first processor in Linux's list."""
    try:
        found = re.search(rf"^{name}\s*:\s*(.*)$", _CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
