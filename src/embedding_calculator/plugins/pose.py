"""Where a head points, from five points and a rough model of a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from embedding_calculator.imaging.align import Crop
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.results import Pose

_Doubles: TypeAlias = NDArray[np.float64]

# Left eye, right eye, nose, mouth left, mouth right, chin: x to the right, y up, z out of the face, in units of a
# sixteenth of the distance between the eyes.
_HEAD = np.array([[-8, 9, -8], [8, 9, -8], [0, 1, 0], [-5, -4, -8], [5, -4, -8], [0, -11, -4]], np.float64)

# The original's solver put the head behind the camera, where it looks the same turned half about the line of sight. Its
# angles are read from such a rotation, so ours are turned likewise first.
_HALF_TURN = np.diag([-1.0, -1.0, 1.0])
_NO_DISTORTION = np.zeros(4)


class PoseEstimator:
    """Pitch, yaw and roll in degrees, as the head stands to the line from the camera to the face.

    The five points and an invented chin are matched with a model of a head seen by a pinhole camera (SQPnP, Terzakis
    and Lourakis, 2020, then Levenberg-Marquardt), the head always in front of the camera. A head that looks into the
    lens has yaw 0 wherever it is in the picture and whatever the picture's shape. Pitch grows when the head looks up;
    yaw is negative when it turns to the right of the picture; roll is negative when it leans clockwise in the picture.

    Points that allow no such match, on one line or all in one place, get no pose.
    """

    slug: ClassVar[str] = "pose"
    crop: Crop | None = None
    needs_detection: ClassVar[bool] = True

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"pose": Pose}`` a face, or an empty mapping where the points allow none."""
        poses = [_pose(points, faces.width) for points in faces.detections.landmarks.astype(np.float64)]
        return [{} if pose is None else {"pose": pose} for pose in poses]


def _pose(landmarks: _Doubles, width: int) -> Pose | None:
    """``(5, 2)`` points in a picture of this width -> pose, or None where none fits."""
    if not np.isfinite(landmarks).all():
        return None
    points = _with_chin(landmarks)
    long, short = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if short <= 0.01 * long:
        return None
    camera = _camera(width, points.mean(axis=0))
    try:
        _, turn, place = cv2.solvePnP(_HEAD, points, camera, _NO_DISTORTION, flags=cv2.SOLVEPNP_SQPNP)
        turn, place = cv2.solvePnPRefineLM(_HEAD, points, camera, _NO_DISTORTION, turn, place)
    except cv2.error:
        return None
    if not (np.isfinite(turn).all() and place[2, 0] > 0):
        return None
    return _angles(_HALF_TURN @ cv2.Rodrigues(turn)[0])


def _camera(width: int, centre: _Doubles) -> _Doubles:
    """A camera without skew that is aimed at ``centre``, its focal length the picture's width.

    Aimed at the face, not at the middle of the picture: so the angles are those to the line of sight, and cutting a
    strip off the picture, which moves its middle and nothing else, does not turn anybody's head.
    """
    return np.array([[width, 0, centre[0]], [0, width, centre[1]], [0, 0, 1]], np.float64)


def _with_chin(landmarks: _Doubles) -> _Doubles:
    """``(5, 2)`` -> ``(6, 2)``: the chin lies as far below the mouth as half the way from the eyes to the mouth."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    return np.vstack([landmarks, mouth + (mouth - eyes) / 2])


def _angles(rotation: Any) -> Pose:
    """The original's reading of a ``(3, 3)`` rotation; zero for ``diag(-1, 1, -1)``."""
    about_x, about_y, about_z = cv2.RQDecomp3x3(rotation)[0]
    return Pose(
        pitch=float(np.copysign(180, about_x) - about_x),
        yaw=float(about_y),
        roll=float(np.copysign(180, about_z) - about_z),
    )
