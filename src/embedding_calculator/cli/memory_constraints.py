"""``embedding-calculator memory-constraints``: how little memory the service can do with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def memory_constraints(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(help="Photos, or folders of them; default: a drawn face.", exists=True, show_default=False),
    ] = None,
    limits: Annotated[
        str, typer.Option(envvar="MEM_LIMITS", help="Limits of memory, separated by commas or blanks.")
    ] = "512m,1g,2g,4g",
    lengths: Annotated[
        str, typer.Option(envvar="IMG_LENGTH_LIMITS", help="Values of IMG_LENGTH_LIMIT to try with each.")
    ] = "640",
    names: Annotated[
        str | None, typer.Option(envvar="IMG_NAMES", help="Only photos of these names, separated by commas or blanks.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: every trial, and the smallest limits.")
    ] = False,
) -> None:
    """Start the service under limits of memory and send it photos: OK or FAIL each, and the smallest limit that works.

    The service is the one that the environment configures. Where cgroup v2 lets this user limit memory, that is used;
    elsewhere the limit is on addresses, of which networks reserve far more than they use, and is only a rough bound.
    Exit status 1 if no limit works.

    Example: embedding-calculator memory-constraints holiday/ --limits 512m,1g --lengths 640,1280
    """
    from embedding_calculator.cli.shared import named, pictures_in
    from embedding_calculator.errors import ParameterError
    from embedding_calculator.evaluation.drawn_face import drawn_face
    from embedding_calculator.evaluation.memory import find_cgroup, read_size, shown, smallest, try_all
    from embedding_calculator.serialize import to_json

    sizes = sorted(read_size(each) for each in limits.replace(",", " ").split())
    try:
        sides = [int(each) for each in lengths.replace(",", " ").split()]
    except ValueError as error:
        raise ParameterError(f"--lengths is {lengths!r}; it is whole numbers such as 640,1280") from error
    if not sizes or not sides:
        raise ParameterError("there must be at least one limit and one length")
    files = list(named(pictures_in(photos or []), names))
    if photos and not files:
        raise ParameterError("no photos there")
    cgroup = find_cgroup()
    if cgroup is None:
        print(
            "warning: no cgroup v2 in which memory can be limited; addresses are limited instead (RLIMIT_AS), of which "
            "more are reserved than used: the true need is smaller",
            file=sys.stderr,
        )

    trials = []
    contents = {file.name: file.read_bytes() for file in files} or {"a drawn face": drawn_face()}
    for trial in try_all(contents, sizes, sides, cgroup):
        trials.append(trial)
        if not as_json:
            print(trial.line, flush=True)
    found = smallest(trials)
    if as_json:
        told = {str(length): limit for length, limit in found.items()}
        by = "cgroup" if cgroup else "addresses"
        sys.stdout.buffer.write(to_json({"limited_by": by, "trials": trials, "smallest_bytes": told}))
    else:
        print()
        for length, limit in found.items():
            print(f"IMG_LENGTH_LIMIT={length}: {'no limit works' if limit is None else f'{shown(limit)} is enough'}")
    if None in found.values():
        raise typer.Exit(1)
