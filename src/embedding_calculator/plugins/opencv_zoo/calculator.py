"""The default embedding: SFace, 128 numbers a face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from embedding_calculator.imaging.align import ARCFACE_112, Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields


class Calculator:
    """A face as a point on the unit sphere, near to other photos of the same person.

    Zhong, Deng, Hu, Zhao, Li, Wen: "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE
    Transactions on Image Processing 30 (2021), https://arxiv.org/abs/2205.12010; weights from OpenCV Zoo.

    The catalogue entry's parameters: ``similarity_coefficients`` and ``difference_threshold``.
    """

    slug: ClassVar[str] = "calculator"

    def __init__(self, model: Model) -> None:
        self.crop: Crop | None = ARCFACE_112
        self._model = model

    @property
    def similarity_coefficients(self) -> tuple[float, float]:
        """c0 and c1 for ``(tanh((c0 - d) * c1) + 1) / 2``, d the Euclidean distance of two embeddings."""
        c0, c1 = self._model.parameters["similarity_coefficients"]
        return float(c0), float(c1)

    @property
    def difference_threshold(self) -> float:
        """The squared Euclidean distance of two embeddings from which they are more likely of different people."""
        return float(self._model.parameters["difference_threshold"])

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``embedding``: ``(128,)`` float32 of length 1.

        Unit length, as the original's default gave it: whoever stores embeddings can compare them by a dot product,
        and the coefficients hold for them as they are.
        """
        if len(faces) == 0:
            return []
        crops = faces.crops[ARCFACE_112]
        (raw,) = self._model.network.run(self._model.input.tensor(crops)).values()
        embeddings = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        return [{"embedding": embedding} for embedding in embeddings]
