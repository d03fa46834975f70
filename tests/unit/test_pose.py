"""Pose from five points: the original's conventions kept, its camera mended."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from embedding_calculator.plugins.base import Detections, FaceBatch
from embedding_calculator.plugins.landmarks import LandmarksDetector
from embedding_calculator.plugins.pose import _HEAD, PoseEstimator, _angles, _with_chin
from embedding_calculator.results import Pose

# A face that is its own mirror image, from the original's documentation of the defect.
SYMMETRIC = np.array([(270, 200), (330, 200), (300, 235), (277, 270), (323, 270)], np.float32)
MIRRORED_ORDER = [1, 0, 2, 4, 3]


def batch(landmarks: np.ndarray, width: int, height: int) -> FaceBatch:
    count = len(landmarks)
    detections = Detections(
        np.zeros((count, 4), np.float32), np.ones(count, np.float32), landmarks.astype(np.float32).reshape(-1, 5, 2)
    )
    return FaceBatch(width, height, detections, {})


def pose(landmarks: np.ndarray, width: int = 600, height: int = 480) -> Pose:
    (fields,) = PoseEstimator()(batch(landmarks[None], width, height))
    answer = fields["pose"]
    assert isinstance(answer, Pose)
    return answer


def recorded_faces(shared: Path) -> list[tuple[np.ndarray, int, int, tuple[float, float, float]]]:
    """Landmarks, width and height of the photo, and the original's pitch, yaw, roll."""
    faces = []
    for name in ("facenet-detector", "insightface-mobilenet"):
        answers = json.loads((shared / "data/recorded" / f"{name}.json").read_text())
        for photo, answer in answers.items():
            for face in answer.get("result", []):
                with Image.open(shared / "data/samples" / photo) as image:
                    width, height = image.size
                told = face["pose"]
                faces.append((np.array(face["landmarks"]), width, height, (told["pitch"], told["yaw"], told["roll"])))
    return faces


def test_head_and_angles_are_the_originals(shared: Path) -> None:
    """With the original's camera, solver and whole-pixel chin, our parts give every pose it gave."""
    faces = recorded_faces(shared)
    assert len(faces) > 80
    for landmarks, width, height, told in faces:
        points = _with_chin(landmarks.astype(np.float64))
        eyes, mouth = landmarks[:2].sum(axis=0) // 2, landmarks[3:].sum(axis=0) // 2
        points[5] = mouth + (mouth - eyes) // 2
        camera = np.array([[width, 1, height / 2], [0, width, width / 2], [0, 0, 1]])
        _, turn, place = cv2.solvePnP(_HEAD, points, camera, np.zeros(4))
        assert place[2, 0] < 0, "the original's heads are behind its camera"
        angles = _angles(cv2.Rodrigues(turn)[0])
        assert (angles.pitch, angles.yaw, angles.roll) == pytest.approx(told, abs=0.02)


def test_mended_pose_agrees_in_sign_and_order(shared: Path) -> None:
    faces = recorded_faces(shared)
    poses = [pose(landmarks, width, height) for landmarks, width, height, _ in faces]
    told = np.array([face[3] for face in faces])
    assert np.corrcoef([p.yaw for p in poses], told[:, 1])[0, 1] > 0.65
    assert np.corrcoef([p.roll for p in poses], told[:, 2])[0, 1] > 0.85
    assert np.corrcoef([p.pitch for p in poses], told[:, 0])[0, 1] > 0.5


@pytest.mark.parametrize(("width", "height"), [(600, 480), (480, 600), (600, 600), (4000, 700), (400, 3000)])
def test_symmetric_face_looks_straight_whatever_the_pictures_shape(width: int, height: int) -> None:
    answer = pose(SYMMETRIC, width, height)
    assert answer.yaw == pytest.approx(0, abs=0.01)
    assert answer.roll == pytest.approx(0, abs=0.01)
    assert abs(answer.pitch) < 10


def test_place_in_the_picture_does_not_matter(shared: Path) -> None:
    for landmarks, width, height, _ in recorded_faces(shared):
        here, there = pose(landmarks, width, height), pose(landmarks + np.array([-40, 25]), width, height - 40)
        assert (here.pitch, here.yaw, here.roll) == pytest.approx((there.pitch, there.yaw, there.roll), abs=0.05)


def test_mirrored_face_turns_the_other_way(shared: Path) -> None:
    for landmarks, width, height, _ in recorded_faces(shared):
        mirrored = landmarks[MIRRORED_ORDER] * [-1, 1] + [width, 0]
        one, other = pose(landmarks, width, height), pose(mirrored, width, height)
        assert (one.pitch, one.yaw, one.roll) == pytest.approx((other.pitch, -other.yaw, -other.roll), abs=0.05)


def test_leaning_clockwise_is_negative_roll() -> None:
    turn = np.deg2rad(20)
    leaning = (SYMMETRIC - 300) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + 300
    assert pose(leaning).roll == pytest.approx(-20, abs=0.5)


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_yaw_of_a_head_turned_by_hand(degrees: int) -> None:
    """The model itself, turned, seen from 150 units away: negative when the nose goes to the right."""
    turn = -np.deg2rad(degrees)
    x, y, z = _HEAD[:5].T
    x, z = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
    landmarks = np.stack([300 + 600 * x / (150 - z), 240 - 600 * y / (150 - z)], axis=1)
    assert pose(landmarks).yaw == pytest.approx(degrees, abs=5)


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((5, 2)),
        np.full((5, 2), 50.0),
        np.arange(10.0).reshape(5, 2) * 20,
        np.stack([np.arange(5) * 30, np.full(5, 3)], axis=1),
        np.full((5, 2), np.nan),
        np.full((5, 2), np.inf),
    ],
    ids=["origin", "one place", "diagonal", "level", "nan", "infinite"],
)
def test_points_without_a_pose_get_none(landmarks: np.ndarray) -> None:
    assert PoseEstimator()(batch(landmarks[None], 600, 480)) == [{}]


def test_odd_points_do_not_raise() -> None:
    odd = [SYMMETRIC[::-1], SYMMETRIC * 1e6, -SYMMETRIC, SYMMETRIC[[0, 0, 2, 3, 3]], SYMMETRIC[[4, 2, 0, 1, 3]]]
    assert len(PoseEstimator()(batch(np.array(odd), 1, 1))) == len(odd)


def test_landmarks_are_the_detectors_without_fractions() -> None:
    (fields,) = LandmarksDetector()(batch(SYMMETRIC[None] + [0.9, -300.9], 600, 480))
    assert fields["landmarks"] == ((270, -100), (330, -100), (300, -65), (277, -30), (323, -30))


def test_points_nobody_looked_for_are_empty() -> None:
    unknown = batch(np.full((1, 5, 2), np.nan), 600, 480)
    assert LandmarksDetector()(unknown) == [{"landmarks": ((), (), (), (), ())}]
    assert PoseEstimator()(unknown) == [{}]
