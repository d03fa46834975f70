"""How old a face looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.arrays import Floats
from embedding_calculator.imaging.align import Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.plugins.dlib_zoo.chip import CHIP
from embedding_calculator.results import Age


class AgeDetector:
    """Age by dlib's ResNet-10 over the classes 0, 1 ... 80 years (``dnn_age_predictor_v1``).

    The network is far too sure of itself, so its distribution is softened by a temperature before it is used (Guo et
    al., 2017, https://arxiv.org/abs/1706.04599): a little for the estimate, which is the mean, as its author's; more
    for the range. The answer is the narrowest range around the estimate that holds at least ``coverage`` of the
    probability, and holds the true age about as often as it says. The last class stands for everybody of 80 and older.
    Each face is seen with its mirror image, which brings the estimates 0.2 years nearer to the truth.

    ``model.parameters``: ``youngest``, the years that class 0 stands for; ``estimate_temperature`` and
    ``range_temperature``, 1 as the network says; ``coverage``, 0..1.
    """

    slug: ClassVar[str] = "age"

    def __init__(self, model: Model) -> None:
        self.crop: Crop | None = CHIP
        self._model = model
        self._estimate_temperature = float(model.parameters["estimate_temperature"])
        self._range_temperature = float(model.parameters["range_temperature"])
        self._coverage = float(model.parameters["coverage"])
        self._youngest = float(model.parameters["youngest"])

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"age": Age}`` a face, from one run of the network over all of them and their mirror images."""
        chips = faces.crops[CHIP]
        tensor = self._model.input.tensor(np.concatenate([chips, chips[:, :, ::-1]]))
        seen, mirrored = np.split(self._model.network.run(tensor)["probabilities"], 2)
        # The mean of the logits, which is what softening by a temperature expects; only its direction matters.
        return [{"age": age} for age in self._ranges(np.sqrt(seen * mirrored))]

    def _ranges(self, probabilities: Floats) -> list[Age]:
        """``(N, C)`` probabilities of C classes -> N ranges, each symmetric about the rounded mean."""
        classes = np.arange(probabilities.shape[1])
        years = np.maximum(classes, self._youngest)
        estimates = np.rint(_softened(probabilities, self._estimate_temperature) @ years).astype(int)
        below = np.pad(_softened(probabilities, self._range_temperature).cumsum(axis=1), ((0, 0), (1, 0)))
        # inside[i, w]: probability of the range of half width w about estimate i. A range below zero years would
        # have another middle, so the estimate itself is the widest half.
        lows = estimates[:, None] - classes
        highs = np.minimum(estimates[:, None] + classes, classes[-1])
        inside = np.take_along_axis(below, highs + 1, 1) - np.take_along_axis(below, np.maximum(lows, 0), 1)
        enough = (inside >= self._coverage) | (lows <= 0)
        halves = enough.argmax(axis=1)
        chances = np.clip(inside[np.arange(len(halves)), halves], 0.0, 1.0)
        return [
            Age(int(estimate - half), int(estimate + half), float(chance))
            for estimate, half, chance in zip(estimates, halves, chances, strict=True)
        ]


def _softened(probabilities: Floats, temperature: float) -> NDArray[np.float64]:
    """The softmax of the same logits divided by ``temperature``."""
    powers = probabilities.astype(np.float64) ** (1 / temperature)
    normalised: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normalised
