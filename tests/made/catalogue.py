"""Entries of the packaged catalogue whose files are made and lie at a local publisher instead of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

import pytest

from embedding_calculator.models.catalog import Catalog, Entry, Part, Source
from made.mxnet import Published
from made.packs import zipped

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


def archives(entry: Entry, files: Mapping[str, bytes], folder: str = "") -> dict[str, bytes]:
    """What each address that the entry names is to answer: a zip in which its patterns fit, all in ``folder``."""
    members: dict[str, dict[str, bytes]] = {}
    for part in entry.parts:
        for source in part.sources:
            members.setdefault(source.url or "", {})[member_of(part, source)] = files[part.filename]
    return {url: zipped(OTHERS | inside, folder) for url, inside in members.items()}


def with_hashes_of(entry: Entry, files: Mapping[str, bytes]) -> Entry:
    """The entry with the hashes and sizes of ``files`` where it has any."""

    def known(part: Part) -> Part:
        content = files[part.filename]
        return part.model_copy(
            update={
                "sha256": part.sha256 and hashlib.sha256(content).hexdigest(),
                "sha1": part.sha1 and hashlib.sha1(content).hexdigest(),
                "bytes": part.bytes and len(content),
            }
        )

    return with_parts(entry, *map(known, entry.parts))


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
