"""What the original component built on FaceNet's world: its detector, and what follows from five points."""

from embedding_calculator.plugins.facenet.detector import FaceDetector

__all__ = ["FaceDetector"]
