"""Masks on faces as FaceNet's detector cuts them."""

from __future__ import annotations

import cv2

from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins import facemask
from embedding_calculator.plugins.facenet.crop import FACE

__all__ = ["MaskDetector"]


class MaskDetector(facemask.MaskDetector):
    """Keras's Inception-v3, cut short and trained by the original's authors; sees the box at 100 pixels a side."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, FACE, cv2.INTER_CUBIC)
