"""InsightFace's models: those of the original component, and today's packs."""

from embedding_calculator.plugins.insightface.calculator import Calculator
from embedding_calculator.plugins.insightface.detector import FaceDetector
from embedding_calculator.plugins.insightface.gender_age import AgeDetector, GenderAgeDetector, GenderDetector
from embedding_calculator.plugins.insightface.landmarks106 import Landmarks2d106Detector
from embedding_calculator.plugins.landmarks import LandmarksDetector
from embedding_calculator.plugins.pose import PoseEstimator

__all__ = [
    "AgeDetector",
    "Calculator",
    "FaceDetector",
    "GenderAgeDetector",
    "GenderDetector",
    "Landmarks2d106Detector",
    "LandmarksDetector",
    "PoseEstimator",
]
