"""A predictable engine for the edges of HTTP: it finds the faces it is told to find. Networks are tested on photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.engine.choices import Choices
from embedding_calculator.imaging.align import Crop
from embedding_calculator.imaging.picture import Picture
from embedding_calculator.plugins.base import Detections, FaceBatch, FacePlugin, Fields
from embedding_calculator.plugins.registry import Configured
from embedding_calculator.results import Age, Mask, Pose


class FakeDetector:
    """Finds three faces of growing size at 0.95, 0.9 and 0.8; none in a picture that is all black."""

    default_threshold = 0.85

    def detect(self, picture: Picture, threshold: float) -> Detections:
        probabilities = np.array([0.95, 0.9, 0.8], np.float32)
        corners = np.array([[1, 1, 5, 5], [10, 10, 30, 30], [40, 40, 80, 80]], np.float32)
        keep = (probabilities > threshold) & bool(picture.raster(1).pixels.any())
        landmarks = np.repeat(corners[:, None, :2], 5, axis=1)
        return Detections(corners, probabilities, landmarks)[keep]


class FakeCalculator:
    slug = "calculator"
    crop: Crop | None = None
    similarity_coefficients = (1.1, 5.5)

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        return [{"embedding": box / 100} for box in faces.detections.boxes]


class NegativeCalculator(FakeCalculator):
    similarity_coefficients = (1.2, 6.0)

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        return [{"embedding": -box / 100} for box in faces.detections.boxes]


class FakeAge:
    slug = "age"
    crop: Crop | None = None

    def __init__(self) -> None:
        self.faces_seen: list[int] = []

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        self.faces_seen.append(len(faces))
        return [{"age": Age(20, 30, 0.5)}] * len(faces)


class FakePose:
    slug = "pose"
    needs_detection = True
    crop: Crop | None = None

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        return [{"pose": Pose(1.0, 2.0, 3.0)}] * len(faces)


class FakeMask:
    slug = "mask"
    needs_detection = True
    crop: Crop | None = None

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        return [{"mask": Mask("without_mask", 1.0)}] * len(faces)


class BrokenPlugin:
    slug = "broken"
    crop: Crop | None = None

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        raise ZeroDivisionError("it broke")


class SilentPlugin:
    """Answers for fewer faces than there are."""

    slug = "silent"
    crop: Crop | None = None

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        return [{}] * (len(faces) - 1)


class BrokenRefiner(FakeDetector):
    """Finds faces, and fails at its second look."""

    def refine(self, picture: Picture, detections: Detections) -> Floats:
        raise ZeroDivisionError("it broke")


def fake_choices(*plugins: FacePlugin) -> Choices:
    """An engine of fakes; by default with age, pose and mask."""
    extras = plugins or (FakeAge(), FakePose(), FakeMask())
    return Choices(
        [Configured("detector", "fake.FaceDetector", FakeDetector())],
        [
            Configured("calculator", "fake.Calculator@small", FakeCalculator()),
            Configured("calculator", "fake.Calculator@negative", NegativeCalculator()),
        ],
        [Configured(plugin.slug, f"fake.{type(plugin).__name__}", plugin) for plugin in extras],
    )
