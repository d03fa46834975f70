"""Pictures of what a detector got wrong: green boxes, red ones that are no face, red crosses on missed noses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from PIL import Image

from embedding_calculator.arrays import Floats
from embedding_calculator.evaluation.detection import Mistakes
from embedding_calculator.imaging.draw import WRONG, Mark, annotate
from embedding_calculator.imaging.picture import Picture


def draw_mistakes(
    picture: Picture, marks: Sequence[Mark], noses: Floats, wrong: Mistakes, longest_side: int = 1200
) -> Image.Image:
    """The picture with a mark for every found box, in the order of ``wrong.false``'s rows.

    ``noses``: ``(N, 2)``, where the annotated faces are; those missed get a cross.

    Raises:
        ImageUnreadableError: the picture's encoded data turns out to be broken.
    """
    false = set(wrong.false.tolist())
    judged = [
        dataclasses.replace(mark, colour=WRONG, label="Error", landmarks=None) if number in false else mark
        for number, mark in enumerate(marks)
    ]
    crosses = [(float(x), float(y)) for x, y in noses[wrong.missed]]
    return annotate(picture, judged, crosses=crosses, longest_side=longest_side)
