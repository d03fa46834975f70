"""``embedding-calculator fit-similarity``: the coefficients that turn a calculator's distances into probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from embedding_calculator.arrays import Floats
    from embedding_calculator.library import FaceAnalyzer


def fit_similarity(
    pairs: Annotated[
        Path,
        typer.Option(
            help="CSV file with the columns image_a, image_b, and same: 1 for two photos of one person, else 0.",
            exists=True,
            dir_okay=False,
        ),
    ],
    images: Annotated[Path, typer.Option(help="Folder that the file's names are in.", exists=True, file_okay=False)],
) -> None:
    """Fit similarity coefficients to labelled pairs, for the catalogue entry of a calculator.

    The configured detector and calculator are used. Of several faces in a photo the one nearest to its middle counts;
    pairs with a photo that shows none are left out. Each half of the labels weighs as much as the other.

    Example: embedding-calculator fit-similarity --pairs lfw/pairs.csv --images lfw/images
    """
    import csv

    import numpy as np
    from rich.console import Console
    from rich.progress import track

    from embedding_calculator.errors import ParameterError
    from embedding_calculator.evaluation.similarity import cross_validate, fit
    from embedding_calculator.library import FaceAnalyzer

    with pairs.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"image_a", "image_b", "same"} <= rows[0].keys():
        raise ParameterError(f"{pairs} needs the columns image_a, image_b and same, and at least one row")

    analyzer = FaceAnalyzer()
    names = sorted({row[column] for row in rows for column in ("image_a", "image_b")})
    progress = track(names, "embedding", console=Console(stderr=True), transient=True)
    embeddings = {name: embedding_of_portrait(analyzer, images / name) for name in progress}

    distances, same = [], []
    for row in rows:
        first, second = embeddings[row["image_a"]], embeddings[row["image_b"]]
        if first is not None and second is not None:
            distances.append(float(np.linalg.norm(first - second)))
            same.append(row["same"] == "1")
    try:
        coefficients = fit(np.array(distances), np.array(same, bool))
        report = cross_validate(np.array(distances), np.array(same, bool))
    except ValueError as error:
        raise ParameterError(f"{pairs}: {error}") from error

    print(f"# {len(same)} pairs, {len(rows) - len(same)} left out because a photo shows no face")
    print(f"# ten-fold: accuracy {report.accuracy:.2%}, Brier score {report.brier:.4f}, ", end="")
    print(f"calibration error {report.calibration_error:.4f}")
    print(f"similarity_coefficients = [{coefficients.c0:.4g}, {coefficients.c1:.3g}]")
    print(f"difference_threshold = {coefficients.difference_threshold:.4g}")


def embedding_of_portrait(analyzer: FaceAnalyzer, photo: Path) -> Floats | None:
    """The embedding, of unit length, of the face nearest to the photo's middle; None where there is no face.

    Raises:
        ImageUnreadableError, ImageTooLargeError: the photo cannot be used.
        OSError: the file cannot be read.
    """
    import numpy as np

    from embedding_calculator.imaging.decode import Limits, open_picture

    data = photo.read_bytes()
    faces = analyzer.find_faces(data, plugins=("calculator",))
    if not faces:
        return None
    picture = open_picture(data, limits=Limits(len(data), 2**31))
    middle = picture.width, picture.height

    def distance(number: int) -> float:
        box = faces[number].box
        return float(np.hypot(box.x_min + box.x_max - middle[0], box.y_min + box.y_max - middle[1]))

    embedding = faces[min(range(len(faces)), key=distance)].embedding
    assert embedding is not None
    unit: Floats = embedding / np.linalg.norm(embedding)
    return unit
