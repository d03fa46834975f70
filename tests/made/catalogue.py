"""Entries of the packaged catalogue whose files are made and lie at a local publisher instead of their own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

import pytest

from embedding_calculator.models.catalog import Catalog, Entry, Part, Source
from made.mxnet import Published
from made.packs import zipped
from publisher import Page, Publisher

PACKAGED = Catalog.load()
OTHERS = {"README.md": b"what else publishers put in", "1k3d68.onnx": b"another network of the pack"}


def contents(entry: Entry, network: Published | bytes) -> dict[str, bytes]:
    """Every published file of the entry by its name, with a made network in it."""
    names = [part.filename for part in entry.parts]
    made = [network] if isinstance(network, bytes) else [network.symbol, network.params]
    return dict(zip(names, made, strict=True))


def member_of(part: Part, source: Source) -> str:
    """A name that the source's pattern fits, as publishers choose them."""
    stem = part.filename.partition("-")[0] if source.member in {"*-symbol.json", "*-0000.params"} else ""
    return (source.member or "").replace("*", stem)


def republished(entry: Entry, files: Mapping[str, bytes], publisher: Publisher, folder: str = "") -> Entry:
    """The entry with its archives at the publisher: the same patterns, and hashes and sizes where it has any.

    ``folder`` is where everything lies inside the archives.
    """
    archives: dict[str, dict[str, bytes]] = {}
    for part in entry.parts:
        for source in part.sources:
            archives.setdefault(source.url or "", {})[member_of(part, source)] = files[part.filename]
    pages = {url: Page(zipped(OTHERS | members, folder)) for url, members in archives.items()}
    urls = {url: publisher.publish("/" + re.sub(r"\W+", "-", url), page) for url, page in pages.items()}

    def moved(part: Part) -> Part:
        content = files[part.filename]
        known = {
            "sha256": part.sha256 and hashlib.sha256(content).hexdigest(),
            "sha1": part.sha1 and hashlib.sha1(content).hexdigest(),
            "bytes": part.bytes and len(content),
        }
        sources = tuple(source.model_copy(update={"url": urls[source.url or ""]}) for source in part.sources)
        return part.model_copy(update={**known, "sources": sources})

    return with_parts(entry, *map(moved, entry.parts))


def with_parts(entry: Entry, *parts: Part) -> Entry:
    """The entry of one network with other parts."""
    ((key, file),) = entry.files.items()
    return entry.model_copy(update={"files": MappingProxyType({key: file.model_copy(update={"parts": parts})})})


def installed(entries: list[Entry], models: Path) -> AbstractContextManager[pytest.MonkeyPatch]:
    """As long as the context lasts the catalogue has these entries alone, and the store is ``models``."""
    return _Installed(entries, models)


class _Installed:
    def __init__(self, entries: list[Entry], models: Path) -> None:
        self._patch = pytest.MonkeyPatch()
        self._entries = entries
        self._models = models

    def __enter__(self) -> pytest.MonkeyPatch:
        self._patch.setattr(Catalog, "load", lambda *_: Catalog(self._entries))
        self._patch.setenv("MODELS_DIR", str(self._models))
        for name in ("MODELS_SOURCE", "MODEL_CATALOG", "ACCEPT_MODEL_LICENCES", "COMMERCIAL_ONLY"):
            self._patch.delenv(name, raising=False)
        return self._patch

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def left_behind(models: Path) -> list[str]:
    """What lies in a store besides its lock; folders without anything in them do not count."""
    return sorted(
        str(path.relative_to(models)) for path in models.rglob("*") if path.is_file() and path.name != ".lock"
    )
