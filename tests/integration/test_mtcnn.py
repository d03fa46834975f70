"""MTCNN finds what the original service recorded for its own sample photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.imaging.decode import Limits, open_picture
from embedding_calculator.imaging.picture import ArrayPicture, Picture
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import Detections
from embedding_calculator.plugins.facenet import FaceDetector

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def detector(load_model: Callable[[str], Model]) -> FaceDetector:
    return FaceDetector(load_model("facenet.FaceDetector"), max_side=640)


@pytest.fixture(scope="session")
def found(detector: FaceDetector, shared: Path) -> Mapping[str, tuple[Detections, list[dict[str, Any]]]]:
    """Photo -> what is found now, and what was recorded."""
    recorded = json.loads((shared / "data/recorded/facenet-detector.json").read_text())
    return {
        name: (
            detector.detect(photo(shared / "data/samples" / name), detector.default_threshold),
            answer.get("result", []),
        )
        for name, answer in recorded.items()
        if name.endswith(".jpg")
    }


def photo(path: Path) -> Picture:
    return open_picture(path.read_bytes(), limits=Limits(max_bytes=10**8, max_pixels=10**8))


def corners(face: Mapping[str, Any]) -> Floats:
    return np.array([face["box"][edge] for edge in ("x_min", "y_min", "x_max", "y_max")], np.float32)


def overlaps(boxes: Floats, box: Floats) -> Floats:
    """Intersection over union of each of ``(N, 4)`` boxes with one."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return np.asarray(common / (areas - common), np.float32)


def test_every_recorded_face_is_found_where_it_was(found: Mapping[str, tuple[Detections, list[Any]]]) -> None:
    best, distances, others = [], [], 0
    for name, (detections, faces) in found.items():
        others += len(detections) - len(faces)
        for face in faces:
            box = corners(face)
            overlap = overlaps(detections.boxes, box)
            nearest = int(overlap.argmax())
            assert overlap[nearest] > 0.8, (name, face)
            best.append(overlap[nearest])
            shift = np.trunc(detections.landmarks[nearest]) - face["landmarks"]
            distances.append(np.linalg.norm(shift, axis=1).max() / max(box[2:] - box[:2]))
            assert abs(detections.probabilities[nearest] - face["box"]["probability"]) < 0.001
    assert others == 0
    assert np.median(best) >= 0.99
    assert np.median(distances) <= 0.01


def test_boxes_are_whole_pixels_inside_the_picture(
    found: Mapping[str, tuple[Detections, list[Any]]], shared: Path
) -> None:
    for name, (detections, _) in found.items():
        picture = photo(shared / "data/samples" / name)
        np.testing.assert_array_equal(detections.boxes, np.trunc(detections.boxes))
        assert (detections.boxes >= 0).all()
        assert (detections.boxes <= [picture.width, picture.height] * 2).all()


def test_the_threshold_is_strict_and_the_last_network_has_the_first_word(detector: FaceDetector, shared: Path) -> None:
    picture = photo(shared / "data/samples/016_8.jpg")
    everyone = detector.detect(picture, 0.0)
    assert everyone.probabilities.min() > 0.55
    fewer = detector.detect(picture, float(everyone.probabilities.min()))
    assert len(fewer) == len(everyone) - 1
    assert len(detector.detect(picture, 1.0)) == 0


def test_a_face_at_the_edge_is_found(detector: FaceDetector, shared: Path) -> None:
    pixels = photo(shared / "data/samples/009_C.jpg").raster(1).pixels
    detections = detector.detect(ArrayPicture(np.ascontiguousarray(pixels[110:340, 90:280])), 0.85)
    assert len(detections) == 1
    assert detections.boxes[0].tolist()[:2] == [0, 0]


@pytest.mark.parametrize("size", [(1, 1), (19, 400), (3000, 1), (20, 20)])
def test_pictures_too_small_for_a_face_have_none(detector: FaceDetector, size: tuple[int, int]) -> None:
    detections = detector.detect(ArrayPicture(np.full((*size, 3), 128, np.uint8)), 0.85)
    assert detections.boxes.shape == (0, 4)
    assert detections.probabilities.shape == (0,)
    assert detections.landmarks.shape == (0, 5, 2)
    assert {array.dtype.name for array in (detections.boxes, detections.probabilities, detections.landmarks)} == {
        "float32"
    }


def test_a_picture_over_the_limit_is_found_in_as_if_shrunk(detector: FaceDetector, shared: Path) -> None:
    picture = photo(shared / "data/samples/002_A.jpg")
    small = np.asarray(cv2.resize(picture.raster(1).pixels, (479, 640), interpolation=cv2.INTER_AREA), np.uint8)
    large, shrunk = detector.detect(picture, 0.85), detector.detect(ArrayPicture(small), 0.85)
    np.testing.assert_allclose(large.boxes, shrunk.boxes * picture.height / 640, atol=2 * picture.height / 640)
    np.testing.assert_allclose(large.landmarks, shrunk.landmarks * picture.height / 640, atol=picture.height / 320)


def test_large_levels_in_strips_give_the_same_answer(
    detector: FaceDetector, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo(shared / "data/samples/016_8.jpg")
    whole = detector.detect(picture, 0.5)
    monkeypatch.setattr("embedding_calculator.plugins.facenet.detector._STRIP_PIXELS", 10_000)
    strips = detector.detect(picture, 0.5)
    np.testing.assert_array_equal(strips.boxes, whole.boxes)
    np.testing.assert_allclose(strips.probabilities, whole.probabilities, atol=1e-5)
