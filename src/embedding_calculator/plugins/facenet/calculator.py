"""The original's default embedding: FaceNet, 512 numbers a face."""

from __future__ import annotations

from collections.abc import Sequence

from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.plugins.embedding import ModelCalculator
from embedding_calculator.plugins.facenet.crop import FACE
from embedding_calculator.plugins.prewhitening import prewhitened


class Calculator(ModelCalculator):
    """A face as a point on the unit sphere, near to other photos of the same person.

    Schroff, Kalenichenko, Philbin: "FaceNet: A Unified Embedding for Face Recognition and Clustering", 2015
    (https://arxiv.org/abs/1503.03832), here an Inception-ResNet-v1 trained by David Sandberg
    (https://github.com/davidsandberg/facenet).

    The network knows faces as ``facenet.FaceDetector`` boxes them: upright, with a margin. The boxes of another
    detector are taken as they are; tighter ones cost accuracy, and give vectors that do not fit stored ones.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model, FACE)

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``embedding``: ``(512,)`` float32; the network itself gives it length 1."""
        (embeddings,) = self._model.network.run(prewhitened(faces.crops[self._needed])).values()
        return [{"embedding": embedding} for embedding in embeddings]
