"""The original's default embedding: FaceNet, 512 numbers a face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from embedding_calculator.imaging.align import Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.plugins.facenet.crop import FACE
from embedding_calculator.plugins.prewhitening import prewhitened


class Calculator:
    """A face as a point on the unit sphere, near to other photos of the same person.

    Schroff, Kalenichenko, Philbin: "FaceNet: A Unified Embedding for Face Recognition and Clustering", 2015
    (https://arxiv.org/abs/1503.03832), here an Inception-ResNet-v1 trained by David Sandberg
    (https://github.com/davidsandberg/facenet).

    The network knows faces as ``facenet.FaceDetector`` boxes them: upright, with a margin. The boxes of another
    detector are taken as they are; tighter ones cost accuracy, and give vectors that do not fit stored ones.

    The catalogue entry's parameters: ``similarity_coefficients`` and ``difference_threshold``.
    """

    slug: ClassVar[str] = "calculator"

    def __init__(self, model: Model) -> None:
        self.crop: Crop | None = FACE
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
        """``embedding``: ``(512,)`` float32; the network itself gives it length 1."""
        if not len(faces):
            return []
        (embeddings,) = self._model.network.run(prewhitened(faces.crops[FACE])).values()
        return [{"embedding": embedding} for embedding in embeddings]
