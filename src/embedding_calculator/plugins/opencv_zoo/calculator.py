"""The default embedding: SFace, 128 numbers a face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedding_calculator.imaging.align import ARCFACE_112
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.plugins.embedding import ModelCalculator


class Calculator(ModelCalculator):
    """A face as a point on the unit sphere, near to other photos of the same person.

    Zhong, Deng, Hu, Zhao, Li, Wen: "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE
    Transactions on Image Processing 30 (2021), https://arxiv.org/abs/2205.12010; weights from OpenCV Zoo.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model, ARCFACE_112)

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``embedding``: ``(128,)`` float32 of length 1.

        Unit length, as the original's default gave it: whoever stores embeddings can compare them by a dot product,
        and the coefficients hold for them as they are.
        """
        crops = faces.crops[self._needed]
        (raw,) = self._model.network.run(self._model.input.tensor(crops)).values()
        embeddings = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        return [{"embedding": embedding} for embedding in embeddings]
