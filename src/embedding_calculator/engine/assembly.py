"""From settings to an analyzer whose models are all open, or an error that says what is missing and how to get it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from embedding_calculator.engine.analyzer import Analyzer
from embedding_calculator.errors import ConfigurationError, ModelError
from embedding_calculator.imaging.picture import ArrayPicture
from embedding_calculator.models.catalog import Catalog, Entry
from embedding_calculator.models.store import State, Store
from embedding_calculator.plugins.base import Calculator, Detector, FacePlugin
from embedding_calculator.plugins.registry import Configured, PluginName, Registry
from embedding_calculator.settings import Settings

P = TypeVar("P")


def configured_names(settings: Settings) -> tuple[PluginName, PluginName, tuple[PluginName, ...]]:
    """The detector, the calculator and everything else, as the settings name them."""
    return (
        PluginName.parse(settings.face_detection_plugin),
        PluginName.parse(settings.calculation_plugin),
        tuple(PluginName.parse(text) for text in settings.extra_plugins),
    )


def configured_entries(settings: Settings, catalog: Catalog) -> list[Entry]:
    """The models that these settings need, each once.

    Raises:
        ConfigurationError: a plugin or a model does not exist.
    """
    detector, calculator, extras = configured_names(settings)
    registry = Registry(catalog)
    entries = [registry.entry(name) for name in (detector, calculator, *extras)]
    return list({entry.name: entry for entry in entries if entry}.values())


def require_models(settings: Settings) -> None:
    """Make sure that everything these settings name exists and that its models are in the store.

    Raises:
        ConfigurationError: a plugin or a model does not exist.
        ModelError: a model is not in the store; all that are missing are named at once, with the remedy.
    """
    store = Store(settings.models_dir)
    states = {
        entry.name: store.state(entry) for entry in configured_entries(settings, Catalog.load(settings.model_catalog))
    }
    if absent := {name: state for name, state in states.items() if state is not State.PRESENT}:
        told = ", ".join(f"{name} ({state})" for name, state in absent.items())
        raise ModelError(
            f"models are not ready in {store.root}: {told}. "
            f"Fetch them: embedding-calculator models pull {' '.join(absent)}"
        )


def build_analyzer(settings: Settings) -> Analyzer:
    """Open everything that the settings name and run it once, so that the first request finds it warm.

    Raises:
        ConfigurationError: a plugin or a model does not exist.
        ModelError: a model is not in the store or is damaged.
    """
    require_models(settings)
    store = Store(settings.models_dir)
    registry = Registry(Catalog.load(settings.model_catalog))

    def construct(name: PluginName, **options: Any) -> Any:
        entry, plugin = registry.entry(name), registry.load(name)
        return plugin(store.open(entry), **options) if entry else plugin(**options)

    def configured(name: PluginName, kind: type[P], variable: str, **options: Any) -> Configured[P]:
        run = construct(name, **options)
        if not isinstance(run, kind):
            raise ConfigurationError(f"{variable}: {name} is not a {kind.__name__}")
        return Configured(getattr(run, "slug", "detector"), str(name), run)

    detector, calculator, extras = configured_names(settings)
    analyzer = Analyzer(
        configured(detector, Detector, "FACE_DETECTION_PLUGIN", max_side=settings.img_length_limit),
        configured(calculator, Calculator, "CALCULATION_PLUGIN"),
        [configured(name, FacePlugin, "EXTRA_PLUGINS") for name in extras],
    )
    _warm_up(analyzer)
    return analyzer


def _warm_up(analyzer: Analyzer) -> None:
    """Run every network once: what the first run allocates and compiles, no client waits for."""
    grey = ArrayPicture(np.full((480, 640, 3), 127, np.uint8))
    analyzer.describe(grey, analyzer.take_whole(grey), analyzer.plugins)
