"""``embedding-calculator scan``: faces in photos and folders, as a table, as pictures, as JSON."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from embedding_calculator.arrays import Floats
    from embedding_calculator.evaluation.datasets import AnnotatedPhoto
    from embedding_calculator.evaluation.detection import Mistakes
    from embedding_calculator.results import Face

_OVERLAP = 0.4
"""Intersection over union from which a box is the annotated one: annotators begin a face at the hairline or below."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What became of one photo: its faces, or why there are none; and what is ``wrong`` where answers are known."""

    photo: Path
    faces: list[Face]
    error: str | None = None
    wrong: Mistakes | None = None

    @property
    def sound(self) -> bool:
        """Whether it could be read and nothing is known to be wrong."""
        return not self.error and not self.wrong


class Save(StrEnum):
    """Of which photos annotated pictures are written."""

    ALL = "true"
    NONE = "false"
    ON_ERROR = "on_error"


def scan(
    photos: Annotated[
        list[Path], typer.Argument(help="Photos, or folders to look through.", show_default=False, exists=True)
    ],
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
    noses: Annotated[
        Path | None,
        typer.Option(
            help="CSV of known noses (image, nose_x, nose_y): mistakes are told.", exists=True, dir_okay=False
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="CSV of known boxes (image, x_min, y_min, x_max, y_max): mistakes are told.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    names: Annotated[
        str | None, typer.Option(envvar="IMG_NAMES", help="Only photos of these names, separated by commas or blanks.")
    ] = None,
    save: Annotated[
        Save, typer.Option(envvar="SAVE_IMG", case_sensitive=False, help="Of which photos --output gets pictures.")
    ] = Save.ALL,
    url: Annotated[
        str | None,
        typer.Option(help="Ask a running service; USE_REMOTE=true asks ML_URL, or else ML_HOST at ML_PORT."),
    ] = None,
) -> None:
    """Find faces in photos: a table on the terminal, annotated pictures and JSON if asked for.

    A photo that cannot be read is reported and the others go on. With known noses or boxes every mistake is told and
    drawn: a red box where there is no face, a red cross where one was missed. In both cases the exit status is 1.

    Example: embedding-calculator scan holiday/ --output annotated/ --json faces.jsonl

    Example: embedding-calculator scan samples/ --noses samples/noses.csv -o mistakes/ --save on_error
    """
    from rich.console import Console

    from embedding_calculator.cli.shared import named, open_finder, pictures_in, watched
    from embedding_calculator.errors import ParameterError
    from embedding_calculator.settings import granted_cpus

    quiet = json is not None and str(json) == "-"
    console = Console(stderr=quiet)
    files = list(named(pictures_in(photos), names))
    if not files:
        console.print("no photos there", style="yellow")
        raise typer.Exit(1)
    if output:
        output.mkdir(parents=True, exist_ok=True)
    known = _known(noses, boxes)
    annotated = {photo: _answer(known, photo, photos) for photo in files}
    told = _unique_names(files, photos)
    if known and (others := [photo for photo, answer in annotated.items() if not answer]):
        unjudged = ", ".join(os.path.relpath(photo) for photo in others)
        Console(stderr=True).print(f"not annotated, so not judged: {unjudged}", style="yellow")

    with open_finder(url or _remote()) as finder, ThreadPoolExecutor(granted_cpus()) as pool:
        slugs = finder.plugins if plugins is None else tuple(plugins.replace(",", " ").split())
        if unknown := sorted(set(slugs) - set(finder.plugins)):
            raise ParameterError(f"no plugin {', '.join(unknown)}; there are: {', '.join(finder.plugins)}")

        def process(photo: Path) -> Scan:
            target = output / f"{told[photo].replace(os.sep, '_')}.png" if output and save is not Save.NONE else None
            return _scan_one(photo, find, annotated[photo], target, only_wrong=save is Save.ON_ERROR)

        def find(data: bytes) -> list[Face]:
            return finder.find_faces(data, plugins=slugs, threshold=threshold, limit=limit)

        results = list(watched(pool.map(process, files), "scanning", len(files)))
    if json:
        _write_json(results, json)
    if not quiet:
        _print(results, told, console)
    if not all(result.sound for result in results):
        raise typer.Exit(1)


def _known(noses: Path | None, boxes: Path | None) -> dict[str, AnnotatedPhoto]:
    from embedding_calculator.errors import ParameterError
    from embedding_calculator.evaluation.datasets import open_dataset

    if noses and boxes:
        raise ParameterError("--noses and --boxes are two ways to judge; choose one")
    table = noses or boxes
    return {photo.name: photo for photo in open_dataset(table)} if table else {}


def _answer(known: dict[str, AnnotatedPhoto], photo: Path, places: list[Path]) -> AnnotatedPhoto | None:
    """What is known of a photo, by its path below the folder that is scanned, or by its name."""
    return known.get(_below(photo, places).as_posix()) or known.get(photo.name)


def _remote() -> str | None:
    """The original's way to name a service, by the environment."""
    if os.environ.get("USE_REMOTE", "").strip().lower() not in {"true", "1"}:
        return None
    host, port = os.environ.get("ML_HOST") or "localhost", os.environ.get("ML_PORT") or "3000"
    return os.environ.get("ML_URL") or f"http://{host}:{port}"


def _unique_names(photos: list[Path], places: list[Path]) -> dict[Path, str]:
    """What each photo is called: its path below the folder that is scanned, or its whole one where two share that."""
    below = {photo: str(_below(photo, places)) for photo in photos}
    shared = Counter(below.values())
    return {photo: name if shared[name] == 1 else str(photo.absolute())[1:] for photo, name in below.items()}


def _below(photo: Path, places: list[Path]) -> Path:
    """The photo's path below the folder that is scanned."""
    return next((photo.relative_to(place) for place in places if place in photo.parents), Path(photo.name))


def _scan_one(
    photo: Path,
    find: Callable[[bytes], list[Face]],
    answer: AnnotatedPhoto | None,
    target: Path | None,
    *,
    only_wrong: bool,
) -> Scan:
    from embedding_calculator.errors import BusyError, InputError

    try:
        data = photo.read_bytes()
        faces = find(data)
        wrong = _judge(answer, faces) if answer else None
        if target and (wrong or not only_wrong):
            _draw(data, faces, answer, wrong, target)
    except (OSError, InputError, BusyError) as error:
        return Scan(photo, [], str(error))
    return Scan(photo, faces, wrong=wrong)


def _judge(answer: AnnotatedPhoto, faces: list[Face]) -> Mistakes:
    import numpy as np

    from embedding_calculator.evaluation.detection import EDGES, mistakes

    order = sorted(range(len(faces)), key=lambda number: -faces[number].box.probability)
    found = [[getattr(faces[number].box, edge) for edge in EDGES] for number in order]
    # The surest box is judged first; the verdicts are then told in the order of the faces.
    taken = np.full(len(faces), -1, np.intp)
    taken[order] = answer.match(np.array(found, np.float32).reshape(-1, 4), _OVERLAP)
    return mistakes(taken, answer.matters(0))


def _draw(data: bytes, faces: list[Face], answer: AnnotatedPhoto | None, wrong: Mistakes | None, target: Path) -> None:
    import numpy as np

    from embedding_calculator.engine.intake import take_in
    from embedding_calculator.evaluation.detection import Mistakes
    from embedding_calculator.evaluation.mistakes import draw_mistakes
    from embedding_calculator.imaging.draw import marks_of
    from embedding_calculator.settings import Settings

    nothing = np.zeros(0, np.intp)
    noses: Floats = answer.noses if answer else np.zeros((0, 2), np.float32)
    picture = take_in(data, Settings())
    draw_mistakes(picture, marks_of(faces), noses, wrong or Mistakes(nothing, nothing)).save(target)


def _print(results: list[Scan], names: dict[Path, str], console: Console) -> None:
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("photo", overflow="fold")
    for column in ("face", "box", "sure", "age", "gender", "yaw, pitch"):
        table.add_column(column, no_wrap=column != "box")
    for result in results:
        _add_rows(table, names[result.photo], result)
    console.print(table)
    failed = [result for result in results if result.error]
    for result in failed:
        console.print(f"{os.path.relpath(result.photo)}: {result.error}", style="red", highlight=False, soft_wrap=True)
    faces = sum(len(result.faces) for result in results)
    unread = f", {len(failed)} of which could not be read" if failed else ""
    console.print(f"\n{faces} faces in {len(results)} photos{unread}", style="bold")
    if judged := [result.wrong for result in results if result.wrong is not None]:
        missed, false = (sum(len(getattr(wrong, kind)) for wrong in judged) for kind in ("missed", "false"))
        style = "bold red" if missed or false else "bold green"
        console.print(f"{len(judged)} photos judged: {missed} faces missed, {false} false", style=style)


def _add_rows(table: Table, name: str, result: Scan) -> None:
    if not result.faces and not result.error:
        table.add_row(name, "", "[dim]no face[/dim]")
    false = set() if result.wrong is None else set(result.wrong.false.tolist())
    for number, face in enumerate(result.faces, 1):
        box = face.box
        table.add_row(
            name if number == 1 else "",
            f"[red]{number} false[/red]" if number - 1 in false else str(number),
            f"{box.x_min},{box.y_min} {box.x_max - box.x_min}x{box.y_max - box.y_min}",
            f"{box.probability:.0%}",
            f"{face.age.low}-{face.age.high}" if face.age else "",
            face.gender.value if face.gender else "",
            f"{face.pose.yaw:+.0f}°, {face.pose.pitch:+.0f}°" if face.pose else "",
        )
    if result.wrong is not None and len(result.wrong.missed):
        table.add_row("", "", f"[red]{len(result.wrong.missed)} missed[/red]")


def _write_json(results: list[Scan], target: Path) -> None:
    import sys

    from embedding_calculator.serialize import to_json

    lines = b"".join(
        to_json({"photo": str(result.photo), "error": result.error, "faces": result.faces, **_verdict(result)})
        for result in results
    )
    if str(target) == "-":
        sys.stdout.buffer.write(lines)
    else:
        target.write_bytes(lines)


def _verdict(result: Scan) -> dict[str, Any]:
    """Only where answers are known: the numbers, from 0, of annotated faces missed and of found ones that are false."""
    if result.wrong is None:
        return {}
    return {"mistakes": {"missed": result.wrong.missed.tolist(), "false": result.wrong.false.tolist()}}
