"""Whoever fails is named, whatever it was doing; what is wrong with the picture stays the picture's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.engine.analyzer import Analyzer
from embedding_calculator.errors import ImageUnreadableError, PluginError
from embedding_calculator.imaging.align import ARCFACE_112, Crop
from embedding_calculator.imaging.picture import ArrayPicture, Picture, Raster
from embedding_calculator.plugins.base import Detections, Detector, FaceBatch, FacePlugin, Fields
from embedding_calculator.plugins.registry import Configured
from fakes import BrokenPlugin, BrokenRefiner, FakeCalculator, FakeDetector, SilentPlugin

WHITE = ArrayPicture(np.full((100, 100, 3), 255, np.uint8))


class Aligned:
    """Wants an aligned crop, and with it the detector's second look."""

    slug = "aligned"
    crop: Crop | None = ARCFACE_112

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        return [{}] * len(faces)


class Unreadable(FakeDetector):
    def detect(self, picture: Picture, threshold: float) -> Detections:
        raise ImageUnreadableError("cut short")

    def refine(self, picture: Picture, detections: Detections) -> Floats:
        raise ImageUnreadableError("cut short")


def analyzer(detector: Detector, *plugins: FacePlugin) -> Analyzer:
    return Analyzer(
        Configured("detector", "fake.Detector", detector),
        Configured("calculator", "fake.Calculator", FakeCalculator()),
        [Configured(plugin.slug, f"fake.{plugin.slug}", plugin) for plugin in plugins],
    )


@pytest.mark.parametrize("whole", [False, True], ids=["second look", "whole picture"])
def test_a_detector_that_fails_at_its_second_look_is_named(whole: bool) -> None:
    broken = analyzer(BrokenRefiner(), Aligned())
    with pytest.raises(PluginError, match=r"^fake.Detector error - it broke$"):
        if whole:
            broken.take_whole(WHITE)
        else:
            broken.describe(WHITE, broken.detect(WHITE)[0], broken.plugins)


def test_a_plugin_that_does_not_answer_for_each_face_is_named() -> None:
    silent = analyzer(FakeDetector(), SilentPlugin())
    with pytest.raises(PluginError, match=r"^fake.silent error - "):
        silent.describe(WHITE, silent.detect(WHITE)[0], silent.plugins)


def test_a_plugin_that_raises_is_named() -> None:
    broken = analyzer(FakeDetector(), BrokenPlugin())
    with pytest.raises(PluginError, match=r"^fake.broken error - it broke$"):
        broken.describe(WHITE, broken.detect(WHITE)[0], broken.plugins)


def test_a_broken_picture_is_nobodys_failure() -> None:
    unreadable = analyzer(Unreadable(), Aligned())
    with pytest.raises(ImageUnreadableError):
        unreadable.detect(WHITE)
    found = FakeDetector().detect(WHITE, 0.5)
    with pytest.raises(ImageUnreadableError):
        unreadable.describe(WHITE, found, unreadable.plugins)


class LooksTwice(FakeDetector):
    """Needs some pixels to find faces, and finer ones for its second look at them."""

    def detect(self, picture: Picture, threshold: float) -> Detections:
        picture.raster(0.1)
        points = np.array([[[460, 460], [540, 460], [500, 500], [470, 540], [530, 540]]], np.float32)
        return Detections(np.array([[400, 400, 600, 600]], np.float32), np.ones(1, np.float32), points)

    def refine(self, picture: Picture, detections: Detections) -> Floats:
        picture.raster(0.2)
        return detections.landmarks


class Counted(ArrayPicture):
    """Notes what a JPEG would decode: as little as is asked for, and again where more is."""

    def __init__(self) -> None:
        super().__init__(np.zeros((1000, 1000, 3), np.uint8))
        self.decoded: list[float] = []

    def raster(self, scale: float) -> Raster:
        if scale > max(self.decoded, default=0):
            self.decoded.append(scale)
        return super().raster(scale)


def test_a_second_look_and_the_crops_after_it_decode_once() -> None:
    picture = Counted()
    twice = analyzer(LooksTwice(), Aligned())
    faces, _ = twice.detect(picture)
    twice.describe(picture, faces, twice.plugins)
    assert len(picture.decoded) == 2
    assert 0.2 < picture.decoded[-1] < 1


def test_where_nobody_is_no_plugin_is_called() -> None:
    broken = analyzer(BrokenRefiner(), BrokenPlugin(), Aligned())
    description = broken.describe(WHITE, broken.detect(WHITE)[0][:0], broken.plugins)
    assert description.fields == []
    assert set(description.milliseconds) == {plugin.slug for plugin in broken.plugins}


class Numbering:
    """Tells each face by its box, and remembers how many it was asked about at a time."""

    slug = "numbering"
    crop: Crop | None = ARCFACE_112

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, faces: FaceBatch) -> Sequence[Fields]:
        self.asked.append(len(faces))
        assert len(faces.crops[ARCFACE_112]) == len(faces)
        return [{"number": int(box[0])} for box in faces.detections.boxes]


def test_of_very_many_faces_plugins_see_a_bounded_number_at_a_time() -> None:
    numbering = Numbering()
    boxes = np.array([[number, 0, number + 10, 10] for number in range(100)], np.float32)
    faces = Detections(boxes, np.ones(100, np.float32), np.full((100, 5, 2), np.nan, np.float32))
    many = analyzer(FakeDetector(), numbering)
    described = many.describe(WHITE, faces, many.plugins)
    assert [fields["number"] for fields in described.fields] == list(range(100))
    assert sorted(numbering.asked) == [4, 32, 32, 32]
