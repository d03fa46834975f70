"""``embedding-calculator tune``: which engine runs each model fastest on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table

    from embedding_calculator.arrays import Floats
    from embedding_calculator.models.catalog import Entry
    from embedding_calculator.models.runtime import Plan, Runtime
    from embedding_calculator.models.store import Manifest, Store


def tune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure and print, but keep nothing.")] = False,
    batches: Annotated[
        bool,
        typer.Option(
            "--batches",
            help="Instead: how many inputs a second each network computes in batches of 1 to 64, where the settings "
            "have it run; on a GPU too.",
        ),
    ] = False,
) -> None:
    """Measure engines, precisions and threads for the configured models, and keep the fastest for later starts.

    The choice is kept in MODELS_DIR/tuning.json; it holds for this processor and these versions of the engines. Takes
    about half a minute for the default models, best while the machine is idle. INT8 variants are measured with
    INFERENCE_PRECISION=int8.

    Example: embedding-calculator tune
    """
    from rich.console import Console

    from embedding_calculator.cli.shared import watched
    from embedding_calculator.engine.assembly import configured_entries, require_models, runtime_of
    from embedding_calculator.errors import ConfigurationError, ModelError
    from embedding_calculator.models.catalog import Catalog
    from embedding_calculator.models.runtime.tuning import measure, tuning_file, write_tuning
    from embedding_calculator.models.store import Store
    from embedding_calculator.settings import Settings, granted_cpus

    settings = Settings()
    require_models(settings)
    runtime, store = runtime_of(settings), Store(settings.models_dir)
    files = [
        (entry, file, manifest)
        for entry in configured_entries(settings, Catalog.load(settings.model_catalog))
        for file, manifest in store.manifests(entry).items()
    ]
    console = Console()
    measuring = watched(files, "measuring", len(files), console)
    if batches:
        _show_batches(runtime, store, measuring, console)
        return
    if runtime.wishes.on_gpu:
        raise ConfigurationError(
            "GPU_IDX asks for a GPU, where there is no engine to choose: unset it to tune, or give --batches"
        )
    callers = runtime.wishes.callers
    threads = tuple(sorted({1, max(1, granted_cpus() // callers)}))
    chosen = {}
    for entry, file, manifest in measuring:
        traits, batch = entry.files[file].runtime, _batch(entry, manifest)
        path, int8 = store.path(entry, file), store.int8_path(entry)
        plans = runtime.candidates(traits, threads, int8=int8 is not None)
        rates = measure(runtime, {plan: int8 if int8 and plan.precision == "int8" else path for plan in plans}, batch)
        current = runtime.plan(traits, manifest.sha256, int8=int8 is not None)
        chosen[manifest.sha256] = max(rates, key=lambda plan: rates[plan])
        _head(console, entry, file, batch.shape)
        console.print(_table(rates, current, callers))
    if not dry_run:
        try:
            write_tuning(tuning_file(settings.models_dir), chosen)
        except OSError as error:
            raise ModelError(f"the choice could not be kept in MODELS_DIR: {error}") from error


def _show_batches(
    runtime: Runtime, store: Store, files: Iterable[tuple[Entry, str, Manifest]], console: Console
) -> None:
    from rich.table import Table

    from embedding_calculator.models.runtime.tuning import BATCHES, rates_by_batch

    console.print("inputs a second, in batches of", style="bold")
    for entry, file, manifest in files:
        picture = _batch(entry, manifest)[:1]
        network = runtime.open_as(store.path(entry, file), runtime.plan(entry.files[file].runtime, manifest.sha256))
        rates = rates_by_batch(network, picture, BATCHES if manifest.probed[0] > 1 else (1,))
        _head(console, entry, file, picture.shape[1:], network.running.device)
        table = Table(box=None)
        for size in rates:
            table.add_column(str(size), justify="right")
        table.add_row(*(f"{rate:.0f}" for rate in rates.values()))
        console.print(table)


def _head(console: Console, entry: Entry, file: str, shape: Sequence[int], *more: str) -> None:
    from embedding_calculator.models.store import NETWORK_KEY

    network = entry.name if file == NETWORK_KEY else f"{entry.name} {file}"
    told = ", ".join((network, "x".join(map(str, shape)), *more))
    console.print(told, style="bold cyan", highlight=False)


def _batch(entry: Entry, manifest: Manifest) -> Floats:
    """An input as the service gives it: one picture of usual size, or the faces of a group."""
    import numpy as np

    (shape,) = manifest.inputs.values()
    width, height = entry.input.size or (640, 448)
    rows, columns = (
        fixed if isinstance(fixed, int) else free for fixed, free in zip(shape[2:], (height, width), strict=True)
    )
    count = shape[0] if isinstance(shape[0], int) else 1 if max(rows, columns) > 64 else 8
    pixels = np.random.default_rng(0).integers(0, 256, (count, rows, columns, 3), np.uint8)
    return entry.input.tensor(pixels)


def _table(rates: Mapping[Plan, float], current: Plan, callers: int) -> Table:
    from rich.table import Table

    from embedding_calculator.cli.shared import counted

    table = Table("engine", "precision", "threads", f"runs/s of {counted(callers, 'caller')}", "", box=None)
    best = max(rates, key=lambda plan: rates[plan])
    for plan, rate in sorted(rates.items(), key=lambda item: -item[1]):
        notes = ["fastest"] * (plan == best) + ["in use"] * (plan == current)
        cells = (plan.engine, plan.precision, str(plan.threads), f"{rate:.1f}", ", ".join(notes))
        table.add_row(*cells, style="green" if plan == best else "")
    return table
