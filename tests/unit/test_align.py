"""Where a face's pixels come from: maps against scikit-image, degenerate faces, and what the second look keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.data import astronaut
from skimage.transform import SimilarityTransform

from embedding_calculator.arrays import Pixels
from embedding_calculator.imaging.align import ARCFACE_112, Crop, cut
from embedding_calculator.imaging.picture import ArrayPicture, Raster
from embedding_calculator.models.spec import InputSpec
from embedding_calculator.plugins.base import Detections
from embedding_calculator.plugins.opencv_zoo.refine import SECOND_LOOK, refine

PHOTO: Pixels = astronaut()  # type: ignore[no-untyped-call]
TEMPLATE = np.array(ARCFACE_112.template)
BOX = np.array([[173, 70, 276, 196]], np.float32)
"""The astronaut's face, and its five points."""
POINTS = np.array([[[204, 112], [247, 114], [223, 138], [205, 157], [244, 159]]], np.float32)


@given(arrays(np.float32, (3, 5, 2), elements=st.floats(-1000, 1000, width=32)))
def test_similarity_is_that_of_scikit_image(points: np.ndarray) -> None:
    points += np.arange(10, dtype=np.float32).reshape(5, 2)
    for matrix, face in zip(ARCFACE_112.matrices(np.zeros((3, 4), np.float32), points), points, strict=True):
        if np.ptp(face, axis=0).max() < 1:
            continue
        oracle = SimilarityTransform.from_estimate(face.astype(float), TEMPLATE)
        factor = complex(matrix[0, 0], matrix[1, 0])
        # Points in the mirror order have no best turn: every direction is as good.
        if abs(factor) > 1e-3:
            np.testing.assert_allclose(matrix, oracle.params[:2], rtol=1e-3, atol=1e-2)


def test_the_template_itself_is_cut_as_it_is() -> None:
    np.testing.assert_allclose(
        ARCFACE_112.matrices(BOX, TEMPLATE[None].astype(np.float32)), [[[1, 0, 0], [0, 1, 0]]], atol=1e-4
    )


def test_a_crop_of_ones_own_size_is_the_picture() -> None:
    picture = ArrayPicture(np.ascontiguousarray(PHOTO[60:172, 170:282]))
    crops = cut(picture, ARCFACE_112, BOX, TEMPLATE[None].astype(np.float32))
    assert np.abs(crops[0].astype(int) - picture.raster(1).pixels).max() <= 1


def test_outside_the_picture_is_black() -> None:
    picture = ArrayPicture(PHOTO[:, 225:].copy())
    crop = cut(picture, ARCFACE_112, BOX, POINTS - np.array([225, 0], np.float32))[0]
    assert not crop[40:, :40].any()
    assert crop[40:, 70:].mean() > 50


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 50.0),
        np.full((5, 2), np.nan),
        np.full((5, 2), np.inf),
        TEMPLATE + 1e7,
        TEMPLATE * 1e-7,
        TEMPLATE * 1e7 - 1e9,
        np.linspace(0, 1e-30, 10).reshape(5, 2),
    ],
)
@pytest.mark.parametrize("crop", [ARCFACE_112, SECOND_LOOK])
def test_degenerate_faces_give_a_crop_too(points: np.ndarray, crop: Crop) -> None:
    picture = ArrayPicture(PHOTO)
    landmarks = np.stack([POINTS[0], points.astype(np.float32)])
    boxes = np.concatenate([BOX, [[*landmarks[1].min(0), *landmarks[1].max(0)]]]).astype(np.float32)
    crops = cut(picture, crop, boxes, landmarks)
    alone = cut(picture, crop, BOX, POINTS)
    np.testing.assert_array_equal(crops[0], alone[0])


class Asked:
    """A picture that remembers which scale it was asked for."""

    def __init__(self) -> None:
        self.width = self.height = 512
        self.scale = 0.0

    def raster(self, scale: float) -> Raster:
        self.scale = scale
        return Raster(PHOTO, 1.0, 1.0)


def test_no_more_pixels_are_asked_for_than_the_smallest_face_needs() -> None:
    large, small = (BOX - 200) * 8, BOX
    points = np.concatenate([(POINTS - 200) * 8, POINTS])
    picture = Asked()
    cut(picture, ARCFACE_112, large, points[:1])
    assert picture.scale < 0.3
    cut(picture, ARCFACE_112, np.concatenate([large, small]), points)
    assert picture.scale == 1.0
    cut(picture, ARCFACE_112, small[:0], points[:0])
    assert picture.scale == 1.0


def one_face(landmarks: np.ndarray) -> Detections:
    return Detections(BOX, np.ones(1, np.float32), landmarks)


class Certain:
    """A network that sees the same five points in every canvas, ten pixels further right than they are."""

    def __init__(self, upright: np.ndarray, probability: float = 0.9) -> None:
        self._upright, self._probability = upright, probability

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        assert batch.shape == (2, 3, 48, 48)
        np.testing.assert_array_equal(batch[1], batch[0][:, :, ::-1])
        mirrored = (self._upright * (-1, 1) + (48, 0))[[1, 0, 2, 4, 3]]
        points = (np.stack([self._upright, mirrored]) + np.array([10, 0])) / 48
        return {
            "probability": np.full((2, 1), self._probability, np.float32),
            "landmarks": points.transpose(0, 2, 1).reshape(2, 10).astype(np.float32),
        }


SPEC = InputSpec(size=(48, 48), colour="rgb")


@pytest.mark.parametrize("roll", [0.0, 0.6, np.pi])
def test_points_seen_at_the_second_look_come_back_to_the_picture(roll: float) -> None:
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    middle = (BOX[0, :2] + BOX[0, 2:]) / 2
    points = ((POINTS - middle) @ turn.T + middle).astype(np.float32)
    matrix = SECOND_LOOK.matrices(BOX, points)[0]
    upright = points[0] @ matrix[:, :2].T + matrix[:, 2]
    assert upright[0, 1] == pytest.approx(upright[1, 1], abs=1e-3)

    refined = refine(ArrayPicture(PHOTO), one_face(points), Certain(upright), SPEC)
    np.testing.assert_allclose(refined, points, atol=1e-2)
    assert refined.dtype == np.float32


def test_where_the_second_look_sees_no_face_the_points_stay() -> None:
    doubtful = Certain(TEMPLATE / 3, probability=0.4)
    np.testing.assert_array_equal(refine(ArrayPicture(PHOTO), one_face(POINTS), doubtful, SPEC), POINTS)
