"""Age and gender by the networks published with dlib (public domain, CC0-1.0)."""

from __future__ import annotations

from embedding_calculator.plugins.dlib_zoo.age import AgeDetector
from embedding_calculator.plugins.dlib_zoo.gender import GenderDetector

__all__ = ["AgeDetector", "GenderDetector"]
