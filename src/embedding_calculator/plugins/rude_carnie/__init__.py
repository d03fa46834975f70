"""Age and gender by the networks of rude-carnie, the original's own; ``agegender`` is their later name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from embedding_calculator.arrays import Floats
from embedding_calculator.imaging.align import Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.plugins.facenet.crop import FACE
from embedding_calculator.plugins.prewhitening import prewhitened
from embedding_calculator.results import Age, Gender

__all__ = ["AgeDetector", "GenderDetector"]


class _Classifier:
    """Inception-v3, fine-tuned on faces of the Adience set (https://github.com/dpressel/rude-carnie).

    Faces are cut as the original's default detector did: 160 pixels a side, where the networks learned with 227.
    """

    def __init__(self, model: Model) -> None:
        self.crop: Crop | None = FACE
        self._model = model

    def _probabilities(self, faces: FaceBatch) -> Floats:
        return self._model.network.run(prewhitened(faces.crops[FACE]))["probabilities"]


class AgeDetector(_Classifier):
    """Age as the likeliest of a few ranges of years.

    ``model.parameters``: ``ranges``, the network's classes in order, first and last year each.
    """

    slug: ClassVar[str] = "age"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._ranges = [(int(low), int(high)) for low, high in model.parameters["ranges"]]

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"age": Age}`` a face, from one run of the network; ``probability`` is that of the range."""
        rows = self._probabilities(faces)
        likeliest = [self._ranges[best] for best in rows.argmax(axis=1)]
        return [{"age": Age(low, high, float(row.max()))} for (low, high), row in zip(likeliest, rows, strict=True)]


class GenderDetector(_Classifier):
    """Gender as the likelier of two.

    ``model.parameters``: ``labels``, the network's classes in order.
    """

    slug: ClassVar[str] = "gender"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._labels = tuple(model.parameters["labels"])

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"gender": Gender}`` a face, from one run of the network."""
        rows = self._probabilities(faces)
        return [{"gender": Gender(self._labels[row.argmax()], float(row.max()))} for row in rows]
