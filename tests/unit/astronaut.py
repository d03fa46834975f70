"""One real face for every plugin: scikit-image's astronaut, as ``facenet.FaceDetector`` finds her."""

from __future__ import annotations

import numpy as np
from skimage.data import astronaut

from embedding_calculator.arrays import Pixels
from embedding_calculator.imaging.align import Crop, cut
from embedding_calculator.imaging.picture import ArrayPicture
from embedding_calculator.plugins.base import Detections, FaceBatch

PHOTO: Pixels = astronaut()  # type: ignore[no-untyped-call]
FACE = Detections(
    boxes=np.array([[160, 48, 287, 184]], np.float32),
    probabilities=np.ones(1, np.float32),
    landmarks=np.array([[[203, 101], [246, 103], [224, 128], [201, 139], [244, 141]]], np.float32),
)


def face_batch(crop: Crop | None, count: int = 1) -> FaceBatch:
    """Her face, ``count`` times, in the crop that a plugin asks for."""
    assert crop
    faces = FACE[np.zeros(count, int)]
    crops = cut(ArrayPicture(PHOTO), crop, faces.boxes, faces.landmarks)
    return FaceBatch(PHOTO.shape[1], PHOTO.shape[0], faces, {crop: crops})
