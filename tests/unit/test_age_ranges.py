"""From a distribution over ages to a range that is told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.models.runtime import Model
from embedding_calculator.models.spec import InputSpec
from embedding_calculator.plugins.base import Detections, FaceBatch
from embedding_calculator.plugins.dlib_zoo import AgeDetector
from embedding_calculator.plugins.dlib_zoo.chip import CHIP
from embedding_calculator.results import Age


class Saying:
    """A network that says what it was told to say."""

    def __init__(self, probabilities: Floats) -> None:
        self._probabilities = probabilities

    def run(self, batch: Floats) -> Mapping[str, Floats]:
        assert batch.shape == (2 * len(self._probabilities), 3, 64, 64)  # the faces, then their mirror images
        return {"probabilities": np.concatenate([self._probabilities] * 2)}


def ranges(*distributions: dict[int, float], temperature: float = 1.0) -> list[Age]:
    probabilities = np.zeros((len(distributions), 81), np.float32)
    for row, distribution in zip(probabilities, distributions, strict=True):
        row[list(distribution)] = list(distribution.values())
    parameters = {
        "youngest": 0.25,
        "estimate_temperature": 1.0,
        "range_temperature": temperature,
        "coverage": 0.5,
    }
    model = Model("saying", InputSpec((64, 64), "rgb"), parameters, {"network": Saying(probabilities)})
    count = len(distributions)
    detections = Detections(
        np.zeros((count, 4), np.float32), np.ones(count, np.float32), np.zeros((count, 5, 2), np.float32)
    )
    faces = FaceBatch(100, 100, detections, {CHIP: np.zeros((count, 64, 64, 3), np.uint8)})
    return [fields["age"] for fields in AgeDetector(model)(faces)]


@pytest.mark.parametrize("years", [0, 1, 35, 80])
def test_a_sure_network_gives_one_year(years: int) -> None:
    assert ranges({years: 1.0}) == [Age(years, years, 1.0)]


def test_the_middle_is_the_mean_and_the_range_the_narrowest_that_holds_half() -> None:
    (age,) = ranges({20: 0.25, 28: 0.2, 30: 0.1, 32: 0.2, 40: 0.25})
    assert (age.low, age.high) == (28, 32)
    assert age.probability == pytest.approx(0.5)


def test_nobody_is_younger_than_born() -> None:
    (age,) = ranges({0: 0.6, 10: 0.4})
    assert (age.low, age.high) == (0, 8)
    assert age.probability == pytest.approx(0.6)


def test_the_last_class_counts_for_all_older() -> None:
    (age,) = ranges({60: 0.45, 80: 0.55})
    assert (age.low, age.high) == (62, 80)
    assert age.probability == pytest.approx(0.55)


def test_softening_widens_the_range_and_leaves_its_middle() -> None:
    doubtful = {29: 0.15, 30: 0.7, 31: 0.15}
    (sharp,), (soft,) = ranges(doubtful), ranges(doubtful, temperature=3.0)
    assert (sharp.low, sharp.high) == (30, 30)
    assert (soft.low, soft.high) == (29, 31)


def test_faces_do_not_mix() -> None:
    assert ranges({5: 1.0}, {70: 1.0}) == [Age(5, 5, 1.0), Age(70, 70, 1.0)]
