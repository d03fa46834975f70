"""The original's mobilenet build, by its own variables, through the running service: the answers that it gave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from conftest import run_service
from embedding_calculator.engine.assembly import configured_entries
from embedding_calculator.evaluation.detection import overlaps
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.sources import Sources
from embedding_calculator.models.store import Store
from embedding_calculator.settings import Settings

pytestmark = pytest.mark.integration

BUILD = {
    "FACE_DETECTION_PLUGIN": "insightface.FaceDetector@retinaface_mnet025_v1",
    "CALCULATION_PLUGIN": "insightface.Calculator@arcface_mobilefacenet",
    "EXTRA_PLUGINS": "insightface.LandmarksDetector,insightface.GenderDetector,insightface.AgeDetector,"
    "insightface.PoseEstimator",
}
EVERYTHING = "calculator,landmarks,age,gender"


@pytest.fixture(scope="module")
def mobilenet_build(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("store")
    catalog = Catalog.load()
    settings = Settings(
        face_detection_plugin=(BUILD["FACE_DETECTION_PLUGIN"],),
        calculation_plugin=(BUILD["CALCULATION_PLUGIN"],),
        extra_plugins=tuple(BUILD["EXTRA_PLUGINS"].split(",")),
    )
    Store(store).pull(configured_entries(settings, catalog), Sources([shared / "models"]), accept_licences=True)
    with run_service(**BUILD, MODELS_DIR=str(store)) as url:
        yield url


def boxes_of(faces: list[dict[str, Any]]) -> Any:
    return np.array([[face["box"][edge] for edge in ("x_min", "y_min", "x_max", "y_max")] for face in faces], float)


def test_its_answers(mobilenet_build: str, shared: Path) -> None:
    recorded = json.loads((shared / "data/recorded/insightface-mobilenet.json").read_text())
    status = httpx.get(mobilenet_build + "/status").json()
    known_status = recorded.pop("/status")
    assert status["calculator_version"] == known_status["calculator_version"]
    assert status["similarity_coefficients"] == pytest.approx(known_status["similarity_coefficients"])
    rows = []
    for name, answer in recorded.items():
        photo = (shared / "data/samples" / name).read_bytes()
        response = httpx.post(
            mobilenet_build + "/find_faces",
            files={"file": (name, photo)},
            data={"face_plugins": EVERYTHING},
            timeout=60,
        ).json()
        known, found = answer.get("result", []), response.get("result", [])
        if not known:
            continue
        table = overlaps(boxes_of(known), boxes_of(found))
        for face, row in zip(known, table, strict=True):
            ours = found[int(row.argmax())]
            box = boxes_of([face])[0]
            apart = np.linalg.norm(np.subtract(ours["landmarks"], face["landmarks"]), axis=1).mean()
            one, other = np.array(ours["embedding"]), np.array(face["embedding"])
            rows.append(
                (
                    row.max(),
                    apart / (box[2:] - box[:2]).max(),
                    one @ other / np.linalg.norm(one) / np.linalg.norm(other),
                    abs(ours["age"]["low"] - face["age"]["low"]) <= 1,
                    ours["gender"]["value"] == face["gender"]["value"],
                )
            )
    overlap, distance, similarity, age, gender = np.array(rows, float).T
    print(f"{len(rows)} faces: boxes {np.median(overlap):.3f}, at the worst {overlap.min():.3f}")
    print(f"landmarks {np.median(distance):.4f}, age {age.mean():.3f}, gender {gender.mean():.3f}")
    print(f"embeddings {np.median(similarity):.4f}, at the worst {similarity.min():.4f}")
    assert overlap.min() > 0.5
    assert np.median(overlap) >= 0.95
    assert np.median(distance) <= 0.02
    assert np.median(similarity) >= 0.99
    assert similarity.min() >= 0.97
    assert age.mean() >= 0.95
    assert gender.mean() >= 0.98
