"""One file out of a zip (a wheel is one too), without trusting the zip."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from embedding_calculator.errors import ModelError

_MOST_MEMBERS = 10_000
_CHUNK = 1 << 20


def extract_member(archive: Path, member: str, target: Path, limit: int) -> None:
    """Write the one file that ``member`` names (exactly, or as a pattern) to ``target``; at most ``limit`` bytes.

    Nothing else of the archive is written anywhere. Raises ModelError where the archive is not a sound zip, has a path
    that leads out of its folder, a link or too many files, or where the member is missing, ambiguous or too large.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = opened.infolist()
            _refuse_unsafe(infos)
            info = _choose(infos, member)
            if not 0 <= info.header_offset < archive.stat().st_size:
                raise ModelError(f"the archive is damaged or not a plain zip: {info.filename} lies outside of it")
            if info.file_size > limit:
                raise ModelError(f"{info.filename} in the archive has {info.file_size} bytes, at most {limit} expected")
            written = 0
            with opened.open(info) as source, target.open("wb") as sink:
                while chunk := source.read(_CHUNK):
                    written += len(chunk)
                    if written > limit:
                        raise ModelError(f"{info.filename} in the archive unpacks to more than {limit} bytes")
                    sink.write(chunk)
    # RuntimeError is zipfile's word for an encrypted member, NotImplementedError for an unknown compression.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"the archive is damaged or not a plain zip: {error}") from error


def _refuse_unsafe(infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > _MOST_MEMBERS:
        raise ModelError(f"the archive holds {len(infos)} files, at most {_MOST_MEMBERS} are accepted")
    for info in infos:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in info.filename:
            raise ModelError(f"the archive is unsafe: {info.filename!r} leads out of its folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ModelError(f"the archive is unsafe: {info.filename!r} is a link")


def _choose(infos: list[zipfile.ZipInfo], member: str) -> zipfile.ZipInfo:
    # Zips packed on a Mac hold a shadow of every file, with a name that fits the same patterns.
    files = [info for info in infos if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    fitting = [info for info in files if info.filename == member]
    fitting = fitting or [info for info in files if fnmatchcase(info.filename, member)]
    if len(fitting) != 1:
        raise ModelError(f"the archive holds {len(fitting) or 'no'} files {member!r}, exactly one is needed")
    return fitting[0]
