"""What plugins make of the answers of the original's TensorFlow networks; the networks: test_tensorflow_importers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import pytest
from astronaut import face_batch

from embedding_calculator.arrays import Floats
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.runtime import Model
from embedding_calculator.plugins.facenet.crop import FACE
from embedding_calculator.plugins.facenet.facemask import MaskDetector
from embedding_calculator.plugins.prewhitening import prewhitened
from embedding_calculator.plugins.registry import PluginName, Registry
from embedding_calculator.plugins.rude_carnie import AgeDetector, GenderDetector
from embedding_calculator.results import Age, Gender, Mask


class Network:
    """Answers as told, and keeps what it was shown."""

    def __init__(self, answers: Sequence[Sequence[float]]) -> None:
        self.answers = np.array(answers, np.float32)
        self.shown = np.empty(0, np.float32)

    def run(self, batch: Floats) -> Mapping[str, Floats]:
        self.shown = batch
        return {"probabilities": self.answers}


def model(plugin: str, answers: Sequence[Sequence[float]]) -> tuple[Model, Network]:
    """The catalogue's entry with a network that answers as told."""
    entry, network = Catalog.load().find(plugin), Network(answers)
    return Model(entry.name, entry.input, entry.parameters, {"network": network}), network


def test_age_is_the_likeliest_range() -> None:
    opened, network = model(
        "rude_carnie.AgeDetector", [[0, 0, 0, 0.25, 0.5, 0.25, 0, 0], [0.75, 0, 0, 0, 0, 0, 0, 0.25]]
    )
    faces = face_batch(FACE, 2)
    assert AgeDetector(opened)(faces) == [{"age": Age(25, 32, 0.5)}, {"age": Age(0, 2, 0.75)}]
    np.testing.assert_array_equal(network.shown, prewhitened(faces.crops[FACE]))


def test_gender_is_the_likelier() -> None:
    opened, network = model("rude_carnie.GenderDetector", [[0.75, 0.25], [0.375, 0.625]])
    faces = face_batch(FACE, 2)
    assert GenderDetector(opened)(faces) == [{"gender": Gender("male", 0.75)}, {"gender": Gender("female", 0.625)}]
    np.testing.assert_array_equal(network.shown, prewhitened(faces.crops[FACE]))


def test_mask_sees_the_face_at_100_pixels_from_0_to_1() -> None:
    opened, network = model("facenet.facemask.MaskDetector", [[0.125, 0.25, 0.625]])
    faces = face_batch(FACE)
    assert MaskDetector(opened)(faces) == [{"mask": Mask("mask_weared_incorrect", 0.625)}]
    # As the original: the crop as numbers from 0 to 1, then OpenCV.
    expected = cv2.resize(faces.crops[FACE][0] / 255, (100, 100), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(network.shown[0].transpose(1, 2, 0), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("configured", "version"),
    [
        ("rude_carnie.AgeDetector@22801", "rude_carnie.AgeDetector@22801"),
        ("agegender.AgeDetector", "agegender.AgeDetector"),
        ("agegender.GenderDetector@21936", "agegender.GenderDetector@21936"),
        ("facenet.facemask.MaskDetector", "facemask.MaskDetector"),
        (
            "insightface.facemask.MaskDetector@resnet18_on_mafa_kaggle123",
            "facemask.MaskDetector@resnet18_on_mafa_kaggle123",
        ),
        (
            "facenet.Calculator@inception_resnetv1_casia_masked",
            "facenet.Calculator@inception_resnetv1_casia_masked",
        ),
    ],
)
def test_names_of_the_original(configured: str, version: str) -> None:
    name = PluginName.parse(configured)
    assert str(name) == version
    assert Registry(Catalog.load()).entry(name)
