"""Options that several commands have, with the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Overlap = Annotated[
    float, typer.Option(min=0, max=1, help="Intersection over union from which a box is the annotated face.")
]
MinWidth = Annotated[float, typer.Option(min=0, help="Annotated faces narrower than this, in pixels, count nowhere.")]
PhotosFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of the photos, where the layout does not tell.", exists=True, file_okay=False),
]
