"""Which peers are here, and how they are started."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

FACE_RECOGNITION = Path(".venv-peers")
"""It has an environment of its own: it needs a setuptools that is older than ours."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Its name in tables, and its command. ``small_only``: with big photos it would take most of the time."""

    name: str
    command: tuple[str, ...]
    small_only: bool = False


def installed(models: Path) -> list[Peer]:
    """Those that are here with their ``models``."""
    peers = []
    detector = models / "insightface/det_500m/det_500m.onnx"
    recogniser = models / "other/foamliu_MobileFaceNet.onnx"
    if importlib.util.find_spec("insightface") and detector.exists() and recogniser.exists():
        module = "benchmarks.peers.insightface"
        peers.append(Peer("insightface 2.1", (sys.executable, "-m", module, str(detector), str(recogniser))))
    if any(FACE_RECOGNITION.glob("lib/*/site-packages/face_recognition")):
        python, module = str(FACE_RECOGNITION / "bin/python"), "benchmarks.peers.face_recognition"
        peers.append(Peer("face_recognition 1.3", (python, "-m", module), small_only=True))
    return peers
