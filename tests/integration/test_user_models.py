"""A user's own networks by the catalogue file of docs/models.md: a folder, no code."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from conftest import run_service
from embedding_calculator import FaceAnalyzer
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.store import Store
from embedding_calculator.settings import Settings
from pages import code_of

pytestmark = pytest.mark.integration

CHOICE = {
    "FACE_DETECTION_PLUGIN": "insightface.FaceDetector@my_detector",
    "CALCULATION_PLUGIN": "insightface.Calculator@my_network",
    "EXTRA_PLUGINS": "insightface.LandmarksDetector",
}


@pytest.fixture(scope="module")
def users_choice(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of somebody who has a folder with two networks and the file of the documentation."""
    catalogue = tmp_path_factory.mktemp("my-models")
    (catalogue / "mine.toml").write_text(code_of("models.md", "toml"))
    shutil.copy(shared / "models/other/foamliu_MobileFaceNet.onnx", catalogue / "my_network.onnx")
    shutil.copy(shared / "models/insightface/det_500m/det_500m.onnx", catalogue / "my_detector.onnx")
    store = tmp_path_factory.mktemp("store")
    variables = {**CHOICE, "MODEL_CATALOG": str(catalogue), "MODELS_DIR": str(store)}
    command = [sys.executable, "-m", "embedding_calculator", "models", "pull"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return variables


@pytest.fixture(scope="module")
def users_service(users_choice: dict[str, str]) -> Iterator[str]:
    with run_service(**users_choice) as url:
        yield url


def test_the_service_finds_faces_with_the_users_detector(users_service: str) -> None:
    assert httpx.get(users_service + "/status").json()["calculator_version"] == "insightface.Calculator@my_network"
    stream = io.BytesIO()
    Image.fromarray(astronaut()).save(stream, "PNG")  # type: ignore[no-untyped-call]
    answer = httpx.post(
        users_service + "/find_faces",
        params={"face_plugins": "calculator,landmarks"},
        files={"file": stream.getvalue()},
    ).json()
    (face,) = answer["result"]
    assert len(face["embedding"]) == 128
    assert np.allclose(face["landmarks"], [(201, 104), (245, 104), (220, 127), (203, 145), (241, 145)], atol=6)
    assert answer["plugins_versions"]["detector"] == "insightface.FaceDetector@my_detector"


def test_the_library_tells_people_apart_with_the_users_network(users_choice: dict[str, str], shared: Path) -> None:
    analyzer = FaceAnalyzer(**{name.lower(): value for name, value in users_choice.items()})
    with (shared / "data/samples/persons.csv").open() as file:
        photos = {row["image"]: row["person"] for row in csv.DictReader(file)}
    vectors = {}
    for name in photos:
        (face,) = analyzer.find_faces(shared / "data/samples" / name, plugins=["calculator"], limit=1)
        assert face.embedding is not None
        vectors[name] = face.embedding / np.linalg.norm(face.embedding)
    alike: dict[bool, list[float]] = {True: [], False: []}
    for one, person in photos.items():
        for other, other_person in photos.items():
            if one < other:
                alike[person == other_person].append(float(vectors[one] @ vectors[other]))
    assert min(alike[True]) > max(alike[False])


def test_a_network_under_another_name_answers_alike(tmp_path: Path) -> None:
    """Needs no photos or weights but the default ones: the user's network is SFace, its ONNX taken from the store."""
    usual = Settings().models_dir
    shutil.copy(Store(usual).path(Catalog.load().entry("sface_2021dec")), tmp_path / "mine.onnx")
    store = tmp_path / "models/store"
    store.mkdir(parents=True)
    for model in (usual / "store").iterdir():
        (store / model.name).symlink_to(model)
    (tmp_path / "mine.toml").write_text(
        """
        [[model]]
        name = "mine"
        plugins = ["opencv_zoo.Calculator"]
        licence = "Apache-2.0"
        input = { colour = "rgb", size = [112, 112] }
        parameters = { similarity_coefficients = [1.2, 6.0] }
        files.network = { importer = "onnx", runtime = { bf16 = true }, parts = [{ filename = "mine.onnx" }] }
        """
    )
    pull = [sys.executable, "-m", "embedding_calculator", "models", "pull", "mine"]
    folders = {"MODEL_CATALOG": str(tmp_path), "MODELS_DIR": str(store.parent)}
    subprocess.run(pull, env=os.environ | folders, check=True, capture_output=True)
    users = FaceAnalyzer(
        calculation_plugin="opencv_zoo.Calculator@mine",
        model_catalog=(tmp_path,),
        models_dir=store.parent,
        extra_plugins=(),
    )
    photo = astronaut()  # type: ignore[no-untyped-call]
    (mine,) = users.find_faces(photo)
    (known,) = FaceAnalyzer(extra_plugins=()).find_faces(photo)
    assert mine.embedding is not None
    assert known.embedding is not None
    # The catalogue allows SFace bf16, and says nothing of the user's network.
    assert mine.embedding @ known.embedding > 0.999
