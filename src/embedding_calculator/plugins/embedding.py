"""What calculators have in common: the coefficients that the catalogue gives to their model, and what they mean."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.imaging.align import Crop
from embedding_calculator.models.runtime import Model


def similarity(distances: NDArray[np.float64], coefficients: tuple[float, float]) -> NDArray[np.float64]:
    """How alike two faces are, 0..1, same shape as ``distances``, which are those of embeddings of unit length.

    ``coefficients`` are those of ``base.Calculator``.
    """
    c0, c1 = coefficients
    return (np.tanh((c0 - distances) * c1) + 1) / 2


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
        """c0 and c1, as the catalogue has them."""
        c0, c1 = self._model.parameters["similarity_coefficients"]
        return float(c0), float(c1)

    @property
    def difference_threshold(self) -> float | None:
        """The squared distance of two embeddings, as they are, from which they are more likely of different people."""
        threshold = self._model.parameters.get("difference_threshold")
        return None if threshold is None else float(threshold)
