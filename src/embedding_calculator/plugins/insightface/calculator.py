"""ArcFace and its kin: an embedding from an aligned crop."""

from __future__ import annotations

from collections.abc import Sequence

from embedding_calculator.imaging.align import ARCFACE_112
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.plugins.embedding import ModelCalculator


class Calculator(ModelCalculator):
    """Embeddings as the network gives them, **not** normalised: so the original component stored them."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, ARCFACE_112)

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"embedding": (D,) float32}`` for each face."""
        (embeddings,) = self._model.network.run(self._model.input.tensor(faces.crops[self._needed])).values()
        return [{"embedding": embedding} for embedding in embeddings]
