"""``embedding-calculator models``: what models there are, where they come from, whether they are sound."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from embedding_calculator.models.catalog import Catalog, Entry
    from embedding_calculator.models.sources import Progress
    from embedding_calculator.models.store import Store
    from embedding_calculator.settings import Settings


app = typer.Typer(help="List, fetch and check models.", no_args_is_help=True)

_ENDLESS = 10_000
"""Columns."""

_Names = Annotated[list[str] | None, typer.Argument(help="MODEL, PLUGIN or PLUGIN@MODEL.", show_default=False)]


@app.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="For programs: a JSON list.")] = False) -> None:
    """Every model of the catalogue, its licence, and whether it is here."""
    _, catalog, store = open_store()
    _print_json(catalog, store) if as_json else _print_table(catalog, store)


@app.command()
def pull(
    names: _Names = None,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="Also models that forbid commercial use; you accept their terms."),
    ] = False,
    commercial_only: Annotated[
        bool, typer.Option("--commercial-only", help="Refuse models not cleared for commercial use.")
    ] = False,
) -> None:
    """Fetch models: those named, or without names those that the service is configured to use."""
    settings, catalog, store = open_store()
    _pull(
        store,
        [resolve(catalog, name) for name in names] if names else _configured(settings, catalog),
        settings.models_source,
        accept_licences=accept_licence or settings.accept_model_licences,
        commercial_only=commercial_only or settings.commercial_only,
    )


@app.command()
def verify(names: _Names = None) -> None:
    """Hash the files of the models named, or of all that are here; fails where one is damaged or missing."""
    _, catalog, store = open_store()
    if not _verify(store, [resolve(catalog, name) for name in names or []] or _here(catalog, store)):
        raise typer.Exit(1)


@app.command()
def path(name: Annotated[str, typer.Argument(help="MODEL, PLUGIN or PLUGIN@MODEL.")]) -> None:
    """Where the ONNX files of a model lie, one a line."""
    _, catalog, store = open_store()
    entry = resolve(catalog, name)
    for file in entry.files:
        typer.echo(store.path(entry, file))


def open_store() -> tuple[Settings, Catalog, Store]:
    """The settings, and what they name."""
    from embedding_calculator.models.catalog import Catalog
    from embedding_calculator.models.store import Store
    from embedding_calculator.settings import Settings

    settings = Settings()
    return settings, Catalog.load(settings.model_catalog), Store(settings.models_dir)


def _configured(settings: Settings, catalog: Catalog) -> list[Entry]:
    from embedding_calculator.engine.assembly import configured_entries

    return configured_entries(settings, catalog)


def resolve(catalog: Catalog, name: str) -> Entry:
    """The model that a MODEL, PLUGIN or PLUGIN@MODEL means."""
    plugin, at, model = name.partition("@")
    if at or any(name in entry.plugins for entry in catalog):
        return catalog.find(plugin, model or None)
    return catalog.entry(name)


def _here(catalog: Catalog, store: Store) -> list[Entry]:
    return [entry for entry in catalog if store.state(entry) != "missing"]


def _print_json(catalog: Catalog, store: Store) -> None:
    rows = [
        {
            "name": entry.name,
            "plugins": list(entry.plugins),
            "licence": entry.licence,
            "commercial": entry.commercial,
            "bytes": entry.bytes,
            "state": store.state(entry),
            "int8": store.int8_state(entry),
            "verified": entry.verified,
            "homepage": entry.homepage,
        }
        for entry in catalog
    ]
    typer.echo(json.dumps(rows, indent=2))


def _print_table(catalog: Catalog, store: Store) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    colours = {
        **{"yes": "green", "no": "red", "unknown": "yellow"},
        **{"present": "green", "damaged": "red", "stale": "red", "missing": "dim"},
    }
    console = Console()
    cropped = console.is_terminal
    if not cropped:  # A file or a pipe has no edge.
        console = Console(width=_ENDLESS)
    columns = {"model": 2 + max(len(entry.name) for entry in catalog), "here": 7, "commercial": 10, "size": 8}
    columns |= {"licence": 7, "verified": 12}
    gap = 2

    def spare() -> int:
        return console.width - sum(columns.values()) - gap * (len(columns) - 1)

    # Where the terminal is narrow the licence gives way, and before it the last column.
    if spare() < 0:
        del columns["verified"]
    if cropped:
        columns["licence"] += min(max(spare(), 0), 17)
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column, width in columns.items():
        most = width if cropped and column == "licence" else None
        table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=width, max_width=most)
    for plugins, entries in itertools.groupby(catalog, key=lambda entry: entry.plugins):
        for plugin in plugins:
            table.add_row(f"[bold cyan]{plugin}")
        for entry in entries:
            state = store.state(entry)
            table.add_row(
                f"  {entry.name}",
                f"[{colours[state]}]{state}",
                f"[{colours[entry.commercial]}]{entry.commercial}",
                decimal(entry.bytes) if entry.bytes else "?",
                entry.licence,
                *([entry.verified] if "verified" in columns else []),
            )
            if variant := store.int8_variant(entry):
                int8 = store.int8_state(entry)
                table.add_row("    in INT8", f"[{colours[int8]}]{int8}", "", decimal(variant.bytes))
    console.print(table)


def _pull(
    store: Store, entries: Sequence[Entry], folders: Sequence[Path], *, accept_licences: bool, commercial_only: bool
) -> None:
    from embedding_calculator.errors import ModelError
    from embedding_calculator.models.catalog import pull_command
    from embedding_calculator.models.sources import Sources

    # What a licence forbids is told before anything is fetched, of all models at once.
    missing = store.permitted(entries, accept_licences=accept_licences, commercial_only=commercial_only)
    failed = []
    with _progress_bars() as progress:
        sources = Sources(folders, progress)
        for entry in missing:
            try:
                store.pull([entry], sources, accept_licences=accept_licences, commercial_only=commercial_only)
            except ModelError as error:
                if len(missing) == 1:
                    raise
                failed.append(entry)
                typer.echo(f"error: {error}", err=True)
            else:
                _tell_fetched(store, entry)
    if failed:
        names = ", ".join(entry.name for entry in failed)
        raise ModelError(f"{len(failed)} of {len(missing)} are missing: {names}. Try again: {pull_command(failed)}")
    if not missing:
        typer.echo(f"All {len(entries)} models are here." if len(entries) > 1 else "The model is here.", err=True)


def _tell_fetched(store: Store, entry: Entry) -> None:
    typer.echo(f"{entry.name}: fetched ({entry.licence})", err=True)
    for manifest in store.manifests(entry).values():
        for part in manifest.parts:
            if part.pinned:
                typer.echo(
                    f"  {part.filename}: its publisher tells no hash; pinned to sha256 {part.sha256} as fetched",
                    err=True,
                )


@contextlib.contextmanager
def _progress_bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=sys.stderr)
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {}

        def show(filename: str, done: int, total: int | None, /) -> None:
            if filename not in tasks:
                tasks[filename] = bars.add_task(filename, total=None)
            bars.update(tasks[filename], completed=done, total=total)

        yield show


_REMEDIES = {
    **dict.fromkeys(("missing", "damaged"), "; fetch it: {}"),
    "different": "; the file is sound, but what runs it answers otherwise than when it was pulled",
}


def _verify(store: Store, entries: Sequence[Entry]) -> bool:
    sound = True
    for entry in entries:
        state = store.verify(entry)
        sound = sound and state == "verified"
        typer.echo(f"{entry.name}: {state}{_REMEDIES.get(state, '').format(entry.pull_command)}")
        int8 = store.int8_state(entry, thorough=True)
        if int8 != "missing":
            sound = sound and int8 == "verified"
            remedy = "" if int8 == "verified" else f"; make it anew: embedding-calculator models quantize {entry.name}"
            typer.echo(f"{entry.name} int8: {int8}{remedy}")
    return sound
