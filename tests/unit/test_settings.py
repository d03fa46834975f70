"""Settings given by name: what does not exist is told."""

from __future__ import annotations

import pytest

from embedding_calculator.errors import ConfigurationError
from embedding_calculator.settings import Settings


def test_a_setting_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"^there is no setting 'face_detection_plugins'$"):
        Settings(face_detection_plugins="facenet.FaceDetector")


def test_a_variable_that_is_no_setting_is_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACE_DETECTION_PLUGINS", "facenet.FaceDetector")
    assert Settings().face_detection_plugin == ("opencv_zoo.FaceDetector",)
