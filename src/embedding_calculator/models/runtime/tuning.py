"""Measuring engines on the machine at hand, and keeping what was found beside the models."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Barrier

import numpy as np
from pydantic import TypeAdapter, ValidationError

from embedding_calculator.arrays import Floats
from embedding_calculator.models.runtime import machine
from embedding_calculator.models.runtime.batching import MOST_ELEMENTS
from embedding_calculator.models.runtime.choice import Runtime
from embedding_calculator.models.runtime.network import Network, Plan

_log = logging.getLogger(__name__)

BATCHES = (1, 2, 4, 8, 16, 32, 64)

_ROUNDS = 5
_ROUND_SECONDS = 0.3
_PLANS = TypeAdapter(dict[str, Plan])


def tuning_file(models: Path) -> Path:
    """Where the choice is kept, in the folder of the models."""
    return models / "tuning.json"


def read_tuning(path: Path) -> Mapping[str, Plan]:
    """What was measured here: the SHA-256 of a network's file -> its plan.

    Empty where nothing was measured, or on another processor or with other versions of the engines.
    """
    try:
        document = json.loads(path.read_bytes())
        plans = _PLANS.validate_python(document["plans"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        _log.warning("%s cannot be read and is ignored: %s. Measure anew: embedding-calculator tune", path, error)
        return {}
    if (measured_on := document.get("machine")) != machine.fingerprint():
        _log.warning(
            "%s was measured on %s and is ignored on %s. Measure anew: embedding-calculator tune",
            path,
            measured_on,
            machine.fingerprint(),
        )
        return {}
    return plans


def write_tuning(path: Path, plans: Mapping[str, Plan]) -> None:
    """Keep plans for this machine; those kept before for other networks stay, if they were measured here.

    Raises OSError where the folder cannot be written.
    """
    kept = {**read_tuning(path), **plans}
    document = {"machine": machine.fingerprint(), "plans": {key: asdict(plan) for key, plan in kept.items()}}
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(document, indent=2), encoding="utf-8")
    draft.replace(path)


def measure(runtime: Runtime, files: Mapping[Plan, Path], batch: Floats) -> Mapping[Plan, float]:
    """Runs a second of a network on ``batch`` by each plan for its file, with as many callers as the service has.

    The plans take turns, and the median of their rounds counts, so that a neighbour's moment of work hits all alike.
    """
    networks = {plan: runtime.open_as(path, plan) for plan, path in files.items()}
    rates: dict[Plan, list[float]] = {plan: [] for plan in files}
    with ThreadPoolExecutor(runtime.wishes.callers) as pool:
        for network in networks.values():
            _rate(pool, network, batch, runtime.wishes.callers, 0.0)
        for _ in range(_ROUNDS):
            for plan, network in networks.items():
                rates[plan].append(_rate(pool, network, batch, runtime.wishes.callers, _ROUND_SECONDS))
    return {plan: float(np.median(found)) for plan, found in rates.items()}


def rates_by_batch(network: Network, picture: Floats, sizes: Sequence[int] = BATCHES) -> Mapping[int, float]:
    """How many pictures a second the network computes for one caller, by how many it is shown at once.

    ``picture`` is ``(1, 3, H, W)``. Batches larger than those that callers share on accelerators are left out.
    """
    rates = {}
    with ThreadPoolExecutor(1) as pool:
        for size in sizes:
            if size > max(1, MOST_ELEMENTS // picture.size):
                break
            batch = np.repeat(picture, size, axis=0)
            _rate(pool, network, batch, 1, 0.0)
            rates[size] = size * _rate(pool, network, batch, 1, _ROUND_SECONDS)
    return rates


def _rate(pool: ThreadPoolExecutor, network: Network, batch: Floats, callers: int, seconds: float) -> float:
    """Runs a second of all callers together; each runs at least twice."""
    start = Barrier(callers)

    def call(_: int) -> float:
        start.wait()
        began, runs = time.perf_counter(), 0
        while runs < 2 or time.perf_counter() - began < seconds:
            network.run(batch)
            runs += 1
        return runs / (time.perf_counter() - began)

    return sum(pool.map(call, range(callers)))
