"""What the original component built on FaceNet's world: detector, calculator, and what follows from five points."""

from embedding_calculator.plugins.facenet.calculator import Calculator
from embedding_calculator.plugins.facenet.detector import FaceDetector
from embedding_calculator.plugins.landmarks import LandmarksDetector
from embedding_calculator.plugins.pose import PoseEstimator

__all__ = ["Calculator", "FaceDetector", "LandmarksDetector", "PoseEstimator"]
