"""One detector on its own, without calculator and plugins, with its parameters or with others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from embedding_calculator.engine.assembly import runtime_of
from embedding_calculator.engine.intake import take_in
from embedding_calculator.errors import ConfigurationError
from embedding_calculator.imaging.picture import Picture
from embedding_calculator.models.catalog import Catalog, Entry
from embedding_calculator.models.store import Store
from embedding_calculator.plugins.base import Detections, Detector
from embedding_calculator.plugins.registry import PluginName, Registry
from embedding_calculator.settings import Settings


class Bench:
    """A detector's model, opened once; detectors of any parameters are made of it.

    ``entry`` is its catalogue entry, ``settings`` say how photos are opened and how large they are looked at.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        """Open ``family.Class`` or ``family.Class@model``.

        Raises:
            ConfigurationError: there is no such plugin, or it is no detector with a model.
            ModelError: its model is not in the store; the text says which command fetches it.
        """
        self.name = name
        self.settings = settings
        registry = Registry(Catalog.load(settings.model_catalog))
        parsed = PluginName.parse(name)
        entry = registry.entry(parsed)
        if entry is None:
            raise ConfigurationError(f"{name} has no model, and so no parameters")
        self.entry: Entry = entry
        self._plugin = registry.load(parsed)
        self._model = Store(settings.models_dir).open(entry, runtime_of(settings))
        if not isinstance(self.detector({}), Detector):
            raise ConfigurationError(f"{name} is not a detector")

    def detector(self, parameters: Mapping[str, Any]) -> Detector:
        """The detector with these instead of the catalogue's parameters; those not given stay as they are."""
        model = dataclasses.replace(self._model, parameters={**self._model.parameters, **parameters})
        detector: Detector = self._plugin(model, max_side=self.settings.img_length_limit)
        return detector

    def open(self, photo: bytes) -> Picture:
        """The photo as the service would open it for this detector.

        Raises:
            ImageTooLargeError, ImageUnreadableError: see ``take_in``.
        """
        return take_in(photo, self.settings, stored_chroma=self.entry.stored_chroma)


def find(detector: Detector, picture: Picture, threshold: float) -> Detections:
    """Faces more probable than ``threshold``, the most probable first."""
    found = detector.detect(picture, threshold)
    return found[np.argsort(-found.probabilities, kind="stable")]
