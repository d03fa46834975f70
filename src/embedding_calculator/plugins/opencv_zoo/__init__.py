"""Face detection by YuNet and embeddings by SFace."""

from embedding_calculator.plugins.opencv_zoo.calculator import Calculator
from embedding_calculator.plugins.opencv_zoo.detector import FaceDetector

__all__ = ["Calculator", "FaceDetector"]
