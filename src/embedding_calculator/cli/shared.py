"""What several commands have in common: where faces come from, and a bar that shows how far they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

    from embedding_calculator.client import ServiceClient
    from embedding_calculator.evaluation.journal import Journal
    from embedding_calculator.library import FaceAnalyzer

T = TypeVar("T")

_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ico", ".ppm", ".pgm", ".pbm", ".heic", ".heif", ".avif"),
}


@contextmanager
def open_finder(url: str | None) -> Iterator[FaceAnalyzer | ServiceClient]:
    """A running service, asked with the first of API_KEYS, or without a URL the engine in this process."""
    from embedding_calculator.client import ServiceClient
    from embedding_calculator.library import FaceAnalyzer
    from embedding_calculator.settings import Settings

    if not url:
        yield FaceAnalyzer()
        return
    keys = Settings().api_keys
    client = ServiceClient(url, api_key=keys[0].get_secret_value() if keys else None)
    try:
        yield client
    finally:
        client.close()


def watched(steps: Iterable[T], label: str, total: int, console: Console | None = None) -> Iterator[T]:
    """The same steps, with a progress bar on standard error, or below what is printed on a terminal's ``console``."""
    from rich.console import Console
    from rich.progress import track

    below = console if console and console.is_terminal else Console(stderr=True)
    yield from track(steps, label, total=total, console=below, transient=True, disable=not below.is_terminal)


def counted(number: int, noun: str) -> str:
    """``1 face``, ``2 faces``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def answers_of(
    journal: Journal, photos: Iterable[str], compute: Callable[[str], Mapping[str, Any]], label: str
) -> dict[str, Mapping[str, Any]]:
    """Every photo's answer; those computed before are taken from the journal, and it is said how many these are."""
    from embedding_calculator.settings import granted_cpus

    names = list(dict.fromkeys(photos))
    if before := journal.done:
        print(f"done before and not computed again: {before} of {counted(len(names), 'photo')}", file=sys.stderr)
    return dict(watched(journal.answers(names, compute, granted_cpus()), label, len(names)))


def read_in(folder: Path) -> Callable[[str], bytes]:
    """Reads a photo of the folder by its name."""
    return lambda name: (folder / name).read_bytes()


def pictures_in(places: Iterable[Path]) -> Iterator[Path]:
    """Files are taken whatever their names; in folders only what is named like a picture."""
    for place in places:
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        else:
            yield place


def named(photos: Iterator[Path], names: str | None) -> Iterator[Path]:
    """Those of these names, with or without their suffix; all if none are given."""
    wanted = set((names or "").replace(",", " ").split())
    return (photo for photo in photos if not wanted or {photo.name, photo.stem} & wanted)
