"""``embedding-calculator benchmark-detection``: detectors side by side on annotated photos."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedding_calculator.cli.options import MinWidth, Overlap, PhotosFolder

if TYPE_CHECKING:
    from embedding_calculator.evaluation.datasets import AnnotatedPhoto
    from embedding_calculator.evaluation.detectors import Bench
    from embedding_calculator.evaluation.finding import Answers, Result

_SHOWN = 9
"""Pictures of mistakes in the report, a detector; all of them lie in the folder."""


def benchmark_detection(
    annotations: Annotated[
        Path,
        typer.Argument(
            help="FDDB's folder (with FDDB-folds), WIDER FACE's wider_face_*_bbx_gt.txt or its folder, or a CSV with "
            "image, x_min, y_min, x_max, y_max (or image, nose_x, nose_y).",
            exists=True,
            show_default=False,
        ),
    ],
    detector: Annotated[
        list[str] | None,
        typer.Option(help="PLUGIN or PLUGIN@MODEL, repeatable; default: FACE_DETECTION_PLUGIN.", show_default=False),
    ] = None,
    images: PhotosFolder = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for report, plots and error pictures.", file_okay=False)
    ] = Path("evaluation/detection"),
    overlap: Overlap = 0.5,
    min_width: MinWidth = 0,
    save_errors: Annotated[
        bool, typer.Option(envvar="SAVE_IMG_ON_ERROR", help="Save a picture of every photo with a mistake.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the numbers as JSON.")] = False,
) -> None:
    """Undetected faces, false detections, precision and recall of one detector or several.

    Photos are read one by one. Run it again to resume: photos already done are not computed again.

    Example: embedding-calculator benchmark-detection FDDB/ --detector opencv_zoo.FaceDetector --detector
    facenet.FaceDetector
    """
    from embedding_calculator.cli.shared import counted
    from embedding_calculator.evaluation.datasets import open_dataset
    from embedding_calculator.evaluation.detectors import Bench
    from embedding_calculator.evaluation.extras import require_reports
    from embedding_calculator.evaluation.finding import assess, write_report
    from embedding_calculator.serialize import to_json
    from embedding_calculator.settings import Settings

    require_reports()
    settings = Settings()
    photos = open_dataset(annotations, images)
    benches = [Bench(name, settings) for name in dict.fromkeys(detector or settings.face_detection_plugin)]
    faces = sum(len(photo.noses) for photo in photos)
    print(f"{counted(len(photos), 'photo')} with {counted(faces, 'face')}", file=sys.stderr)
    results, galleries = {}, {}
    for bench in benches:
        answers = _answers(bench, photos, output)
        result = assess(photos, answers, bench.detector({}).default_threshold, overlap, min_width)
        results[bench.name] = result
        if not as_json:
            print(f"{bench.name}: {result.line}")
        if save_errors:
            galleries[bench.name] = _save_errors(bench, photos, answers, output, overlap, min_width)
    asked = [
        ("annotations", str(annotations)),
        ("overlap", f"{overlap:g}"),
        ("narrowest face judged", f"{min_width:g}"),
    ]
    report = write_report(results, galleries, output, [*asked, ("img length limit", str(settings.img_length_limit))])
    if as_json:
        numbers = {name: result.summary() for name, result in results.items()}
        sys.stdout.buffer.write(to_json({"detectors": numbers, "report": str(report)}))
    else:
        _print(results, report)


def _answers(bench: Bench, photos: Sequence[AnnotatedPhoto], output: Path) -> Answers:
    from embedding_calculator.cli.shared import answers_of
    from embedding_calculator.evaluation.finding import LOWEST, ask
    from embedding_calculator.evaluation.journal import Journal

    asked = {
        "detector": bench.name,
        "model": bench.entry.name,
        "parameters": dict(bench.entry.parameters),
        "img_length_limit": bench.settings.img_length_limit,
        "lowest": LOWEST,
    }
    journal = Journal(output / f"{_label(bench)}.jsonl", asked)
    paths = {photo.name: photo.path for photo in photos}
    detector = bench.detector({})
    answers = answers_of(journal, paths, lambda name: ask(bench, detector, paths[name].read_bytes()), bench.name)
    for name, answer in answers.items():
        if "error" in answer:
            print(f"{name}: {answer['error']}", file=sys.stderr)
    return answers


def _save_errors(
    bench: Bench,
    photos: Sequence[AnnotatedPhoto],
    answers: Answers,
    output: Path,
    overlap: float,
    min_width: float,
) -> list[tuple[Path, str]]:
    """Draw all photos with mistakes; returns the worst, for the report."""
    from embedding_calculator.cli.shared import watched
    from embedding_calculator.evaluation.finding import save_mistakes, wrong_photos

    threshold = bench.detector({}).default_threshold
    wrong = wrong_photos(photos, answers, threshold, overlap, min_width)
    folder = output / "errors" / _label(bench)
    pictures = []
    for photo, mistakes in watched(wrong, "drawing mistakes", len(wrong)):
        path = folder / (re.sub(r"[\\/]", "_", photo.name).rsplit(".", 1)[0] + ".jpg")
        save_mistakes(bench, photo, answers[photo.name], threshold, mistakes, path)
        pictures.append((path, f"{photo.name}: {len(mistakes.missed)} missed, {len(mistakes.false)} false"))
    return pictures[:_SHOWN]


def _label(bench: Bench) -> str:
    return f"{bench.name.partition('@')[0]}-{bench.entry.name}"


def _print(results: dict[str, Result], report: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("detector", box=None, header_style="bold", pad_edge=False)
    for name in ("recall", "precision", "average precision"):
        table.add_column(name, justify="right")
    for name, result in results.items():
        if result.score and result.curve:
            numbers = (result.score.recall, result.score.precision, result.curve.average_precision)
            table.add_row(name, *(f"{number:.3f}" for number in numbers))
    console = Console()
    if table.row_count:
        console.print(table)
    console.print(f"report: {report}", soft_wrap=True)
