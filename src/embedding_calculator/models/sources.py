"""Where published files come from, tried in order: the user's folders, the package index, the publisher's URL."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from embedding_calculator.errors import ModelError
from embedding_calculator.models.archive import extract_member
from embedding_calculator.models.catalog import Entry, Part, Source

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MOST_BYTES = 2 << 30
"""Bound for a file whose size the catalogue does not tell, and for archives."""


class Progress(Protocol):
    """Told while a file arrives."""

    def __call__(self, filename: str, done: int, total: int | None, /) -> None:
        """``done`` of ``total`` bytes; None where the total is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """Folders of one pull, on the filesystem of the store.

    ``scratch`` is emptied by whoever pulls next; ``partial`` keeps broken downloads, so that a killed pull goes on.
    ``archives`` are wheels and zips already fetched in this pull, by what they were asked for.
    """

    scratch: Path
    partial: Path
    archives: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A published file, its hash checked. ``source`` says in words where it came from."""

    path: Path
    sha256: str
    source: str


def _silent(*_: object) -> None:
    pass


class Sources:
    """Fetches parts. ``folders`` hold published files under their own names, at any depth: for use without a network.

    ``backoff`` is the first pause in seconds before a failed download is tried again.
    """

    def __init__(self, folders: Sequence[Path] = (), progress: Progress = _silent, backoff: float = 0.5) -> None:
        self._folders = tuple(folders)
        self._progress = progress
        self._backoff = backoff

    def fetch(self, entry: Entry, part: Part, into: Path, workspace: Workspace) -> Fetched:
        """The part as a file in the folder ``into``, from the first source that has it and whose hash is right.

        Raises ModelError that says why each source failed and which command tries again, and OSError where the disk
        is full; a refused file is removed.
        """
        target = into / part.filename
        reasons = []
        for label, bring in self._attempts(entry, part, workspace):
            try:
                bring(target)
                sha256 = _checked(target, part)
            except (ModelError, OSError) as error:
                target.unlink(missing_ok=True)
                if isinstance(error, OSError) and error.errno in DISK_FULL:
                    raise
                reasons.append(f"{label}: {error}")
            else:
                self._progress(part.filename, target.stat().st_size, target.stat().st_size)
                return Fetched(target, sha256, label)
        tried = "\n".join(f"  {reason}" for reason in reasons) or "  the catalogue names no source for it"
        raise ModelError(
            f"Model {entry.name!r} could not be fetched: no source has a sound {part.filename}.\n{tried}\n"
            f"Put the file into a folder that MODELS_SOURCE names, or mend the above, then run: {entry.pull_command}"
        )

    def _attempts(self, entry: Entry, part: Part, workspace: Workspace) -> Iterator[tuple[str, Callable[[Path], None]]]:
        for folder in (*self._folders, *([entry.folder] if entry.folder else [])):
            yield f"folder {folder}", partial(_copy_from_folder, folder, part)
        for source in part.sources:
            yield str(source), partial(self._publish, source, part, workspace)

    def _publish(self, source: Source, part: Part, workspace: Workspace, target: Path) -> None:
        limit = part.bytes or _MOST_BYTES
        if source.member is None:
            self._download(source, part, workspace, limit, part.bytes).replace(target)
            return
        place = source.index or source.url or ""
        if place not in workspace.archives:
            if source.index:
                archive = self._wheel(source.index, part, workspace)
            else:
                # Kept under a name of its own: `partial` is for what is not yet whole.
                whole = self._download(source, part, workspace, _MOST_BYTES, None)
                archive = whole.replace(workspace.scratch / f"{whole.stem}.zip")
            workspace.archives[place] = archive
        extract_member(workspace.archives[place], source.member, target, limit)

    def _download(self, source: Source, part: Part, workspace: Workspace, limit: int, exact: int | None) -> Path:
        # Here because httpx takes a tenth of a second to import, and a start with every model present needs none.
        from embedding_calculator.models.download import download

        return download(
            source.url or "",
            workspace.partial,
            limit=limit,
            exact=exact,
            report=lambda done, total: self._progress(part.filename, done, total),
            backoff=self._backoff,
        )

    def _wheel(self, requirement: str, part: Part, workspace: Workspace) -> Path:
        """The wheel itself, by pip with the user's own configuration; it is neither installed nor run."""
        folder = workspace.scratch / requirement.replace("==", "-")
        temporary = folder / "tmp"
        temporary.mkdir(parents=True)
        # Wheels only: pip would run the setup code of a source distribution to learn its metadata.
        command = [*_pip(), "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--ignore-requires-python", "--dest", str(folder), requirement]
        environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
        with subprocess.Popen(
            command, cwd=temporary, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as pip:
            try:
                output = self._told_until_done(pip, part, folder)
            except BaseException:
                pip.terminate()
                raise
        wheels = list(folder.glob("*.whl"))
        if pip.returncode or len(wheels) != 1:
            said = output.decode(errors="replace").strip()
            if os.strerror(errno.ENOSPC) in said:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
            shutil.rmtree(folder)
            errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
            raise ModelError(f"pip says: {errors[-1] if errors else said[-200:]}")
        return wheels[0]

    def _told_until_done(self, pip: subprocess.Popen[bytes], part: Part, folder: Path) -> bytes:
        while True:
            try:
                return pip.communicate(timeout=0.2)[0]
            except subprocess.TimeoutExpired:
                self._progress(part.filename, _bytes_below(folder), None)


def _copy_from_folder(folder: Path, part: Part, target: Path) -> None:
    if not folder.is_dir():
        raise ModelError("there is no such folder")
    found = [Path(where) / part.filename for where, _, names in os.walk(folder) if part.filename in names]
    if not found:
        raise ModelError(f"holds no {part.filename}")
    if len(found) > 1 and (part.sha256 or part.sha1):
        # Different models publish files of the same name; the hash tells them apart.
        found = [path for path in found if _mismatch(path, part) is None] or found[:1]
    elif len(found) > 1:
        raise ModelError(f"holds {len(found)} files {part.filename}, and the catalogue has no hash to tell which")
    shutil.copyfile(found[0], target)


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # Environments made without pip still have the one that Python carries to install it; it runs from its wheel.
    carried = importlib.util.find_spec("ensurepip")
    if carried and carried.origin:
        for wheel in Path(carried.origin).parent.glob("_bundled/pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]
    raise ModelError("needs pip, which this Python does not have")


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # pip tidies up while we look
    return total


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _mismatch(path: Path, part: Part) -> str | None:
    size = path.stat().st_size
    if part.bytes is not None and size != part.bytes:
        return f"has {size} bytes, {part.bytes} expected"
    for algorithm, expected in (("sha256", part.sha256), ("sha1", part.sha1)):
        if expected and (got := file_hash(path, algorithm)) != expected:
            return f"has {algorithm} {got}, {expected} expected"
    return None


def _checked(path: Path, part: Part) -> str:
    if wrong := _mismatch(path, part):
        raise ModelError(f"the file there {wrong}; refused")
    return file_hash(path)
