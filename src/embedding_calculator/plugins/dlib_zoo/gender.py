"""Whether a face looks male or female."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from embedding_calculator.arrays import Pixels
from embedding_calculator.imaging.align import Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.plugins.dlib_zoo.chip import CHIP
from embedding_calculator.results import Gender


class GenderDetector:
    """Gender by dlib's small convolutional network (``dnn_gender_classifier_v1``, 32x32 pixels).

    ``model.parameters``: ``labels``, the network's outputs in order.
    """

    slug: ClassVar[str] = "gender"

    def __init__(self, model: Model) -> None:
        self.crop: Crop | None = CHIP
        self._model = model
        self._labels = tuple(model.parameters["labels"])

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"gender": Gender}`` a face, from one run of the network over all of them."""
        tensor = self._model.input.tensor(_halved(faces.crops[CHIP]))
        probabilities = self._model.network.run(tensor)["probabilities"]
        return [{"gender": Gender(self._labels[row.argmax()], float(row.max()))} for row in probabilities]


def _halved(crops: Pixels) -> Pixels:
    """``(N, 2h, 2w, 3)`` -> ``(N, h, w, 3)``: the mean of every 2x2 pixels, as good here as a finer cut of its own."""
    wide = crops.astype(np.uint16)
    rows = wide[:, ::2] + wide[:, 1::2]
    halved: Pixels = np.rint((rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25)).astype(np.uint8)
    return halved
