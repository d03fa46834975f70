"""What calculators have in common: the coefficients that the catalogue gives to their model."""

from __future__ import annotations

from typing import ClassVar

from embedding_calculator.imaging.align import Crop
from embedding_calculator.models.runtime import Model


class ModelCalculator:
    """A calculator whose embeddings are those of one model, seen through one crop.

    ``model.parameters``: ``similarity_coefficients``; ``difference_threshold``, absent where nobody has measured it.
    """

    slug: ClassVar[str] = "calculator"

    def __init__(self, model: Model, crop: Crop) -> None:
        self.crop: Crop | None = crop
        self._needed = crop
        self._model = model

    @property
    def similarity_coefficients(self) -> tuple[float, float]:
        """c0 and c1 for ``(tanh((c0 - d) * c1) + 1) / 2``, d the distance of two normalised embeddings."""
        c0, c1 = self._model.parameters["similarity_coefficients"]
        return float(c0), float(c1)

    @property
    def difference_threshold(self) -> float | None:
        """The squared distance of two embeddings, as they are, from which they are more likely of different people."""
        threshold = self._model.parameters.get("difference_threshold")
        return None if threshold is None else float(threshold)
