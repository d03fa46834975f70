"""``embedding-calculator benchmark``: how much a running service can bear."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def benchmark(
    endpoint: Annotated[
        str, typer.Argument(help="URL of /find_faces, /scan_faces or /find_faces_base64; a bare one means /find_faces.")
    ] = "http://localhost:3000/find_faces",
    photos: Annotated[
        list[Path] | None,
        typer.Option(help="Photo, or folder of photos, repeatable; default: a drawn face.", exists=True),
    ] = None,
    concurrency: Annotated[
        str, typer.Option("--concurrency", "-c", help="Requests at once: one number or several.")
    ] = "1",
    duration: Annotated[float, typer.Option("--duration", "-t", min=0.1, help="Seconds for each of these.")] = 10,
    plugins: Annotated[
        str | None,
        typer.Option(help="face_plugins to ask for, separated by commas; default: what the service chooses."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for a report with a histogram.", file_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the numbers as JSON.")] = False,
) -> None:
    """Load a service that speaks the contract: answer times, throughput, errors; processors and memory if it is here.

    Only load what is yours: this asks as fast as it gets answers. Exit status 1 if a request failed.

    Example: embedding-calculator benchmark http://localhost:3000 -c 1,2,4,8 -t 20 --photos holiday/ -o load/
    """
    from rich.console import Console
    from rich.table import Table

    from embedding_calculator.cli.shared import pictures_in, watched
    from embedding_calculator.errors import ParameterError
    from embedding_calculator.evaluation.drawn_face import drawn_face
    from embedding_calculator.evaluation.extras import require_reports
    from embedding_calculator.evaluation.load import bodies, check, press, table, write_report
    from embedding_calculator.evaluation.usage import server_of, watch
    from embedding_calculator.serialize import to_json

    if output:
        require_reports()
    try:
        steps = [int(each) for each in concurrency.replace(",", " ").split()]
    except ValueError:
        steps = []
    if not steps or min(steps) < 1:
        raise ParameterError(f"--concurrency is {concurrency!r}; it is one whole number or several, such as 1,2,4")
    if "/" not in endpoint.removeprefix("http://").removeprefix("https://").rstrip("/"):
        endpoint = endpoint.rstrip("/") + "/find_faces"

    files = list(pictures_in(photos or []))
    requests = bodies(endpoint, [file.read_bytes() for file in files] or [drawn_face()], plugins)
    check(endpoint, requests)
    server = server_of(endpoint)
    loads = [
        press(endpoint, requests, each, duration, watch(server))
        for each in watched(steps, f"{duration:g} s each", len(steps))
    ]
    asked = [("endpoint", endpoint), ("photos", str(len(files)) if files else "a drawn face")]
    asked += [("plugins", plugins)] if plugins is not None else []
    report = write_report(loads, output, asked) if output else None
    if as_json:
        numbers = {"endpoint": endpoint, "loads": [load.summary() for load in loads], "report": report and str(report)}
        sys.stdout.buffer.write(to_json(numbers))
    else:
        told = table(loads)
        grid = Table(box=None, header_style="bold", pad_edge=False)
        for name in told.header:
            grid.add_column(name, justify="right")
        for cells in told.rows:
            grid.add_row(*cells)
        console = Console()
        console.print(grid)
        for load in loads:
            for error, count in load.errors.items():
                console.print(f"{load.concurrency} at once: {count} x {error}", style="red")
        if report:
            console.print(f"report: {report}", soft_wrap=True)
    if any(load.errors for load in loads):
        raise typer.Exit(1)
