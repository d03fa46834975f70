"""The default set: faces by YuNet, embeddings by SFace, and what the five points tell."""

from embedding_calculator.plugins.landmarks import LandmarksDetector
from embedding_calculator.plugins.opencv_zoo.calculator import Calculator
from embedding_calculator.plugins.opencv_zoo.detector import FaceDetector
from embedding_calculator.plugins.pose import PoseEstimator

__all__ = ["Calculator", "FaceDetector", "LandmarksDetector", "PoseEstimator"]
