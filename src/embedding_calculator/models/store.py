"""Where models lie once they are fetched: verified, imported, stamped, and never touched again."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from embedding_calculator.errors import EmbeddingCalculatorError, ModelError
from embedding_calculator.models import importers, variants
from embedding_calculator.models.catalog import Entry, FileSpec, pull_command
from embedding_calculator.models.runtime import Model, Runtime
from embedding_calculator.models.sources import DISK_FULL, Sources, Workspace
from embedding_calculator.models.spec import InputSpec
from embedding_calculator.models.stamp import Stamp, flush, stamp_of
from embedding_calculator.models.variants import Variant, VariantState

_log = logging.getLogger(__name__)

NETWORK = "network.onnx"
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
NETWORK_KEY = "network"
"""The key of the one network of an entry that has just one."""


class State(StrEnum):
    """What is known of a model in the store."""

    MISSING = "missing"
    DAMAGED = "damaged"
    DIFFERENT = "different"
    PRESENT = "present"
    VERIFIED = "verified"


class PulledPart(BaseModel):
    """A published file as it was fetched. ``pinned``: its hash was not known before, it is the file's own."""

    model_config = ConfigDict(frozen=True)

    filename: str
    sha256: str
    bytes: int
    source: str
    pinned: bool


class Manifest(Stamp):
    """Lies beside each network, written last: where it is, the network is whole.

    ``pixels`` is the input contract of the entry that pulled it; ``probed`` the shape of ``inspection.probe`` to which
    it gave the answers in ``golden.npz``.
    """

    model: str
    licence: str
    commercial: str
    homepage: str
    importer: str
    parts: tuple[PulledPart, ...]
    inputs: dict[str, list[int | str]]
    outputs: dict[str, list[int | str]]
    pixels: InputSpec
    probed: tuple[int, ...]


class Store:
    """A folder of imported networks: ``store/KEY/network.onnx``, ``golden.npz`` and ``manifest.json``.

    KEY is the hash of what the network is made of (published files, importer, options), so entries that share a
    network share the file, and a changed catalogue never serves an old one. Beside the three may lie a folder
    ``int8``, see ``variants``. Reading needs no write access and no network. Several processes and threads may pull at
    once: one works, the others wait and find the work done.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, entry: Entry, file: str = "network") -> Path:
        """The imported ONNX of that key of the entry; raises ModelError where it is missing or damaged."""
        spec = entry.files[file]
        state = self._state(spec)
        if state is not State.PRESENT:
            reason = "has not been fetched" if state is State.MISSING else "is damaged"
            raise ModelError(
                f"Model {entry.name!r} {reason}: no sound {file} in {self._folder(spec)}. "
                f"Fetch it: {entry.pull_command}"
            )
        return self._folder(spec) / NETWORK

    def state(self, entry: Entry) -> State:
        """Missing, damaged or present, without reading the networks."""
        return min((self._state(spec) for spec in entry.files.values()), key=list(State).index)

    def verify(self, entry: Entry) -> State:
        """Missing, damaged, different or verified: every file is hashed, and asked for its golden vector again.

        Different: the file is sound, but what runs it here answers otherwise than what ran it when it was pulled.
        """
        return min((self._verified(spec) for spec in entry.files.values()), key=list(State).index)

    def manifests(self, entry: Entry) -> Mapping[str, Manifest]:
        """What was recorded of the entry's networks that are here, by the file's key."""
        read = {key: _read_manifest(self._folder(spec)) for key, spec in entry.files.items()}
        return {key: manifest for key, manifest in read.items() if manifest}

    def open(self, entry: Entry, runtime: Runtime | None = None) -> Model:
        """Open all networks of the entry, each on the engine that ``runtime`` chooses.

        Raises:
            ModelError: one is missing or damaged, or its engine refuses it.
            ConfigurationError: the GPU that is asked for cannot be used.
        """
        runtime = runtime or Runtime()
        paths = {file: self.path(entry, file) for file in entry.files}
        manifests, networks = self.manifests(entry), {}
        for file, path in paths.items():
            try:
                manifest, traits = manifests[file], entry.files[file].runtime
                int8 = self.int8_path(entry)
                networks[file] = runtime.open(path, traits, manifest.sha256, manifest.probed, int8)
            except EmbeddingCalculatorError:
                raise
            except Exception as error:  # engines have errors of their own
                raise ModelError(f"Model {entry.name!r} cannot be opened: {path} ({file}): {error}") from error
        running = {file: network.running for file, network in networks.items()}
        inputs = {key: file.input for key, file in entry.files.items() if file.input}
        return Model(entry.name, entry.input, entry.parameters, networks, running, inputs)

    def int8_state(self, entry: Entry, *, thorough: bool = False) -> VariantState:
        """The state of the entry's INT8 variant; ``thorough`` hashes it and asks for its golden vector again."""
        folder, manifest = self._int8_folder(entry), self.manifests(entry).get(NETWORK_KEY)
        if folder is None or manifest is None:
            return VariantState.MISSING
        return variants.state_of(folder, manifest.sha256, thorough=thorough)

    def int8_path(self, entry: Entry) -> Path | None:
        """The INT8 variant of the entry's network; None where it has none that is sound and made of this network."""
        folder = self._int8_folder(entry)
        return variants.network_in(folder) if folder and self.int8_state(entry) is VariantState.PRESENT else None

    def int8_variant(self, entry: Entry) -> Variant | None:
        """What was recorded of the entry's INT8 variant, in whatever state it is."""
        folder = self._int8_folder(entry)
        return variants.read_variant(folder) if folder else None

    def keep_int8(self, entry: Entry, make: Callable[[Path], Variant]) -> Variant:
        """Keep the INT8 variant that ``make`` writes into the folder it is given; one there was is replaced.

        Raises ModelError, and leaves what there was, where it cannot be stored or ``make`` raises it.
        """
        network = self.path(entry, NETWORK_KEY)
        try:
            with self._writing() as workspace:
                scratch = Path(tempfile.mkdtemp(dir=workspace.scratch))
                made, final = scratch / "made", network.with_name(variants.INT8)
                made.mkdir()
                variant = make(made)
                if final.exists():
                    final.rename(scratch / "replaced")
                made.rename(final)
                flush(final.parent)
        except OSError as error:
            raise ModelError(
                f"The INT8 variant of {entry.name!r} could not be stored in {self.root}: {error.strerror or error}. "
                f"Make room, or let MODELS_DIR name a folder that can be written, and quantise again"
            ) from error
        return variant

    def _int8_folder(self, entry: Entry) -> Path | None:
        spec = entry.files.get(NETWORK_KEY)
        return self._folder(spec) / variants.INT8 if spec and len(entry.files) == 1 else None

    def pull(
        self,
        entries: Iterable[Entry],
        sources: Sources,
        *,
        accept_licences: bool = False,
        commercial_only: bool = False,
    ) -> None:
        """Fetch, verify and import what is not here yet; asks no source where everything is.

        Raises ModelError, and leaves nothing behind of the model it names, where a licence forbids it, no source
        has a sound file, the import fails or the disk is full.
        """
        if wanted := self.permitted(entries, accept_licences=accept_licences, commercial_only=commercial_only):
            current = wanted[0]
            try:
                with self._writing() as workspace:
                    for current in wanted:
                        self._refuse_too_little_room(current)
                        for key, spec in current.files.items():
                            # Another pull may have brought it while this one waited.
                            if self._state(spec) is not State.PRESENT:
                                self._make(current, key, spec, sources, workspace)
            except OSError as error:
                raise self._unwritable(current, error) from error

    def permitted(
        self, entries: Iterable[Entry], *, accept_licences: bool = False, commercial_only: bool = False
    ) -> list[Entry]:
        """Those that are not here yet; raises ModelError where a licence forbids one, or asks to be accepted."""
        entries = list(entries)
        if commercial_only:
            for entry in entries:
                _refuse_uncleared(entry)
        wanted = [entry for entry in entries if self.state(entry) is not State.PRESENT]
        if not accept_licences:
            _refuse_unaccepted(wanted)
        return wanted

    def _folder(self, spec: FileSpec) -> Path:
        parts = [part.sha256 or part.sha1 or [part.filename, *map(str, part.sources)] for part in spec.parts]
        made_of = [spec.importer, importers.REVISIONS.get(spec.importer, 0), dict(spec.options), parts]
        return self.root / "store" / sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()

    def _state(self, spec: FileSpec, *, thorough: bool = False) -> State:
        folder = self._folder(spec)
        if not folder.exists():
            return State.MISSING
        manifest = _read_manifest(folder)
        if manifest is None or not manifest.fits(folder / NETWORK, thorough=thorough):
            return State.DAMAGED
        return State.VERIFIED if thorough else State.PRESENT

    def _verified(self, spec: FileSpec) -> State:
        from embedding_calculator.models.inspection import answers_as_before

        folder = self._folder(spec)
        state, manifest = self._state(spec, thorough=True), _read_manifest(folder)
        if state is not State.VERIFIED or manifest is None:
            return state
        try:
            with np.load(folder / GOLDEN) as golden:
                same = answers_as_before(folder / NETWORK, manifest.probed, dict(golden))
        except (OSError, ValueError, zipfile.BadZipFile):
            return State.DAMAGED
        return State.VERIFIED if same else State.DIFFERENT

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Workspace]:
        """The right to write, held by one pull at a time; what a killed one left is tidied up."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock():
            temporary = self.root / "tmp"
            workspace = Workspace(temporary / "scratch", temporary / "partial")
            shutil.rmtree(workspace.scratch, ignore_errors=True)
            for folder in (self.root / "store", workspace.scratch, workspace.partial):
                folder.mkdir(parents=True, exist_ok=True)
            try:
                yield workspace
            except KeyboardInterrupt:
                shutil.rmtree(workspace.scratch, ignore_errors=True)  # broken downloads stay: the next pull goes on
                raise
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
            shutil.rmtree(temporary, ignore_errors=True)

    def _lock(self) -> AbstractContextManager[object]:
        lock = FileLock(self.root / ".lock")
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            _log.warning("Another pull is at work in %s; waiting for it", self.root)
            return lock.acquire()

    def _make(self, entry: Entry, key: str, spec: FileSpec, sources: Sources, workspace: Workspace) -> None:
        from embedding_calculator.models.inspection import inspect

        final = self._folder(spec)
        scratch = Path(tempfile.mkdtemp(dir=workspace.scratch))
        published, made = scratch / "published", scratch / "made"
        published.mkdir()
        made.mkdir()
        earlier = _read_manifest(final)
        pins = {part.filename: part.sha256 for part in earlier.parts} if earlier else {}
        fetched = []
        for part in spec.parts:
            expected = part if part.sha256 else part.model_copy(update={"sha256": pins.get(part.filename)})
            fetched.append(sources.fetch(entry, expected, published, workspace))
        network = made / NETWORK
        try:
            importers.convert(spec.importer, [one.path for one in fetched], network, spec.options)
            signature = inspect(network, entry.input.size)
        except ModelError as error:
            raise ModelError(f"Model {entry.name!r} was fetched but not imported ({key}): {error}") from error
        manifest = Manifest(
            model=entry.name,
            licence=entry.licence,
            commercial=entry.commercial,
            homepage=entry.homepage,
            importer=spec.importer,
            parts=tuple(
                PulledPart(
                    filename=part.filename,
                    sha256=one.sha256,
                    bytes=one.path.stat().st_size,
                    source=one.source,
                    pinned=not (part.sha256 or part.sha1),
                )
                for part, one in zip(spec.parts, fetched, strict=True)
            ),
            inputs=signature.inputs,
            outputs=signature.outputs,
            pixels=entry.input,
            probed=signature.probed,
            **stamp_of(network),
        )
        np.savez_compressed(made / GOLDEN, allow_pickle=False, **signature.golden)
        flush(made / GOLDEN)
        (made / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        flush(made / MANIFEST)
        flush(made)
        if final.exists():
            final.rename(scratch / "damaged")
        made.rename(final)
        flush(final.parent)
        shutil.rmtree(scratch, ignore_errors=True)

    def _needed(self, entry: Entry) -> int:
        """Bytes that a pull takes at the least: each file as published and as imported."""
        missing = [spec for spec in entry.files.values() if self._state(spec) is not State.PRESENT]
        return 2 * sum(part.bytes or 0 for spec in missing for part in spec.parts)

    def _refuse_too_little_room(self, entry: Entry) -> None:
        if shutil.disk_usage(self.root).free < self._needed(entry):
            raise self._disk_full(entry, os.strerror(errno.ENOSPC))

    def _unwritable(self, entry: Entry, error: OSError) -> ModelError:
        if error.errno in DISK_FULL:
            return self._disk_full(entry, error.strerror)
        return ModelError(
            f"Model {entry.name!r} could not be stored in {self.root}: {error}. MODELS_DIR names the folder; it must "
            f"be writable for: {entry.pull_command}"
        )

    def _disk_full(self, entry: Entry, reason: str | None) -> ModelError:
        free = shutil.disk_usage(self.root).free
        return ModelError(
            f"Model {entry.name!r} could not be stored in {self.root}: {reason}. It needs at least "
            f"{self._needed(entry):,} bytes, and those of the wheel or zip around it; {free:,} bytes "
            f"are free. Make room or point MODELS_DIR elsewhere, then run: "
            f"{entry.pull_command}"
        )


def _read_manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def _refuse_uncleared(entry: Entry) -> None:
    if entry.commercial != "yes":
        why = "forbids commercial use" if entry.commercial == "no" else "does not clearly allow commercial use"
        raise ModelError(
            f"Model {entry.name!r} is refused: its licence ({entry.licence}) {why}, and only models cleared for "
            f"commercial use are asked for (--commercial-only, COMMERCIAL_ONLY). See {entry.homepage}"
        )


def _refuse_unaccepted(entries: Iterable[Entry]) -> None:
    if gated := [entry for entry in entries if entry.commercial == "no"]:
        told = " ".join(
            f"Model {entry.name!r} is not for commercial use. Its licence: {entry.licence}. Read it at "
            f"{entry.homepage}."
            for entry in gated
        )
        raise ModelError(f"{told} If you accept that, run: {pull_command(gated)} (or set ACCEPT_MODEL_LICENCES=true)")
