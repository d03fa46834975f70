"""Masks on faces as InsightFace aligns them."""

from __future__ import annotations

import cv2

from embedding_calculator.imaging.align import ARCFACE_112
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins import facemask

__all__ = ["MaskDetector"]


class MaskDetector(facemask.MaskDetector):
    """MobileNetV2 or ResNet-18, trained by the original's authors; sees the aligned face at twice its size."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, ARCFACE_112, cv2.INTER_LINEAR)
