"""What tells a file of the store that nobody touched, and what has it on the disk before anything says so."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from embedding_calculator.models.sources import file_hash


class Stamp(BaseModel):
    """Hash, size and time of a file as it was written."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int
    mtime_ns: int

    def fits(self, path: Path, *, thorough: bool = False) -> bool:
        """Whether the file is still the one that was stamped.

        Size and time tell a file that nobody touched; hashing all of them would cost each start its seconds.
        """
        if not path.is_file():
            return False
        found = path.stat()
        if found.st_size != self.bytes:
            return False
        if thorough or found.st_mtime_ns != self.mtime_ns:
            if file_hash(path) != self.sha256:
                return False
            # A copied store has new times: proved once, it is stamped anew, if it may be written.
            with contextlib.suppress(OSError):
                os.utime(path, ns=(self.mtime_ns, self.mtime_ns))
        return True


def stamp_of(path: Path) -> dict[str, Any]:
    """The fields of a ``Stamp`` for the file as it is, once it is on the disk."""
    flush(path)
    found = path.stat()
    return {"sha256": file_hash(path), "bytes": found.st_size, "mtime_ns": found.st_mtime_ns}


def flush(path: Path) -> None:
    """Have the file or folder on the disk before anything says so."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
