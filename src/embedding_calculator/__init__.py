"""Find every face in a picture: where it is, its embedding, and its attributes.

from embedding_calculator import FaceAnalyzer

analyzer = FaceAnalyzer()
for face in analyzer.find_faces("photo.jpg"):
    print(face.box, face.age, face.gender)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedding_calculator.errors import (
        ConfigurationError,
        EmbeddingCalculatorError,
        ImageTooLargeError,
        ImageUnreadableError,
        InputError,
        ModelError,
        PluginError,
    )
    from embedding_calculator.library import FaceAnalyzer
    from embedding_calculator.results import Age, Box, Face, Found, Gender, Mask, Pose

_HOMES = {
    "FaceAnalyzer": "library",
    **dict.fromkeys(("Age", "Box", "Face", "Found", "Gender", "Mask", "Pose"), "results"),
    **dict.fromkeys(
        (
            "ConfigurationError",
            "EmbeddingCalculatorError",
            "ImageTooLargeError",
            "ImageUnreadableError",
            "InputError",
            "ModelError",
            "PluginError",
        ),
        "errors",
    ),
}

__all__ = [
    "Age",
    "Box",
    "ConfigurationError",
    "EmbeddingCalculatorError",
    "Face",
    "FaceAnalyzer",
    "Found",
    "Gender",
    "ImageTooLargeError",
    "ImageUnreadableError",
    "InputError",
    "Mask",
    "ModelError",
    "PluginError",
    "Pose",
]


def __getattr__(name: str) -> Any:
    """Import on first use: the command's help must not wait for OpenCV and a runtime."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
