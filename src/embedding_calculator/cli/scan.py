"""``embedding-calculator scan``: faces in photos and folders, as a table, as pictures, as JSON."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

if TYPE_CHECKING:
    from embedding_calculator.arrays import Floats
    from embedding_calculator.cli.scan_table import Scan
    from embedding_calculator.evaluation.datasets import AnnotatedPhoto
    from embedding_calculator.evaluation.detection import Mistakes
    from embedding_calculator.results import Face, Found

_OVERLAP = 0.4
"""Intersection over union from which a box is the annotated one: annotators begin a face at the hairline or below."""


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
        Path | None,
        typer.Option(help="File for everything as JSON lines, a photo each, as they are ready; - is standard output."),
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

    A photo that cannot be read is told and the others go on. With known noses or boxes every mistake is told and
    drawn: a red box where there is no face, a red cross where one was missed. In both cases the exit status is 1.
    Ctrl-C keeps what was done; the exit status is then 130.

    Example: embedding-calculator scan holiday/ --output annotated/ --json faces.jsonl

    Example: embedding-calculator scan samples/ --noses samples/noses.csv -o mistakes/ --save on_error
    """
    from rich.console import Console

    from embedding_calculator.cli.scan_table import ScanTable
    from embedding_calculator.cli.shared import counted, named, open_finder, pictures_in, watched
    from embedding_calculator.errors import ParameterError, unknown_names

    errors = Console(stderr=True)
    files = list(_but_drawn(named(pictures_in(photos), names), photos, output))
    if not files:
        errors.print("no photos there", style="yellow")
        raise typer.Exit(1)
    if output:
        output.mkdir(parents=True, exist_ok=True)
    judge = Judge(_known(noses, boxes), photos)
    told = _unique_names(files, photos)
    if judge.known and (others := [photo for photo in files if not judge.answer(photo)]):
        unjudged = ", ".join(os.path.relpath(photo) for photo in others)
        errors.print(f"not annotated, so not judged: {unjudged}", style="yellow")

    with ExitStack() as stack:
        finder = stack.enter_context(open_finder(url or _remote()))
        slugs = finder.plugins if plugins is None else tuple(plugins.replace(",", " ").split())
        if unknown := sorted(set(slugs) - set(finder.plugins)):
            raise ParameterError(unknown_names("plugin", unknown, finder.plugins))
        lines = stack.enter_context(_opened(json)) if json else None
        console = Console(quiet=json is not None and str(json) == "-")
        table = ScanTable(console, told, slugs)
        found = finder.find_faces_in(files, plugins=slugs, threshold=threshold, limit=limit)
        scans = _drawn(found, judge, told, output, save) if output else ((one.index, judge(one)) for one in found)
        interrupted = False
        try:
            for index, result in watched(scans, "scanning", len(files), console):
                with _undisturbed():
                    if lines:
                        lines.write(_line(result))
                        lines.flush()
                    table.add(index, result)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            table.finish()
    if interrupted:
        errors.print(f"interrupted after {table.photos} of {counted(len(files), 'photo')}", style="yellow")
        raise typer.Exit(130)
    if not table.sound:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares what was found with what is ``known``, by name, of photos in ``places``."""

    known: Mapping[str, AnnotatedPhoto]
    places: list[Path]

    def answer(self, photo: Path) -> AnnotatedPhoto | None:
        """What is known of a photo, by its path below the folder that is scanned, or by its name."""
        return self.known.get(_below(photo, self.places).as_posix()) or self.known.get(photo.name)

    def __call__(self, found: Found[Path]) -> Scan:
        """What became of the photo."""
        from embedding_calculator.cli.scan_table import Scan

        answer = None if found.error else self.answer(found.photo)
        wrong = _mistakes(answer, found.faces) if answer else None
        return Scan(found.photo, found.faces, str(found.error) if found.error else None, wrong)


def _drawn(
    found: Iterator[Found[Path]], judge: Judge, told: list[str], output: Path, save: Save
) -> Iterator[tuple[int, Scan]]:
    """Judged, and pictures written of them: that takes longer than finding the faces, so it has threads of its own."""
    from embedding_calculator.cli.scan_table import Scan
    from embedding_calculator.engine.many import side_by_side
    from embedding_calculator.errors import BusyError, InputError
    from embedding_calculator.settings import granted_cpus

    def finish(one: Found[Path]) -> tuple[tuple[int, Scan]]:
        scan = judge(one)
        if not scan.error and (save is Save.ALL or (save is Save.ON_ERROR and scan.wrong)):
            target = output / f"{told[one.index].replace(os.sep, '_')}.png"
            try:
                _draw(one.photo.read_bytes(), scan, judge.answer(one.photo), target)
            except (OSError, InputError, BusyError) as error:
                scan = Scan(one.photo, [], str(error))
        return ((one.index, scan),)

    return side_by_side(found, finish, threads=granted_cpus(), ahead=granted_cpus())


def _but_drawn(photos: Iterator[Path], places: list[Path], output: Path | None) -> Iterator[Path]:
    """Without what an earlier run drew into the output folder, where that lies in a folder that is scanned."""
    drawn = output.resolve() if output else None
    if not drawn or any(place.resolve().is_relative_to(drawn) for place in places):  # That is what was asked for.
        return photos
    return (photo for photo in photos if not photo.parent.resolve().is_relative_to(drawn))


def _known(noses: Path | None, boxes: Path | None) -> dict[str, AnnotatedPhoto]:
    from embedding_calculator.errors import ParameterError
    from embedding_calculator.evaluation.datasets import nosed, open_dataset

    if noses and boxes:
        raise ParameterError("--noses and --boxes are two ways to judge; choose one")
    annotated = list(nosed(noses) if noses else open_dataset(boxes) if boxes else ())
    if boxes and any(photo.boxes is None for photo in annotated):
        raise ParameterError(f"{boxes} holds noses; give it to --noses")
    return {photo.name: photo for photo in annotated}


def _remote() -> str | None:
    """The original's way to name a service, by the environment."""
    if os.environ.get("USE_REMOTE", "").strip().lower() not in {"true", "1"}:
        return None
    host, port = os.environ.get("ML_HOST") or "localhost", os.environ.get("ML_PORT") or "3000"
    return os.environ.get("ML_URL") or f"http://{host}:{port}"


def _unique_names(photos: list[Path], places: list[Path]) -> list[str]:
    """What each photo is called: its path below the folder that is scanned, or its whole one where two share that."""
    below = [str(_below(photo, places)) for photo in photos]
    shared = Counter(below)
    return [name if shared[name] == 1 else str(photo.absolute())[1:] for photo, name in zip(photos, below, strict=True)]


def _below(photo: Path, places: list[Path]) -> Path:
    """The photo's path below the folder that is scanned."""
    return next((photo.relative_to(place) for place in places if place in photo.parents), Path(photo.name))


def _mistakes(answer: AnnotatedPhoto, faces: list[Face]) -> Mistakes:
    import numpy as np

    from embedding_calculator.evaluation.detection import EDGES, mistakes

    order = sorted(range(len(faces)), key=lambda number: -faces[number].box.probability)
    found = [[getattr(faces[number].box, edge) for edge in EDGES] for number in order]
    # The surest box is judged first; the verdicts are then told in the order of the faces.
    taken = np.full(len(faces), -1, np.intp)
    taken[order] = answer.match(np.array(found, np.float32).reshape(-1, 4), _OVERLAP)
    return mistakes(taken, answer.matters(0))


def _draw(data: bytes, scan: Scan, answer: AnnotatedPhoto | None, target: Path) -> None:
    import numpy as np

    from embedding_calculator.engine.intake import take_in
    from embedding_calculator.evaluation.detection import Mistakes
    from embedding_calculator.evaluation.mistakes import draw_mistakes
    from embedding_calculator.imaging.draw import marks_of
    from embedding_calculator.settings import Settings

    nothing = np.zeros(0, np.intp)
    noses: Floats = answer.noses if answer else np.zeros((0, 2), np.float32)
    picture = take_in(data, Settings())
    draw_mistakes(picture, marks_of(scan.faces), noses, scan.wrong or Mistakes(nothing, nothing)).save(target)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A photo is written down whole or not at all: Ctrl-C waits so long."""
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def _opened(target: Path) -> Iterator[BinaryIO]:
    if str(target) == "-":
        yield sys.stdout.buffer
    else:
        with target.open("wb") as file:
            yield file


def _line(scan: Scan) -> bytes:
    """Where answers are known also the mistakes: the numbers, from 0, of annotated faces missed and of false ones."""
    from embedding_calculator.serialize import to_json

    content: dict[str, Any] = {"photo": str(scan.photo), "error": scan.error, "faces": scan.faces}
    if scan.wrong is not None:
        content["mistakes"] = {"missed": scan.wrong.missed.tolist(), "false": scan.wrong.false.tolist()}
    return to_json(content)
