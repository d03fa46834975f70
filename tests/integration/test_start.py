"""What a person meets at the start: quick help, a missing model told in a sentence, a sideways phone photo."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image
from skimage.data import astronaut

from embedding_calculator import FaceAnalyzer

pytestmark = pytest.mark.integration


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedding_calculator", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_waits_for_no_network_and_no_decoder() -> None:
    heavy = "{'cv2', 'numpy', 'onnxruntime', 'fastapi', 'PIL', 'httpx'}"
    code = f"import sys, embedding_calculator.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "serve" in command("--help").stdout


def test_missing_models_end_the_start_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    done = command("serve", MODELS_DIR=str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"error: models are not ready in {tmp_path}: ")
    assert line.endswith(
        "Fetch them: embedding-calculator models pull "
        "yunet_2023mar sface_2021dec dnn_age_predictor_v1 dnn_gender_classifier_v1"
    )


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FACE_DETECTION_PLUGIN", "nowhere.FaceDetector", "there is no plugin 'nowhere.FaceDetector'; installed are: "),
        ("FACE_DETECTION_PLUGIN", "opencv_zoo.FaceDetector@nope", "has no model 'nope'"),
        ("FACE_DETECTION_PLUGIN", "opencv_zoo.Calculator", "FACE_DETECTION_PLUGIN"),
        ("CALCULATION_PLUGIN", "opencv_zoo.LandmarksDetector", "CALCULATION_PLUGIN"),
        ("LOGGING_LEVEL_NAME", "loud", "LOGGING_LEVEL_NAME"),
        ("ML_PORT", "many", "ML_PORT"),
    ],
)
def test_wrong_settings_end_the_start_with_a_sentence(variable: str, value: str, said: str) -> None:
    done = command("serve", **{variable: value})
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_phone_photo_lying_on_its_side_is_read_upright(service: str, analyzer: FaceAnalyzer) -> None:
    portrait = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
    tags = Image.Exif()
    tags[0x0112] = 6  # Held upright, stored lying on its left side.
    stream = io.BytesIO()
    portrait.rotate(90, expand=True).save(stream, "JPEG", quality=95, exif=tags)

    (face,) = httpx.post(service + "/find_faces", files={"file": ("phone.jpg", stream.getvalue())}).json()["result"]
    (upright,) = analyzer.find_faces(astronaut(), plugins=())  # type: ignore[no-untyped-call]
    for edge in ("x_min", "y_min", "x_max", "y_max"):
        assert face["box"][edge] == pytest.approx(getattr(upright.box, edge), abs=4)


def test_scan_draws_and_tells_and_goes_on_after_a_broken_file(tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "portrait.png")  # type: ignore[no-untyped-call]
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    done = command("scan", str(tmp_path), "--output", str(tmp_path / "out"), "--json", str(tmp_path / "faces.jsonl"))
    assert done.returncode == 1
    assert "1 face in 2 photos; 1 could not be read" in done.stdout
    assert "Traceback" not in done.stderr
    with Image.open(tmp_path / "out" / "portrait.png.png") as drawn:
        assert drawn.size == (512, 512)
    assert len((tmp_path / "faces.jsonl").read_text().splitlines()) == 2


def test_scan_through_a_service_says_the_same(service: str, tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "portrait.png")  # type: ignore[no-untyped-call]
    here = command("scan", str(tmp_path), "--json", "-")
    there = command("scan", str(tmp_path), "--json", "-", "--url", service)
    assert here.returncode == there.returncode == 0
    assert here.stdout == there.stdout
    nobody = command("scan", str(tmp_path), "--url", "http://127.0.0.1:9")
    assert nobody.returncode == 1
    assert "no service answers at http://127.0.0.1:9" in nobody.stderr
