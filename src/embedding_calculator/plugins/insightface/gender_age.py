"""InsightFace's one network for gender and age, and the three plugins that speak for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from embedding_calculator.imaging.align import ARCFACE_112, Crop
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.base import FaceBatch, Fields
from embedding_calculator.results import Age, Gender


class GenderAgeDetector:
    """Gender and age in one pass.

    The network answers two scores for the gender (female, male) and, for each of the ages 1 to 100, two scores: not
    there yet, or past it. The age is how many of them are past; there is no spread and no probability to it, so the
    range is one year and the probability always 1, as in the original component.
    """

    slug: ClassVar[str] = "gender_age"

    def __init__(self, model: Model) -> None:
        self.crop: Crop | None = ARCFACE_112
        self._model = model

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"gender": Gender, "age": Age}`` for each face."""
        return self._answers(faces)

    def _answers(self, faces: FaceBatch) -> Sequence[Fields]:
        """Computed once for a picture, whichever of the plugins with this network asks first."""
        return faces.once((GenderAgeDetector, self._model.name), lambda: self._compute(faces))

    def _compute(self, faces: FaceBatch) -> Sequence[Fields]:
        (scores,) = self._model.network.run(self._model.input.tensor(faces.crops[ARCFACE_112])).values()
        male = scores[:, 1] > scores[:, 0]
        ages = np.argmax(scores[:, 2:].reshape(len(scores), -1, 2), axis=2).sum(axis=1)
        return [
            {"gender": Gender("male" if is_male else "female", 1.0), "age": Age(age, age, 1.0)}
            for is_male, age in zip(male.tolist(), ages.tolist(), strict=True)
        ]


class AgeDetector(GenderAgeDetector):
    """The age alone."""

    slug: ClassVar[str] = "age"

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"age": Age}`` for each face."""
        return [{"age": answer["age"]} for answer in self._answers(faces)]


class GenderDetector(GenderAgeDetector):
    """The gender alone."""

    slug: ClassVar[str] = "gender"

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        """``{"gender": Gender}`` for each face."""
        return [{"gender": answer["gender"]} for answer in self._answers(faces)]
