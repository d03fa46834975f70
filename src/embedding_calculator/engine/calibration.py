"""An INT8 variant of a model that makes embeddings: calibrated and judged on what its network really sees of photos."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.engine.assembly import build
from embedding_calculator.engine.intake import take_in
from embedding_calculator.errors import ConfigurationError, InputError, ModelError
from embedding_calculator.models.catalog import Catalog, Entry
from embedding_calculator.models.quantization import quantise
from embedding_calculator.models.runtime import Model, Network, open_network
from embedding_calculator.models.runtime.network import Outputs
from embedding_calculator.models.store import NETWORK_KEY, Store
from embedding_calculator.models.variants import Variant, cosines, network_in, open_variant, seal
from embedding_calculator.plugins.registry import PluginName, Registry
from embedding_calculator.settings import Settings

_log = logging.getLogger(__name__)

_CALIBRATION, _COMPARISON = 160, 320
"""Faces that are enough: three times as many to calibrate on leave the worst cosine where it is."""

_LEAST = 8
"""Faces for each of the two, below which nothing can be said."""

_POOR = 0.97
"""Median cosine below which a variant is not kept."""


@dataclass(frozen=True, slots=True)
class Faces:
    """What a network is given of faces, ``(N, 3, H, W)`` float32: of some photos, and of others."""

    calibration: Floats
    comparison: Floats


class _Witness:
    """A network that keeps what it was given."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.seen: list[Floats] = []

    def run(self, batch: Floats) -> Outputs:
        """See ``Network``."""
        self.seen.append(np.array(batch))
        return self._network.run(batch)


def calculator_of(entry: Entry, catalog: Catalog) -> PluginName:
    """The plugin that makes embeddings of this model.

    Raises:
        ConfigurationError: none does.
    """
    registry = Registry(catalog)
    for name in (PluginName(plugin, entry.name) for plugin in entry.plugins):
        if hasattr(registry.load(name), "similarity_coefficients"):
            return name
    raise ConfigurationError(
        f"Model {entry.name!r} makes no embeddings, and only such models have INT8 variants: embeddings bear eight "
        f"bits, and how well is told by a cosine; the places that a detector finds do not"
    )


def collect(calculator: PluginName, settings: Settings, photos: Iterable[Path]) -> Faces:
    """Find faces in the photos, in their order, until there are enough: of every third photo for the comparison.

    Raises:
        InputError: there are too few faces.
        ConfigurationError, ModelError: see ``assembly.build``.
    """
    sides: tuple[list[Floats], list[Floats]] = ([], [])
    for number, faces in enumerate(_inputs_seen(calculator, settings, photos)):
        counts = [sum(map(len, side)) for side in sides]
        if counts[0] >= _CALIBRATION and counts[1] >= _COMPARISON:
            break
        sides[number % 3 == 2 or counts[0] >= _CALIBRATION].append(faces)
    calibration, comparison = (sum(map(len, side)) for side in sides)
    if min(calibration, comparison) < _LEAST:
        raise InputError(
            f"too few faces: {calibration} to calibrate on and {comparison} in other photos to compare, and at least "
            f"{_LEAST} of each are needed, better a hundred: name more photos"
        )
    return Faces(np.concatenate(sides[0])[:_CALIBRATION], np.concatenate(sides[1])[:_COMPARISON])


def keep_variant(entry: Entry, store: Store, faces: Faces) -> Variant:
    """Make the INT8 variant of the entry's network, compare it with float32, and keep it in the store.

    Raises:
        ModelError: it cannot be made, is too far from float32, or cannot be stored.
        ConfigurationError: OpenVINO, which is to run it, is not to be had.
    """
    path, manifest = store.path(entry), store.manifests(entry)[NETWORK_KEY]

    def make(folder: Path) -> Variant:
        try:
            in_float = quantise(path, network_in(folder), faces.calibration)
            networks = open_variant(network_in(folder)), open_network(path)
            found = cosines(*(next(iter(network.run(faces.comparison).values())) for network in networks))
        except (ConfigurationError, OSError):
            raise
        except Exception as error:  # engines have errors of their own
            raise ModelError(f"Model {entry.name!r} cannot be quantised: {error}") from error
        if (median := float(np.median(found))) < _POOR:
            raise ModelError(
                f"The INT8 variant of {entry.name!r} is not kept: its embeddings of {len(found)} faces are at a median "
                f"cosine of {median:.3f} to those in float32. More photos, of other people, may help"
            )
        return seal(
            folder,
            of=manifest.sha256,
            in_float=in_float,
            calibrated_on=len(faces.calibration),
            found=found,
            probed=manifest.probed,
        )

    return store.keep_int8(entry, make)


def _inputs_seen(calculator: PluginName, settings: Settings, photos: Iterable[Path]) -> Iterator[Floats]:
    """What the calculator's network is given of each photo: ``(N, 3, H, W)`` float32, a face each.

    Detector and second look are those of the settings. A photo that cannot be used is logged and gives none.

    Raises:
        ConfigurationError, ModelError: see ``assembly.build``.
    """
    witnesses: list[_Witness] = []

    def watch(model: Model) -> Model:
        if model.name != calculator.model:
            return model
        watched = {key: _Witness(network) for key, network in model.networks.items()}
        witnesses.extend(watched.values())
        return replace(model, networks=watched)

    changes = {
        "calculation_plugin": (f"{calculator.plugin}@{calculator.model}",),
        "extra_plugins": (),
        "inference_precision": "f32",
    }
    analyzer = build(settings.model_copy(update=changes), watch).named()
    (witness,) = witnesses
    size = witness.seen[0].shape[1:]
    for photo in photos:
        witness.seen.clear()
        try:
            picture = take_in(photo.read_bytes(), settings, stored_chroma=analyzer.stored_chroma)
            found, _ = analyzer.detect(picture)
            analyzer.describe(picture, found, analyzer.plugins)
        except (InputError, OSError) as error:
            _log.warning("%s is left out: %s", photo, error)
            continue
        yield np.concatenate([np.zeros((0, *size), np.float32), *witness.seen])
