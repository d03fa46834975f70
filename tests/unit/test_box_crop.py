"""The upright box, squeezed: as scikit-image's ``resize`` did it for the original."""

from __future__ import annotations

import numpy as np
import pytest
from astronaut import FACE, PHOTO
from skimage.transform import resize

from embedding_calculator.arrays import Floats
from embedding_calculator.imaging.align import BoxCrop, cut
from embedding_calculator.imaging.picture import ArrayPicture

CROP = BoxCrop((160, 160))


@pytest.mark.parametrize(
    ("box", "mean_difference"),
    [
        ((160, 48, 287, 184), 0.5),  # enlarged
        ((160.9, 48.2, 287.7, 184.4), 0.5),  # edges are cut to whole pixels
        ((0, 0, 512, 512), 2.0),  # more than halved
        ((100, 20, 400, 120), 1.0),  # squeezed one way, stretched the other
    ],
)
def test_as_the_original(box: tuple[float, ...], mean_difference: float) -> None:
    left, top, right, bottom = map(int, box)
    expected = 255 * resize(PHOTO[top:bottom, left:right], (160, 160), anti_aliasing=True)  # type: ignore[no-untyped-call]
    (got,) = cut(ArrayPicture(PHOTO), CROP, np.array([box], np.float32), FACE.landmarks)
    assert np.abs(got - expected).mean() < mean_difference
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.997


@pytest.mark.parametrize("box", [(10, 10, 10, 40), (40, 10, 10, 40), (600, 600, 700, 700)])
def test_a_box_without_pixels_is_black(box: tuple[float, ...]) -> None:
    boxes: Floats = np.array([box, FACE.boxes[0]], np.float32)
    nothing, face = cut(ArrayPicture(PHOTO), CROP, boxes, np.repeat(FACE.landmarks, 2, 0))
    assert not nothing.any()
    assert face.any()
