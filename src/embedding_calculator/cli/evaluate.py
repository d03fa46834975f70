"""``embedding-calculator evaluate``: how good the answers are on photos whose answers are known."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedding_calculator.cli.options import Overlap

if TYPE_CHECKING:
    from embedding_calculator.client import ServiceClient
    from embedding_calculator.library import FaceAnalyzer

app = typer.Typer(help="Measure accuracy on photos with known answers.", no_args_is_help=True)

_Images = Annotated[Path, typer.Option(help="Folder that the file's names are in.", exists=True, file_okay=False)]
_Url = Annotated[str | None, typer.Option(help="Ask a running service instead of computing here.")]
_Json = Annotated[bool, typer.Option("--json", help="For programs: the numbers as JSON on standard output.")]
_Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Folder for report, plots and the journal that lets you resume.", file_okay=False
    ),
]


def _table(text: str) -> Any:
    return typer.Argument(help=text, exists=True, dir_okay=False, show_default=False)


@app.command()
def pairs(
    table: Annotated[
        Path, _table("CSV with the columns image_a, image_b, same (1: one person, 0: two), and perhaps fold.")
    ],
    images: _Images,
    output: _Output = Path("evaluation/pairs"),
    fit: Annotated[
        bool, typer.Option("--fit", help="Also fit the calculator's similarity coefficients, for its catalogue entry.")
    ] = False,
    url: _Url = None,
    as_json: _Json = False,
) -> None:
    """Verification: are two photos of one person? Accuracy by folds, ROC, true accepts at few false ones.

    Of several faces in a photo the one nearest to its middle counts; pairs with a photo that shows none are left out.
    Run it again to resume: photos already done are not computed again.

    Example: embedding-calculator evaluate pairs lfw/pairs.csv --images lfw/images --fit
    """
    from embedding_calculator.cli.shared import answers_of, open_finder, read_in
    from embedding_calculator.evaluation.extras import require_reports
    from embedding_calculator.evaluation.journal import Journal
    from embedding_calculator.evaluation.pairs import calibrate, embed, read_pairs, verify, write_report
    from embedding_calculator.evaluation.similarity import Coefficients

    require_reports()
    rows = read_pairs(table)
    names = [name for row in rows for name in (row.first, row.second)]
    read = read_in(images)
    with open_finder(url) as finder:
        asked = _asked(finder, url, "detector", "calculator")
        journal = Journal(output / "journal.jsonl", asked)
        answers = answers_of(journal, names, lambda name: embed(finder, read(name)), "embedding")
        configured = Coefficients(*finder.similarity_coefficients)
    result = verify(rows, answers, configured)
    summary = result.summary()
    lines = [
        ("pairs", f"{summary['pairs']}, {summary['left_out']} left out because a photo shows no face"),
        ("accuracy", f"{result.folds.mean:.2%} ± {result.folds.standard_error:.2%}"),
        ("at similarity 0.5", f"{result.accuracy_at_half:.2%}"),
        ("best threshold", f"similarity {result.threshold_similarity:.3f}"),
        ("area under ROC", f"{result.roc.area:.4f}"),
        *(
            (
                f"true accepts at {share} false",
                "too few pairs of two people to tell" if value is None else f"{value:.2%}",
            )
            for share, value in summary["true_accepts"].items()
        ),
    ]
    if fit:
        coefficients, calibration = calibrate(result)
        summary["fit"] = {
            "similarity_coefficients": [coefficients.c0, coefficients.c1],
            "difference_threshold": coefficients.difference_threshold,
            "accuracy": calibration.accuracy,
            "brier": calibration.brier,
            "calibration_error": calibration.calibration_error,
        }
        lines += [
            ("fit, ten-fold accuracy", f"{calibration.accuracy:.2%}"),
            ("fit, Brier score", f"{calibration.brier:.4f}"),
            ("fit, calibration error", f"{calibration.calibration_error:.4f}"),
        ]
    report = write_report(result, output, _footer(table, asked))
    _tell(summary, lines, report, answers, as_json=as_json)
    if fit and not as_json:
        print(f"similarity_coefficients = [{coefficients.c0:.4g}, {coefficients.c1:.3g}]")
        print(f"difference_threshold = {coefficients.difference_threshold:.4g}")


@app.command()
def attributes(
    table: Annotated[Path, _table("CSV with the columns image, age (years) and gender (male, female).")],
    images: _Images,
    output: _Output = Path("evaluation/attributes"),
    pad: Annotated[
        int, typer.Option(min=0, help="Black pixels to put around each photo: for portraits cut close to the face.")
    ] = 0,
    url: _Url = None,
    as_json: _Json = False,
) -> None:
    """Age and gender: mean error by decade of life, and who is taken for whom.

    Of several faces in a photo the one nearest to its middle counts. Run it again to resume.

    Example: embedding-calculator evaluate attributes utkface/labels.csv --images utkface/images --pad 60
    """
    from embedding_calculator.cli.shared import answers_of, open_finder, read_in
    from embedding_calculator.evaluation.extras import require_reports
    from embedding_calculator.evaluation.journal import Journal
    from embedding_calculator.evaluation.people import ask, assess, read_people, write_report

    require_reports()
    people = read_people(table)
    names = [person.photo for person in people]
    read = read_in(images)
    with open_finder(url) as finder:
        asked = {**_asked(finder, url, "detector", "age", "gender"), "pad": pad}
        journal = Journal(output / "journal.jsonl", asked)
        answers = answers_of(journal, names, lambda name: ask(finder, read(name), pad), "asking")
    result = assess(people, answers)
    lines = [("people", f"{result.people}, {result.left_out} left out because no face was found")]
    if ages := result.ages:
        lines += [("age, mean error", f"{ages.error:.2f} years"), ("age, bias", f"{ages.bias:+.2f} years")]
        lines += [(f"  {decade.first} to {decade.first + 9}", f"{decade.error:.1f} years") for decade in ages.decades]
        lines.append(("ranges hold the age", f"{ages.inside:.0%}, {ages.claimed:.0%} claimed"))
    if genders := result.genders:
        lines.append(("gender told right", f"{genders.accuracy:.1%}"))
        lines += [(f"  {label}", f"{recall:.1%}") for label, recall in genders.recalls.items()]
    report = write_report(result, output, _footer(table, asked))
    _tell(result.summary(), lines, report, answers, as_json=as_json)


@app.command()
def mask(
    table: Annotated[Path, _table("CSV with the columns image, x_min, y_min, x_max, y_max, mask.")],
    images: _Images,
    output: _Output = Path("evaluation/mask"),
    overlap: Overlap = 0.4,
    url: _Url = None,
    as_json: _Json = False,
) -> None:
    """Masks: what is told of faces whose mask is known. Run it again to resume.

    Example: EXTRA_PLUGINS=facenet.facemask.MaskDetector embedding-calculator evaluate mask boxes.csv --images images
    """
    from embedding_calculator.cli.shared import answers_of, open_finder, read_in
    from embedding_calculator.errors import ConfigurationError
    from embedding_calculator.evaluation.extras import require_reports
    from embedding_calculator.evaluation.journal import Journal
    from embedding_calculator.evaluation.masks import ask, assess, read_masks, write_report

    require_reports()
    photos = read_masks(table)
    read = read_in(images)
    with open_finder(url) as finder:
        if "mask" not in finder.plugins:
            raise ConfigurationError("no plugin tells of masks: EXTRA_PLUGINS must name one")
        asked = _asked(finder, url, "detector", "mask")
        journal = Journal(output / "journal.jsonl", asked)
        answers = answers_of(journal, photos, lambda name: ask(finder, read(name)), "asking")
    result = assess(photos, answers, overlap)
    counts = result.confusion
    lines = [
        ("faces", f"{counts.counts.sum()}, {result.missed} more were not found"),
        ("told right", f"{counts.accuracy:.1%}"),
        *((f"  {label}", f"{recall:.1%}") for label, recall in counts.recalls.items()),
    ]
    report = write_report(result, output, _footer(table, asked))
    _tell(result.summary(), lines, report, answers, as_json=as_json)


def _asked(finder: FaceAnalyzer | ServiceClient, url: str | None, *slugs: str) -> dict[str, Any]:
    """What the answers depend on."""
    from embedding_calculator.settings import Settings

    plugins = {slug: version for slug, version in finder.versions.items() if slug in slugs}
    return {**plugins, **({"url": url} if url else {"img_length_limit": Settings().img_length_limit})}


def _footer(table: Path, asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("table", str(table)), *((name.replace("_", " "), str(value)) for name, value in asked.items())]


def _tell(
    summary: Mapping[str, Any],
    lines: Sequence[tuple[str, str]],
    report: Path,
    answers: Mapping[str, Mapping[str, Any]],
    *,
    as_json: bool,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from embedding_calculator.serialize import to_json

    for photo, answer in answers.items():
        if "error" in answer:
            print(f"{photo}: {answer['error']}", file=sys.stderr)
    if as_json:
        sys.stdout.buffer.write(to_json({**summary, "report": str(report)}))
        return
    console, grid = Console(), Table(box=None, show_header=False, pad_edge=False)
    for name, value in lines:
        grid.add_row(name, value)
    console.print(grid)
    console.print(f"report: {report}", soft_wrap=True)
