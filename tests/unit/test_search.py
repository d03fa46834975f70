"""Which parameters are searched, where, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from embedding_calculator.errors import ParameterError
from embedding_calculator.evaluation.datasets import AnnotatedPhoto
from embedding_calculator.evaluation.search import Range, ranges_of, split, values_of, with_values, write_entry
from embedding_calculator.models.catalog import Catalog

PARAMETERS: Mapping[str, Any] = MappingProxyType(
    {"threshold": 0.85, "min_face": 20, "stage_thresholds": {"pnet": 0.94, "rnet": 0.7}, "factor": 3.0, "head": "scrfd"}
)


def test_thresholds_are_searched_and_what_is_named() -> None:
    ranges = ranges_of(PARAMETERS, ["min_face=10:30", "factor"])
    assert ranges == {
        "threshold": Range(0.05, 0.99, whole=False),
        "stage_thresholds.pnet": Range(0.05, 0.99, whole=False),
        "stage_thresholds.rnet": Range(0.05, 0.99, whole=False),
        "min_face": Range(10, 30, whole=True),
        "factor": Range(1.5, 6, whole=False),
    }
    assert values_of(PARAMETERS, ["stage_thresholds.rnet", "min_face"]) == {
        "stage_thresholds.rnet": 0.7,
        "min_face": 20,
    }


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        ("head", "there is no number 'head' among the parameters: threshold, min_face, stage_thresholds.pnet"),
        ("factor=2", "not NAME=LOW:HIGH"),
        ("factor=a:b", "not NAME=LOW:HIGH"),
        ("factor=2:1", "the lower end comes first"),
    ],
)
def test_what_cannot_be_varied_is_told(vary: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        ranges_of(PARAMETERS, [vary])


def test_values_reach_nested_tables_and_nothing_else() -> None:
    changed = with_values(PARAMETERS, {"stage_thresholds.pnet": 0.5, "threshold": 0.6})
    assert changed == {**PARAMETERS, "threshold": 0.6, "stage_thresholds": {"pnet": 0.5, "rnet": 0.7}}
    assert PARAMETERS["stage_thresholds"]["pnet"] == 0.94


def test_photos_are_held_out_by_chance_but_always_the_same() -> None:
    nothing = np.zeros((0, 2), np.float32)
    photos = [AnnotatedPhoto(f"{number}.jpg", Path(), nothing, None) for number in range(20)]
    searched, aside = split(photos, 0.3)
    assert (len(searched), len(aside)) == (14, 6)
    assert {photo.name for photo in [*searched, *aside]} == {photo.name for photo in photos}
    again = split(photos[::-1], 0.3)[1]
    assert [photo.name for photo in again] == [photo.name for photo in aside]
    assert split(photos, 0)[1] == []


@pytest.mark.parametrize("plugin", ["facenet.FaceDetector", "opencv_zoo.FaceDetector", "insightface.FaceDetector"])
def test_the_entry_written_is_that_of_the_catalogue_but_for_the_values(plugin: str, tmp_path: Path) -> None:
    entry = Catalog.load().find(plugin)
    name = write_entry(entry, {"threshold": 0.5}, tmp_path, ["found by a test"])
    assert (tmp_path / "optimised.toml").read_text().startswith("# found by a test\n")
    written = Catalog.load([tmp_path]).find(plugin, name)
    assert name == f"{entry.name}-optimised"
    assert dict(written.parameters) == {**entry.parameters, "threshold": 0.5}
    assert (written.input, dict(written.files)) == (entry.input, dict(entry.files))
