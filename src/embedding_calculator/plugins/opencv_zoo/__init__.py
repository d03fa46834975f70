"""Face detection by YuNet, embeddings by SFace, and what follows from five points."""

from embedding_calculator.plugins.landmarks import LandmarksDetector
from embedding_calculator.plugins.opencv_zoo.calculator import Calculator
from embedding_calculator.plugins.opencv_zoo.detector import FaceDetector
from embedding_calculator.plugins.pose import PoseEstimator

__all__ = ["Calculator", "FaceDetector", "LandmarksDetector", "PoseEstimator"]
