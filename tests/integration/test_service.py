"""The service as its users meet it: started by the command, asked over HTTP, judged by photos with known answers."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from conftest import run_service
from embedding_calculator.arrays import Floats
from embedding_calculator.evaluation.detection import overlaps
from embedding_calculator.evaluation.similarity import cross_validate

pytestmark = pytest.mark.integration

EVERYTHING = "calculator,landmarks,age,gender,pose"


def find(url: str, photo: bytes, path: str = "/find_faces", **fields: Any) -> list[dict[str, Any]]:
    response = httpx.post(url + path, files={"file": ("photo.jpg", photo)}, data=fields, timeout=60)
    if response.status_code == 400:
        assert response.json() == {"message": "400 Bad Request: No face is found in the given image"}
        return []
    response.raise_for_status()
    return list(response.json()["result"])


def boxes_of(faces: Iterable[dict[str, Any]]) -> Floats:
    edges = ("x_min", "y_min", "x_max", "y_max")
    return np.array([[face["box"][edge] for edge in edges] for face in faces], np.float32).reshape(-1, 4)


def astronaut_png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(astronaut()).save(stream, "PNG")  # type: ignore[no-untyped-call]
    return stream.getvalue()


def test_the_astronaut(service: str) -> None:
    """Runs everywhere: this portrait comes with a library."""
    (face,) = find(service, astronaut_png(), face_plugins=EVERYTHING)
    box = face["box"]
    assert overlaps(boxes_of([face]), np.array([[178, 64, 270, 174]], np.float32))[0, 0] > 0.7
    assert box["probability"] > 0.9
    assert len(face["embedding"]) == 128
    assert face["gender"]["value"] == "female"
    assert face["age"]["low"] <= 40
    assert abs(face["pose"]["yaw"]) < 20
    left_eye, right_eye, nose, mouth_left, mouth_right = np.array(face["landmarks"])
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < mouth_left[1]
    assert mouth_left[0] < mouth_right[0]


def test_base64_and_upload_agree(service: str) -> None:
    photo = astronaut_png()
    uploaded = find(service, photo, face_plugins="calculator")
    embedded = httpx.post(
        service + "/find_faces_base64",
        params={"face_plugins": "calculator"},
        json={"file": base64.b64encode(photo).decode()},
    ).json()["result"]
    scanned = find(service, photo, "/scan_faces")
    for faces in (embedded, scanned):
        assert faces[0]["box"] == uploaded[0]["box"]
        assert faces[0]["embedding"] == uploaded[0]["embedding"]


def test_a_cropped_face_without_detection_is_the_same_person(service: str) -> None:
    def vector(photo: Any, **fields: Any) -> Floats:
        stream = io.BytesIO()
        Image.fromarray(photo).save(stream, "PNG")
        (face,) = find(service, stream.getvalue(), face_plugins="calculator,landmarks,pose", **fields)
        if fields:
            height, width = photo.shape[:2]
            assert face["box"] == {"x_min": 0, "y_min": 0, "x_max": width, "y_max": height, "probability": 1.0}
            assert all(len(point) == 2 for point in face["landmarks"])
            assert "pose" not in face
        return np.array(face["embedding"], np.float32)

    portrait = astronaut()  # type: ignore[no-untyped-call]
    whole = vector(portrait)
    for crop in (portrait[50:190, 165:285], portrait[64:174, 178:270], portrait[20:230, 130:320]):
        assert vector(np.ascontiguousarray(crop), detect_faces="false") @ whole > 0.8


def test_every_annotated_nose_is_in_a_box(service: str, shared: Path) -> None:
    noses: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with (shared / "data/samples/noses.csv").open() as file:
        for row in csv.DictReader(file):
            noses[row["image"]].append((int(row["nose_x"]), int(row["nose_y"])))
    without_nose = 0
    for photo in sorted((shared / "data/samples").glob("*.jpg")):
        boxes = boxes_of(find(service, photo.read_bytes()))
        inside = [[(b[0] <= x <= b[2]) and (b[1] <= y <= b[3]) for b in boxes] for x, y in noses[photo.name]]
        assert all(any(row) for row in inside), photo.name
        without_nose += sum(not any(column) for column in (zip(*inside, strict=True) if inside else boxes))
    assert sum(map(len, noses.values())) == 46
    assert without_nose <= 1
    assert find(service, (shared / "data/samples/017_0.jpg").read_bytes()) == []


def test_persons_are_told_apart(service: str, shared: Path) -> None:
    with (shared / "data/samples/persons.csv").open() as file:
        persons = {row["image"]: row["person"] for row in csv.DictReader(file)}
    vectors = {}
    for name in persons:
        (face, *_) = find(service, (shared / "data/samples" / name).read_bytes(), face_plugins="calculator", limit=1)
        vectors[name] = np.array(face["embedding"])
    distances: dict[bool, list[float]] = {True: [], False: []}
    for one, other in combinations(persons, 2):
        distances[persons[one] == persons[other]].append(float(np.linalg.norm(vectors[one] - vectors[other])))
    assert max(distances[True]) < min(distances[False])
    c0, c1 = httpx.get(service + "/status").json()["similarity_coefficients"]
    assert max(distances[True]) < c0 < min(distances[False])
    assert c1 > 0


@pytest.mark.performance
def test_lfw(service: str, shared: Path) -> None:
    folder = shared / "data/lfw"
    with (folder / "pairs.csv").open() as file:
        pairs = list(csv.DictReader(file))
    names = sorted({pair[side] for pair in pairs for side in ("image_a", "image_b")})

    def vector(name: str) -> Floats:
        faces = find(service, (folder / "images" / name).read_bytes(), face_plugins="calculator")
        # The person meant is the one in the middle of the picture.
        boxes = boxes_of(faces)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        return np.array(faces[int(np.linalg.norm(centres - 125, axis=1).argmin())]["embedding"], np.float32)

    with ThreadPoolExecutor(4) as pool:
        vectors = dict(zip(names, pool.map(vector, names), strict=True))
    distances = np.array([np.linalg.norm(vectors[pair["image_a"]] - vectors[pair["image_b"]]) for pair in pairs])
    same = np.array([pair["same"] == "1" for pair in pairs])
    accuracy = ten_fold_accuracy(distances, same)
    c0, c1 = httpx.get(service + "/status").json()["similarity_coefficients"]
    at_half = (((np.tanh((c0 - distances) * c1) + 1) / 2 > 0.5) == same).mean()
    accepted = (distances[same] < np.quantile(distances[~same], 0.01)).mean()
    calibration = cross_validate(distances.astype(float), same).calibration_error
    print(
        f"accuracy {accuracy:.4f}, at a similarity of 0.5 {at_half:.4f}, true accepts at 1 % false ones {accepted:.4f}"
    )
    assert accuracy >= 0.993
    assert at_half >= 0.993
    assert accepted >= 0.99
    assert calibration < 0.02


def ten_fold_accuracy(distances: Floats, same: Floats) -> float:
    """Mean accuracy of ten parts, each judged by the threshold that is best for the other nine."""
    part = np.arange(len(same)) % 10
    correct = []
    for held_out in range(10):
        others = part != held_out
        cuts = np.sort(distances[others])
        scores = ((distances[others][None] < cuts[:, None]) == same[others]).mean(axis=1)
        threshold = cuts[np.flatnonzero(scores == scores.max())].mean()
        correct.append(((distances < threshold) == same)[~others].mean())
    return float(np.mean(correct))


def test_with_the_originals_detector_every_recorded_face_is_found(shared: Path) -> None:
    recorded = json.loads((shared / "data/recorded/facenet-detector.json").read_text())
    others, matches = 0, []
    environment = {
        "FACE_DETECTION_PLUGIN": "facenet.FaceDetector",
        "EXTRA_PLUGINS": "facenet.LandmarksDetector facenet.PoseEstimator",
    }
    with run_service(**environment) as url:
        for name, answer in recorded.items():
            if not name.endswith(".jpg"):
                continue
            photo = (shared / "data/samples" / name).read_bytes()
            faces, known = find(url, photo, face_plugins="landmarks"), answer.get("result", [])
            overlap = overlaps(boxes_of(known), boxes_of(faces))
            assert len(faces) >= len(known), name
            others += len(faces) - len(known)
            for row, face in zip(overlap, known, strict=True):
                found = faces[int(row.argmax())]
                box = face["box"]
                size = max(box["x_max"] - box["x_min"], box["y_max"] - box["y_min"])
                apart = np.linalg.norm(np.subtract(found["landmarks"], face["landmarks"]), axis=1).mean() / size
                matches.append((row.max(), apart))
    overlap_values, distances = np.array(matches).T
    assert overlap_values.min() > 0.5
    assert np.median(overlap_values) >= 0.95
    assert np.median(distances) <= 0.03
    assert others <= 2
