"""From settings to an analyzer whose models are all open, or an error that says what is missing and how to get it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from embedding_calculator.engine.analyzer import Analyzer
from embedding_calculator.engine.choices import Choices
from embedding_calculator.errors import ConfigurationError, ModelError
from embedding_calculator.imaging.picture import ArrayPicture
from embedding_calculator.models.catalog import Catalog, Entry, pull_command
from embedding_calculator.models.runtime import Model, Runtime, Wishes
from embedding_calculator.models.runtime.tuning import read_tuning, tuning_file
from embedding_calculator.models.store import State, Store
from embedding_calculator.models.variants import VariantState
from embedding_calculator.plugins.base import Calculator, Detector, FacePlugin, Warmable
from embedding_calculator.plugins.registry import Configured, PluginName, Registry
from embedding_calculator.settings import Settings

P = TypeVar("P")

_log = logging.getLogger(__name__)

# By what a plugin's class is told to be of a kind, before it is constructed.
_MARKS: dict[type, str] = {Detector: "detect", Calculator: "similarity_coefficients", FacePlugin: "slug"}


@dataclass(frozen=True, slots=True)
class Names:
    """The plugins that the settings name."""

    detectors: tuple[PluginName, ...]
    calculators: tuple[PluginName, ...]
    extras: tuple[PluginName, ...]

    @classmethod
    def of(cls, settings: Settings) -> Names:
        """Read them.

        Raises:
            ConfigurationError: there is no detector or no calculator among them.
        """
        names = cls(
            *(
                tuple(PluginName.parse(text) for text in texts)
                for texts in (settings.face_detection_plugin, settings.calculation_plugin, settings.extra_plugins)
            )
        )
        if not (names.detectors and names.calculators):
            raise ConfigurationError("FACE_DETECTION_PLUGIN and CALCULATION_PLUGIN must name a plugin each")
        return names


def configured_entries(settings: Settings, catalog: Catalog) -> list[Entry]:
    """The models that these settings need, each once.

    Raises:
        ConfigurationError: a plugin or a model does not exist.
    """
    names = Names.of(settings)
    registry = Registry(catalog)
    entries = [registry.entry(name) for name in (*names.detectors, *names.calculators, *names.extras)]
    return list({entry.name: entry for entry in entries if entry}.values())


def runtime_of(settings: Settings) -> Runtime:
    """The engines that these settings ask for, chosen by what ``tune`` measured where they leave a choice.

    Raises:
        ConfigurationError: a GPU or OpenVINO is insisted on and cannot be used.
    """
    limit = settings.gpu_memory_limit_mb
    wishes = Wishes(
        callers=settings.uwsgi_threads,
        gpu=settings.gpu_idx,
        gpu_memory_limit=limit and limit * 2**20,
        openvino=settings.intel_optimization,
        precision=settings.inference_precision,
    )
    return Runtime(wishes, read_tuning(tuning_file(settings.models_dir)))


def require_models(settings: Settings) -> None:
    """Make sure that everything these settings name exists and that its models are in the store.

    Raises:
        ConfigurationError: a plugin or a model does not exist, or INT8 is asked for where nothing has such a variant.
        ModelError: a model is not in the store; all that are missing are named at once, with the remedy.
    """
    catalog, store = Catalog.load(settings.model_catalog), Store(settings.models_dir)
    _require(configured_entries(settings, catalog), store)
    _require_int8(settings, catalog, store)


def _require(entries: Iterable[Entry], store: Store) -> None:
    states = [(entry, store.state(entry)) for entry in entries]
    if absent := [(entry, state) for entry, state in states if state is not State.PRESENT]:
        told = ", ".join(f"{entry.name} ({state})" for entry, state in absent)
        raise ModelError(
            f"models are not ready in {store.root}: {told}. Fetch them: {pull_command([entry for entry, _ in absent])}"
        )


def _require_int8(settings: Settings, catalog: Catalog, store: Store) -> None:
    """Where INT8 is asked for, say which embeddings are not made in it and what to do; refuse where none is."""
    if settings.inference_precision != "int8":
        return
    registry = Registry(catalog)
    entries = [entry for name in Names.of(settings).calculators if (entry := registry.entry(name))]
    states = {entry.name: store.int8_state(entry) for entry in entries}
    absent = [
        f"{name} ({state}): embedding-calculator models quantize {name} PHOTOS"
        for name, state in states.items()
        if state is not VariantState.PRESENT
    ]
    if len(absent) == len(states):
        raise ConfigurationError(
            f"INFERENCE_PRECISION=int8, but no configured model has a sound INT8 variant. Make one of photos with "
            f"faces: {'; '.join(absent) or 'no calculator has a model'}"
        )
    for told in absent:
        _log.warning("No sound INT8 variant, so that INFERENCE_PRECISION=int8 means auto for %s", told)


def build(settings: Settings, watch: Callable[[Model], Model] | None = None) -> Choices:
    """Open everything that the settings name, each model once, and run it, so that the first request finds it warm.

    ``watch`` gets each model once it is open; what it returns takes its place.

    Raises:
        ConfigurationError: a plugin or a model does not exist, or an engine that is insisted on cannot be used.
        ModelError: a model is not in the store or is damaged.
    """
    catalog, store = Catalog.load(settings.model_catalog), Store(settings.models_dir)
    entries = configured_entries(settings, catalog)
    _require(entries, store)
    registry = Registry(catalog)
    runtime = runtime_of(settings)
    _require_int8(settings, catalog, store)
    models = {entry.name: store.open(entry, runtime) for entry in entries}
    if watch:
        models = {name: watch(model) for name, model in models.items()}

    def configured(name: PluginName, kind: type[P], variable: str, **options: Any) -> Configured[P]:
        entry, plugin = registry.entry(name), registry.load(name)
        if not hasattr(plugin, _MARKS[kind]):
            raise ConfigurationError(f"{variable}: {name} is not a {kind.__name__}")
        run = plugin(models[entry.name], **options) if entry else plugin(**options)
        return Configured(getattr(run, "slug", "detector"), str(name), run, bool(entry and entry.stored_chroma))

    names, side = Names.of(settings), settings.img_length_limit
    detectors = [configured(name, Detector, "FACE_DETECTION_PLUGIN", max_side=side) for name in names.detectors]
    choices = Choices(
        detectors,
        [configured(name, Calculator, "CALCULATION_PLUGIN") for name in names.calculators],
        [configured(name, FacePlugin, "EXTRA_PLUGINS") for name in names.extras],
        {name: model.running for name, model in models.items()},
    )
    for name in choices.names:
        _warm_up(choices.named([name]))
    if runtime.wishes.on_gpu:
        for detector in detectors:
            if isinstance(detector.run, Warmable):
                detector.run.warm_up()
    return choices


def _warm_up(analyzer: Analyzer) -> None:
    """Run every network once: what the first run allocates and compiles, no client waits for."""
    grey = ArrayPicture(np.full((480, 640, 3), 127, np.uint8))
    analyzer.describe(grey, analyzer.take_whole(grey), analyzer.plugins)
