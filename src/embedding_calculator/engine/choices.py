"""Several detectors and calculators in one service: the first of each is the default, a request may name others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from embedding_calculator.engine.analyzer import Analyzer
from embedding_calculator.errors import ParameterError
from embedding_calculator.models.runtime import Running
from embedding_calculator.plugins.base import Calculator, Detector, FacePlugin
from embedding_calculator.plugins.registry import Configured

P = TypeVar("P")


class Choices:
    """Everything that is configured, opened once and shared by all analyzers made of it."""

    def __init__(
        self,
        detectors: Sequence[Configured[Detector]],
        calculators: Sequence[Configured[Calculator]],
        extras: Sequence[Configured[FacePlugin]] = (),
        running: Mapping[str, Mapping[str, Running]] | None = None,
    ) -> None:
        """``running`` says on what the networks run: the model's name -> the network's key -> how."""
        self.running = running or {}
        self._detectors = tuple(detectors)
        self._calculators = tuple(calculators)
        self._extras = tuple(extras)

    @property
    def names(self) -> tuple[str, ...]:
        """What ``named`` understands: the plugin strings of all detectors and calculators."""
        return tuple(configured.version for configured in (*self._detectors, *self._calculators))

    def named(self, names: Iterable[str] = ()) -> Analyzer:
        """The analyzer with the detector and the calculator of these names, each the first one if none is named.

        A name is a plugin string (``insightface.Calculator@arcface_mobilefacenet``) or the model's part of it.

        Raises:
            ParameterError: a name is not configured; the text lists what is.
        """
        wanted = frozenset(names)
        known = {name for configured in (*self._detectors, *self._calculators) for name in _names(configured)}
        if unknown := sorted(wanted - known):
            raise ParameterError(f"Model {unknown[0]} is not configured (there are: {', '.join(self.names)})")
        return Analyzer(_first(self._detectors, wanted), _first(self._calculators, wanted), self._extras)


def _names(configured: Configured[object]) -> set[str]:
    _, at, model = configured.version.partition("@")
    return {configured.version, model} if at else {configured.version}


def _first(all_of_a_kind: Sequence[Configured[P]], wanted: frozenset[str]) -> Configured[P]:
    return next((one for one in all_of_a_kind if _names(one) & wanted), all_of_a_kind[0])
