"""Age and gender of people whose age and gender are known."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedding_calculator import Age, FaceAnalyzer, Gender

pytestmark = pytest.mark.integration


SLUGS = ("age", "gender")


def largest(analyzer: FaceAnalyzer, path: Path, pad: int = 0) -> tuple[Age, Gender]:
    with Image.open(path) as image:
        image.draft("RGB", (1200, 1200))
        pixels = np.pad(np.asarray(image.convert("RGB")), ((pad, pad), (pad, pad), (0, 0)))
    face = analyzer.find_faces(pixels, plugins=SLUGS, limit=1)[0]
    assert face.age
    assert face.gender
    return face.age, face.gender


def test_persons_of_the_samples(shared: Path, analyzer: FaceAnalyzer) -> None:
    with (shared / "data/samples/persons.csv").open() as file:
        persons = list(csv.DictReader(file))
    errors = []
    for person in persons:
        age, gender = largest(analyzer, shared / "data/samples" / person["image"])
        assert gender.value == person["gender"], person["image"]
        assert gender.probability > 0.5
        errors.append(abs((age.low + age.high) / 2 - int(person["age"])))
    assert np.mean(errors) < 8


def test_landmarks_are_those_of_the_second_look(shared: Path, analyzer: FaceAnalyzer) -> None:
    """Annotated noses lie a twentieth of the face from YuNet's own points, at worst a sixth; half as far from these."""
    known: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    with (shared / "data/samples/noses.csv").open() as file:
        for row in csv.DictReader(file):
            known[row["image"]].append((float(row["nose_x"]), float(row["nose_y"])))
    errors = []
    for name, noses in known.items():
        faces = analyzer.find_faces(shared / "data/samples" / name, plugins=["landmarks"])
        found = np.array([face.landmarks[2] for face in faces if face.landmarks], np.float32)
        boxes = np.array([(face.box.x_max - face.box.x_min, face.box.y_max - face.box.y_min) for face in faces])
        distances = np.linalg.norm(found[:, None] - np.array(noses, np.float32), axis=2)
        errors.extend((distances / np.sqrt(boxes.prod(axis=1))[:, None]).min(axis=0).tolist())
    assert len(errors) == 46
    assert np.median(errors) < 0.035
    assert max(errors) < 0.1


def test_many_faces_get_the_answers_they_get_alone(shared: Path, analyzer: FaceAnalyzer) -> None:
    photo = shared / "data/samples/000_5.jpg"
    together = analyzer.find_faces(photo, plugins=SLUGS)
    assert len(together) == 5
    for count in range(1, 5):
        for one, other in zip(analyzer.find_faces(photo, plugins=SLUGS, limit=count), together, strict=False):
            assert one.age
            assert other.age
            assert (one.age.low, one.age.high) == (other.age.low, other.age.high)
            assert one.gender
            assert other.gender
            assert one.gender.value == other.gender.value
            assert one.gender.probability == pytest.approx(other.gender.probability, abs=1e-4)


@pytest.mark.performance
def test_portraits_of_all_ages(shared: Path, analyzer: FaceAnalyzer) -> None:
    with (shared / "data/utkface/labels.csv").open() as file:
        labels = list(csv.DictReader(file))
    years = np.array([int(label["age"]) for label in labels])
    estimates, ranges, stated, right = [], [], [], []
    for label in labels:
        age, gender = largest(analyzer, shared / "data/utkface/images" / label["image"], pad=60)
        estimates.append((age.low + age.high) / 2)
        ranges.append(age.low <= int(label["age"]) <= age.high)
        stated.append(age.probability)
        right.append(gender.value == label["gender"])
    errors = np.abs(np.array(estimates) - years)
    by_decade = {int(d) * 10: round(float(errors[years // 10 == d].mean()), 1) for d in np.unique(years // 10)}
    adults = np.array(right)[years >= 16].mean()
    print(f"age error {errors.mean():.2f} years, by decade {by_decade}; gender from 16 on {adults:.3f}")
    print(f"ranges hold the age {np.mean(ranges):.2f}, say {np.mean(stated):.2f}")
    assert errors.mean() <= 8.0
    assert adults >= 0.90
    assert abs(np.mean(ranges) - np.mean(stated)) < 0.12
