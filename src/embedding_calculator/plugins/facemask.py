"""Whether a face wears a mask: what the original's two plugins for it have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np

from embedding_calculator.imaging.align import Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.results import Mask


class MaskDetector:
    """The likeliest of a network's classes for a crop, resized to the input of the catalogue by ``interpolation``.

    ``interpolation`` is one of OpenCV's. ``model.parameters``: ``labels``, the network's classes in order.
    """

    slug: ClassVar[str] = "mask"
    needs_detection: ClassVar[bool] = True

    def __init__(self, model: Model, crop: Crop, interpolation: int) -> None:
        self.crop: Crop | None = crop
        self._needed = crop
        self._interpolation = interpolation
        self._model = model
        self._labels = tuple(model.parameters["labels"])

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"mask": Mask}`` a face, from one run of the network over all of them."""
        crops = faces.crops[self._needed].astype(np.float32)
        size = self._model.input.size or self._needed.size
        resized = np.stack([cv2.resize(crop, size, interpolation=self._interpolation) for crop in crops])
        (rows,) = self._model.network.run(self._model.input.tensor(resized)).values()
        return [{"mask": Mask(self._labels[row.argmax()], float(row.max()))} for row in rows]
