"""``embedding-calculator scan``: faces in photos and folders, as a table, as pictures, as JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from embedding_calculator.results import Face

_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ico", ".ppm", ".pgm", ".pbm", ".heic", ".heif", ".avif"),
}


@dataclass(frozen=True, slots=True)
class Scan:
    """What became of one photo: its faces, or why there are none."""

    photo: Path
    faces: list[Face]
    error: str | None = None


def scan(
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders to look through.", show_default=False)],
    plugins: Annotated[
        str | None, typer.Option(help="Slugs of what to compute, separated by commas; default: everything configured.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Keep faces more probable than this.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the n largest faces of a photo.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for annotated pictures (PNG).", file_okay=False)
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="File for everything as JSON lines, one photo a line; - is standard output.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Ask a running service instead of computing here.")] = None,
) -> None:
    """Find faces in photos: a table on the terminal, annotated pictures and JSON if asked for.

    A photo that cannot be read is reported and the others go on; the exit status is then 1.

    Example: embedding-calculator scan holiday/ --output annotated/ --json faces.jsonl
    """
    from rich.console import Console
    from rich.progress import track

    from embedding_calculator.settings import granted_cpus

    quiet = json is not None and str(json) == "-"
    console = Console(stderr=quiet)
    files = list(_photos(photos))
    if not files:
        console.print("no photos there", style="yellow")
        raise typer.Exit(1)
    if output:
        output.mkdir(parents=True, exist_ok=True)
    find = _finder(url, plugins, threshold, limit)

    def process(photo: Path) -> Scan:
        return _scan_one(photo, find, output and output / f"{_label(photo, photos)}.png")

    with ThreadPoolExecutor(granted_cpus()) as pool:
        results = list(
            track(pool.map(process, files), "scanning", total=len(files), console=Console(stderr=True), transient=True)
        )
    if json:
        _write_json(results, json)
    if not quiet:
        _print(results, console)
    if any(result.error for result in results):
        raise typer.Exit(1)


def _photos(places: list[Path]) -> Iterator[Path]:
    """Files are taken whatever their names; in folders only what is named like a picture."""
    for place in places:
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        else:
            yield place


def _label(photo: Path, places: list[Path]) -> str:
    """A name for the annotated picture, unique within what is scanned: the path below the folder."""
    below = next((photo.relative_to(place) for place in places if place in photo.parents), Path(photo.name))
    return "_".join(below.parts)


def _finder(
    url: str | None, plugins: str | None, threshold: float | None, limit: int | None
) -> Callable[[bytes], list[Face]]:
    from embedding_calculator.client import ServiceClient
    from embedding_calculator.library import FaceAnalyzer

    source: Any = ServiceClient(url) if url else FaceAnalyzer()
    slugs = source.plugins if plugins is None else tuple(plugins.replace(",", " ").split())
    return lambda photo: source.find_faces(photo, plugins=slugs, threshold=threshold, limit=limit)


def _scan_one(photo: Path, find: Callable[[bytes], list[Face]], target: Path | None) -> Scan:
    from embedding_calculator.engine.intake import take_in
    from embedding_calculator.errors import InputError
    from embedding_calculator.imaging.draw import annotate, marks_of
    from embedding_calculator.settings import Settings

    try:
        data = photo.read_bytes()
        faces = find(data)
        if target:
            annotate(take_in(data, Settings()), marks_of(faces)).save(target)
    except (OSError, InputError) as error:
        return Scan(photo, [], str(error))
    return Scan(photo, faces)


def _print(results: list[Scan], console: Console) -> None:
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("photo", overflow="fold")
    for column in ("face", "box", "sure", "age", "gender", "yaw, pitch"):
        table.add_column(column, no_wrap=column != "box")
    for result in results:
        _add_rows(table, result)
    console.print(table)
    failed = [result for result in results if result.error]
    for result in failed:
        console.print(f"{os.path.relpath(result.photo)}: {result.error}", style="red", highlight=False, soft_wrap=True)
    faces = sum(len(result.faces) for result in results)
    unread = f", {len(failed)} of which could not be read" if failed else ""
    console.print(f"\n{faces} faces in {len(results)} photos{unread}", style="bold")


def _add_rows(table: Table, result: Scan) -> None:
    name = os.path.relpath(result.photo)
    if not result.faces and not result.error:
        table.add_row(name, "", "[dim]no face[/dim]")
    for number, face in enumerate(result.faces, 1):
        box = face.box
        table.add_row(
            name if number == 1 else "",
            str(number),
            f"{box.x_min},{box.y_min} {box.x_max - box.x_min}x{box.y_max - box.y_min}",
            f"{box.probability:.0%}",
            f"{face.age.low}-{face.age.high}" if face.age else "",
            face.gender.value if face.gender else "",
            f"{face.pose.yaw:+.0f}°, {face.pose.pitch:+.0f}°" if face.pose else "",
        )


def _write_json(results: list[Scan], target: Path) -> None:
    import sys

    from embedding_calculator.serialize import to_json

    lines = b"".join(
        to_json({"photo": str(result.photo), "error": result.error, "faces": result.faces}) for result in results
    )
    if str(target) == "-":
        sys.stdout.buffer.write(lines)
    else:
        target.write_bytes(lines)
