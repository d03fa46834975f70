"""ArcFace and its kin: an embedding from an aligned crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from embedding_calculator.imaging.align import ARCFACE_112, Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields


class Calculator:
    """Embeddings as the network gives them, **not** normalised: so the original component stored them.

    The catalogue entry's parameters: ``similarity_coefficients``; ``difference_threshold``, the squared Euclidean
    distance of two embeddings, as they are, from which they are more likely of different people; absent where nobody
    has measured it.
    """

    slug: ClassVar[str] = "calculator"

    def __init__(self, model: Model) -> None:
        self.crop: Crop | None = ARCFACE_112
        self._model = model

    @property
    def similarity_coefficients(self) -> tuple[float, float]:
        """c0 and c1 for ``(tanh((c0 - d) * c1) + 1) / 2``, d the distance of two normalised embeddings."""
        c0, c1 = self._model.parameters["similarity_coefficients"]
        return float(c0), float(c1)

    @property
    def difference_threshold(self) -> float | None:
        """The squared Euclidean distance of two embeddings from which they are more likely of different people."""
        threshold = self._model.parameters.get("difference_threshold")
        return None if threshold is None else float(threshold)

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"embedding": (D,) float32}`` for each face."""
        if len(faces) == 0:
            return []
        (embeddings,) = self._model.network.run(self._model.input.tensor(faces.crops[ARCFACE_112])).values()
        return [{"embedding": embedding} for embedding in embeddings]
