"""``embedding-calculator models quantize``: an INT8 variant of a model, made of photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedding_calculator.cli.models import open_store, resolve

if TYPE_CHECKING:
    from rich.table import Table

    from embedding_calculator.models.variants import Variant


_FEW = 60
"""Faces to calibrate on, below which the ranges may miss what other photos bring."""


def quantize(
    model: Annotated[
        str, typer.Argument(help="MODEL, PLUGIN or PLUGIN@MODEL; one that makes embeddings.", show_default=False)
    ],
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="Photos with faces, or folders of them: such as will be sent later.", exists=True, show_default=False
        ),
    ],
) -> None:
    """Make an INT8 variant of a model, for INFERENCE_PRECISION=int8, and tell how near its embeddings stay.

    Faces of two thirds of the photos set its ranges; on the others it is compared with float32. A hundred photos of
    different people are enough. Nothing of the photos is kept.

    Example: embedding-calculator models quantize opencv_zoo.Calculator portraits
    """
    import random

    from rich.console import Console

    from embedding_calculator.cli.shared import pictures_in, watched
    from embedding_calculator.engine.calibration import calculator_of, collect, keep_variant

    settings, catalog, store = open_store()
    entry = resolve(catalog, model)
    calculator = calculator_of(entry, catalog)
    store.path(entry)
    paths = list(pictures_in(photos))
    # In a folder sorted by person or by day, the first photos are not like the others.
    random.Random(0).shuffle(paths)
    faces = collect(calculator, settings, watched(paths, "finding faces", len(paths)))
    errors = Console(stderr=True)
    if (few := len(faces.calibration)) < _FEW:
        errors.print(f"only {few} faces to calibrate on: it is done, but a hundred are advised", style="yellow")
    with errors.status("quantising"):
        variant = keep_variant(entry, store, faces)
    Console().print(_table(entry.name, variant, store.manifests(entry)["network"].bytes))
    typer.echo(
        "INFERENCE_PRECISION=int8 uses it; with that set, embedding-calculator tune tells what it saves.", err=True
    )


def _table(name: str, variant: Variant, float32_bytes: int) -> Table:
    from rich.filesize import decimal
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for label, value in (
        ("INT8 variant of", name),
        ("size", f"{decimal(variant.bytes)}, in float32 {decimal(float32_bytes)}"),
        ("calibrated on", f"{variant.calibrated_on} faces"),
        ("compared on", f"{variant.compared_on} others"),
        ("cosine to float32, median", f"{variant.median_cosine:.4f}"),
        ("cosine to float32, worst", f"{variant.worst_cosine:.4f}"),
        ("kept in float32", ", ".join(variant.in_float)),
    ):
        table.add_row(label, value)
    return table
