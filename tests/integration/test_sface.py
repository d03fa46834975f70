"""Embeddings tell people apart, in photos of any size."""

from __future__ import annotations

import csv
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.evaluation.pairs import embed
from embedding_calculator.imaging.align import ARCFACE_112, cut
from embedding_calculator.imaging.decode import Limits, open_picture
from embedding_calculator.imaging.picture import Raster
from embedding_calculator.library import FaceAnalyzer

pytestmark = pytest.mark.integration


def embedding(analyzer: FaceAnalyzer, path: Path) -> Floats:
    vector = embed(analyzer, path.read_bytes())["embedding"]
    assert vector is not None, path
    return np.asarray(vector, np.float32)


def test_persons_of_the_samples_are_told_apart(shared: Path, analyzer: FaceAnalyzer) -> None:
    with (shared / "data/samples/persons.csv").open(newline="") as file:
        person = {row["image"]: row["person"] for row in csv.DictReader(file)}
    embeddings = {name: embedding(analyzer, shared / "data/samples" / name) for name in person}
    distances: dict[bool, list[float]] = {True: [], False: []}
    for one, other in combinations(person, 2):
        same = person[one] == person[other]
        distances[same].append(float(np.linalg.norm(embeddings[one] - embeddings[other])))
        assert (analyzer.similarity(embeddings[one], embeddings[other]) > 0.5) == same, (one, other)
    assert max(distances[True]) < min(distances[False])


def test_embeddings_have_unit_length(shared: Path, analyzer: FaceAnalyzer) -> None:
    faces = analyzer.find_faces(shared / "data/samples/000_5.jpg", plugins=("calculator",))
    for face in faces:
        assert face.embedding is not None
        assert face.embedding.shape == (128,)
        assert face.embedding.dtype == np.float32
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)


class Whole:
    """A picture that gives all its pixels, whatever scale is enough."""

    def __init__(self, raster: Raster) -> None:
        self.height, self.width = raster.pixels.shape[:2]
        self._raster = raster

    def raster(self, scale: float) -> Raster:
        return self._raster


def test_a_crop_from_a_coarse_decode_is_that_of_the_full_one(shared: Path, analyzer: FaceAnalyzer) -> None:
    data = max((shared / "data/samples").glob("*.jpg"), key=lambda path: path.stat().st_size).read_bytes()
    picture = open_picture(data, limits=Limits(len(data), 2**31))
    face = analyzer.find_faces(data, plugins=("landmarks",), limit=1)[0]
    assert face.landmarks
    boxes = np.array([[face.box.x_min, face.box.y_min, face.box.x_max, face.box.y_max]], np.float32)
    landmarks = np.array([face.landmarks], np.float32)
    coarse = cut(picture, ARCFACE_112, boxes, landmarks)[0].astype(float)
    full = cut(Whole(picture.raster(1.0)), ARCFACE_112, boxes, landmarks)[0].astype(float)
    assert np.abs(coarse - full).mean() < 1.5
    assert np.corrcoef(coarse.ravel(), full.ravel())[0, 1] > 0.998
