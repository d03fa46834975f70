"""Face detection by YuNet."""

from embedding_calculator.plugins.opencv_zoo.detector import FaceDetector

__all__ = ["FaceDetector"]
