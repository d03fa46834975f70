"""``embedding-calculator optimize-detection``: detector parameters that make fewer mistakes on your photos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedding_calculator.cli.options import MinWidth, Overlap, PhotosFolder

if TYPE_CHECKING:
    from embedding_calculator.evaluation.search import Outcome

_CHECKED = 20
"""Photos on which it is made sure, before the search, that every parameter changes something."""


def optimize_detection(
    annotations: Annotated[
        Path,
        typer.Argument(
            help="Photos with known faces: a CSV of noses or boxes, FDDB's folder, or WIDER FACE's list.",
            exists=True,
            show_default=False,
        ),
    ],
    detector: Annotated[
        str | None, typer.Option(help="PLUGIN or PLUGIN@MODEL; default: FACE_DETECTION_PLUGIN.", show_default=False)
    ] = None,
    images: PhotosFolder = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME=LOW:HIGH, repeatable: a parameter to search beside all thresholds."),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="How many sets of values to try, those of earlier runs included.")
    ] = 100,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the photos that the search does not see.")
    ] = 0.3,
    overlap: Overlap = 0.4,
    min_width: MinWidth = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the study, report, plots and catalogue.", file_okay=False)
    ] = Path("evaluation/optimised"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the outcome as JSON.")] = False,
) -> None:
    """Search for detector thresholds that make fewer errors on annotated photos: faces missed and false boxes.

    The parameters are those of the detector's catalogue entry. What is found is written as an entry of your own, and
    the two variables that use it are printed. Run it again with more trials to go on.

    Example: embedding-calculator optimize-detection samples/noses.csv --detector facenet.FaceDetector --trials 200
    """
    from embedding_calculator.cli.shared import watched
    from embedding_calculator.errors import ParameterError
    from embedding_calculator.evaluation.datasets import open_dataset
    from embedding_calculator.evaluation.detectors import Bench
    from embedding_calculator.evaluation.extras import require_reports, tools_extra
    from embedding_calculator.evaluation.search import Judge, Search, idle, ranges_of, split, write_entry, write_report
    from embedding_calculator.serialize import to_json
    from embedding_calculator.settings import Settings

    require_reports()
    with tools_extra():
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = Settings()
    bench = Bench(detector or settings.face_detection_plugin[0], settings)
    photos, aside = split(open_dataset(annotations, images), held_out)
    if not photos:
        raise ParameterError("no photo is left to search on; hold out fewer")
    ranges = ranges_of(bench.entry.parameters, vary or ())
    for name in idle(bench, photos[:_CHECKED], ranges):
        print(f"warning: {name} changes nothing on {min(len(photos), _CHECKED)} of these photos", file=sys.stderr)
    search = Search(bench, photos, ranges, Judge(overlap, min_width), output)
    if before := search.done:
        print(f"going on after {before} trials", file=sys.stderr)
    for _ in watched(search.run(trials), "searching", max(trials - before, 0)):
        pass
    outcome = search.outcome(aside)

    was, now = outcome.held_out
    told = [
        f"Searched by embedding-calculator optimize-detection: {len(outcome.trials)} trials on {annotations.name}.",
        f"Errors on photos that the search did not see: {was.total} before, {now.total} after, of {now.faces} faces.",
    ]
    catalog = (output / "catalog").resolve()
    name = write_entry(bench.entry, outcome.best, catalog, told)
    others = [str(folder) for folder in settings.model_catalog if folder.resolve() != catalog]
    environment = [
        f"MODEL_CATALOG={','.join([*others, str(catalog)])}",
        f"FACE_DETECTION_PLUGIN={bench.name.partition('@')[0]}@{name}",
    ]
    asked = [("annotations", str(annotations)), ("detector", bench.name), ("overlap", f"{overlap:g}")]
    report = write_report(outcome, bench.name, environment, output, asked)
    if as_json:
        numbers = {
            "trials": len(outcome.trials),
            "before": {"values": outcome.before, "errors": outcome.searched[0], "held_out": was},
            "best": {"values": outcome.best, "errors": outcome.searched[1], "held_out": now},
            "environment": environment,
            "report": str(report),
        }
        sys.stdout.buffer.write(to_json(numbers))
    else:
        _print(outcome, environment, report)


def _print(outcome: Outcome, environment: list[str], report: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "catalogue", "found", box=None, header_style="bold", pad_edge=False)
    for name, value in outcome.best.items():
        table.add_row(name, f"{outcome.before[name]:.4g}", f"{value:.4g}")
    for name, (before, after) in (("searched on", outcome.searched), ("held out", outcome.held_out)):
        table.add_row(
            f"errors, {before.faces} faces {name}",
            *(f"{each.total} ({each.missed} missed, {each.false} false)" for each in (before, after)),
        )
    console = Console()
    console.print(table)
    console.print("\nTo use what was found:", style="bold")
    for line in environment:
        print(line)
    console.print(f"report: {report}", soft_wrap=True)
