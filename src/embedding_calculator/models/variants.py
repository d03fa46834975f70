"""The INT8 copy of a network lies beside it in the store, in a folder of its own that appears whole or not at all."""

from __future__ import annotations

import zipfile
from enum import StrEnum
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ConfigurationError
from embedding_calculator.models.inspection import probe
from embedding_calculator.models.runtime import Network, Plan, Runtime
from embedding_calculator.models.stamp import Stamp, flush, stamp_of

INT8 = "int8"
"""The folder beside ``network.onnx``."""

_NETWORK, _MANIFEST, _GOLDEN = "network.onnx", "manifest.json", "golden.npz"

_NEAR = 0.98
"""Cosine to the golden vector: rounding falls otherwise on another processor, and engines differ by 0.996."""


class VariantState(StrEnum):
    """What is known of the INT8 variant of a network. ``stale``: it was made of another float32 file."""

    MISSING = "missing"
    DAMAGED = "damaged"
    STALE = "stale"
    DIFFERENT = "different"
    PRESENT = "present"
    VERIFIED = "verified"


class Variant(Stamp):
    """Lies beside the INT8 network, written last, and says what it is worth.

    ``of`` is the SHA-256 of the float32 network; ``in_float`` names the layers that were left as they are. The cosines
    are those of ``compared_on`` faces, none of them among the ``calibrated_on`` of which it was made. ``probed`` is the
    shape of ``inspection.probe`` to which it gave the answer in ``golden.npz``.
    """

    of: str
    in_float: tuple[str, ...]
    calibrated_on: int
    compared_on: int
    median_cosine: float
    worst_cosine: float
    probed: tuple[int, ...]


def state_of(folder: Path, float32: str, *, thorough: bool = False) -> VariantState:
    """The state of the variant in ``folder`` of a network whose file has the hash ``float32``.

    ``thorough`` hashes it and asks it for its golden vector again, where there is an engine for it.
    """
    if not folder.exists():
        return VariantState.MISSING
    variant = read_variant(folder)
    if variant is None or not variant.fits(folder / _NETWORK, thorough=thorough):
        return VariantState.DAMAGED
    if variant.of != float32:
        return VariantState.STALE
    return _judged(folder, variant) if thorough else VariantState.PRESENT


def _judged(folder: Path, variant: Variant) -> VariantState:
    try:
        with np.load(folder / _GOLDEN) as golden:
            near = cosines(_answer(open_variant(folder / _NETWORK), variant.probed), golden["answer"]).min() > _NEAR
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return VariantState.DAMAGED
    except ConfigurationError:  # No OpenVINO here, so that nothing will run it either.
        return VariantState.VERIFIED
    return VariantState.VERIFIED if near else VariantState.DIFFERENT


def read_variant(folder: Path) -> Variant | None:
    """What was recorded of the variant in ``folder``; None where nothing can be read."""
    try:
        return Variant.model_validate_json((folder / _MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def network_in(folder: Path) -> Path:
    """The ONNX file of the variant in ``folder``."""
    return folder / _NETWORK


def seal(
    folder: Path, *, of: str, in_float: tuple[str, ...], calibrated_on: int, found: Floats, probed: tuple[int, ...]
) -> Variant:
    """Write golden vector and manifest beside the network in ``folder``; ``found`` are its cosines to float32."""
    np.savez_compressed(folder / _GOLDEN, allow_pickle=False, answer=_answer(open_variant(folder / _NETWORK), probed))
    flush(folder / _GOLDEN)
    variant = Variant(
        **stamp_of(folder / _NETWORK),
        of=of,
        in_float=in_float,
        calibrated_on=calibrated_on,
        compared_on=len(found),
        median_cosine=float(np.median(found)),
        worst_cosine=float(found.min()),
        probed=probed,
    )
    (folder / _MANIFEST).write_text(variant.model_dump_json(indent=2), encoding="utf-8")
    flush(folder / _MANIFEST)
    flush(folder)
    return variant


def open_variant(path: Path) -> Network:
    """Open an INT8 file on the engine that runs it.

    Raises ConfigurationError where OpenVINO is not to be had.
    """
    return Runtime().open_as(path, Plan("openvino", "int8"))


def cosines(first: Floats, second: Floats) -> Floats:
    """Of the rows of two arrays ``(N, D)``: ``(N,)``."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    result: Floats = (first * second).sum(axis=1) / np.maximum(lengths, 1e-12)
    return result


def _answer(network: Network, shape: tuple[int, ...]) -> Floats:
    (answer,) = network.run(probe(shape)).values()
    return answer
