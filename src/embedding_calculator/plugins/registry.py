"""From the names in the settings to plugins ready to run. Installed packages add plugins by entry points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from embedding_calculator.errors import ConfigurationError, did_you_mean
from embedding_calculator.models.catalog import Catalog, Entry

GROUP = "embedding_calculator.plugins"

P_co = TypeVar("P_co", covariant=True)


@dataclass(frozen=True, slots=True)
class PluginName:
    """A plugin as the settings name it: ``family.Class`` or ``family.Class@model``; sub-packages allowed."""

    plugin: str
    model: str | None

    @classmethod
    def parse(cls, text: str) -> PluginName:
        """Split at the ``@``; an empty model counts as none."""
        plugin, _, model = text.strip().partition("@")
        return cls(plugin, model or None)

    def __str__(self) -> str:
        """What ``plugins_versions`` and ``calculator_version`` say: the last module, the class, and the model if named.

        Clients store this string with every embedding and compare it later, so it is part of the contract.
        """
        name = ".".join(self.plugin.split(".")[-2:])
        return f"{name}@{self.model}" if self.model else name


@dataclass(frozen=True, slots=True)
class Configured(Generic[P_co]):
    """A plugin ready to run, and the string by which it is known.

    ``stored_chroma``: its model's answers hang on JPEG colours as the original's decoder gave them.
    """

    slug: str
    version: str
    run: P_co
    stored_chroma: bool = False


class Registry:
    """Knows every plugin that is installed and what the catalogue says of its models."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._points: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}

    def entry(self, name: PluginName) -> Entry | None:
        """The catalogue entry a plugin will run on, or None for a plugin that needs no model.

        Raises:
            ConfigurationError: there is no such plugin, or it has no such model.
        """
        if name.plugin not in self._points:
            known = ", ".join(sorted(self._points))
            guess = did_you_mean(name.plugin, self._points)
            raise ConfigurationError(f"there is no plugin {name.plugin!r}; installed are: {known}.{guess}")
        if name.model is None and not any(name.plugin in entry.plugins for entry in self._catalog):
            return None
        return self._catalog.find(name.plugin, name.model)

    def load(self, name: PluginName) -> Callable[..., Any]:
        """The plugin's class.

        Raises:
            ConfigurationError: the package that declares it cannot be imported.
        """
        self.entry(name)
        try:
            return self._points[name.plugin].load()  # type: ignore[no-any-return]
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"plugin {name.plugin!r} cannot be loaded: {error}") from error
