"""The command: one module a subcommand, each importing what it needs only when it runs, so that help is quick."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from embedding_calculator.cli import (
    benchmark,
    benchmark_detection,
    evaluate,
    memory_constraints,
    models,
    optimize_detection,
    quantize,
    scan,
    serve,
    tune,
)
from embedding_calculator.errors import EmbeddingCalculatorError

app = typer.Typer(
    name="embedding-calculator",
    help="Find every face in a picture: where it is, its embedding, and its attributes.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # Lines of a paragraph are joined.
    pretty_exceptions_enable=False,
)
app.command()(serve.serve)
app.command()(scan.scan)
app.command()(benchmark.benchmark)
app.command()(benchmark_detection.benchmark_detection)
app.command()(optimize_detection.optimize_detection)
app.command()(memory_constraints.memory_constraints)
app.command()(tune.tune)
app.add_typer(evaluate.app, name="evaluate")
models.app.command()(quantize.quantize)
app.add_typer(models.app, name="models")


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"embedding-calculator {version('embedding-calculator')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Tell the version.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; an error of ours or of the system's is a sentence and exit status 1, not a traceback."""
    try:
        app()
    except EmbeddingCalculatorError as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"{error.filename or 'the system'}: {error.strerror or error}")


def _give_up(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(1)
