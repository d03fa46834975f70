"""The same answers whatever engine computes them, on real photos; memory that stays; the choice that ``tune`` makes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from embedding_calculator.cli import app
from embedding_calculator.library import FaceAnalyzer
from embedding_calculator.models.runtime import Model, tuning
from embedding_calculator.results import Face
from embedding_calculator.settings import Settings

pytestmark = pytest.mark.integration

PHOTOS = ("003_A.jpg", "009_C.jpg", "012_4.jpg", "015_6.jpg")


def faces(shared: Path, **settings: object) -> list[Face]:
    """Of all photos, those of a photo from left to right."""
    analyzer = FaceAnalyzer(**settings)
    photos = [analyzer.find_faces(shared / "data/samples" / name) for name in PHOTOS]
    return [face for found in photos for face in sorted(found, key=lambda face: face.box.x_min)]


@pytest.fixture(scope="module")
def reference(shared: Path, load_model: Callable[[str], Model]) -> list[Face]:
    """By ONNX Runtime in float32."""
    pytest.importorskip("openvino")
    load_model("opencv_zoo.FaceDetector")
    found = faces(shared, intel_optimization=False)
    assert len(found) == 12
    return found


@pytest.mark.parametrize("settings", [{}, {"intel_optimization": True}, {"inference_precision": "f32"}], ids=str)
def test_engines_agree(shared: Path, reference: list[Face], settings: dict[str, object]) -> None:
    found = faces(shared, **settings)
    assert len(found) == len(reference)
    exact = settings.get("inference_precision") == "f32"
    for face, right in zip(found, reference, strict=True):
        corners, expected = ([box.x_min, box.y_min, box.x_max, box.y_max] for box in (face.box, right.box))
        assert np.abs(np.subtract(corners, expected)).max() <= 1
        assert face.embedding is not None
        assert right.embedding is not None
        assert face.embedding @ right.embedding >= (0.9999 if exact else 0.999)
        assert face.age
        assert right.age
        assert abs(face.age.low + face.age.high - right.age.low - right.age.high) / 2 <= 1
        assert face.gender
        assert right.gender
        assert face.gender.value == right.gender.value
        assert face.gender.probability == pytest.approx(right.gender.probability, abs=0.05)


def test_mtcnn_on_either_engine(shared: Path, load_model: Callable[[str], Model]) -> None:
    pytest.importorskip("openvino")
    load_model("facenet.FaceDetector")
    settings = {"face_detection_plugin": "facenet.FaceDetector", "extra_plugins": ()}
    found, reference = (faces(shared, intel_optimization=which, **settings) for which in (True, False))
    assert len(found) == len(reference)
    for face, right in zip(found, reference, strict=True):
        # Its whole pixels, cut off and not rounded, make a pixel of the shrunk picture of the last bit.
        corners, expected = ([box.x_min, box.y_min, box.x_max, box.y_max] for box in (face.box, right.box))
        assert np.abs(np.subtract(corners, expected)).max() <= 0.04 * (right.box.x_max - right.box.x_min) + 1


_SIZES = """
import re, sys
import cv2, numpy as np
from pathlib import Path
from embedding_calculator.library import FaceAnalyzer

def resident():
    return int(re.search(r"VmRSS:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

analyzer = FaceAnalyzer()
one, *_, four = [cv2.cvtColor(cv2.imread(name), cv2.COLOR_BGR2RGB) for name in sys.argv[1:]]
seen = []
for size in np.random.default_rng(0).integers(64, 1200, (200, 2)).tolist():
    analyzer.find_faces(cv2.resize(one if len(seen) % 5 else four, size))
    seen.append(resident())
loaded = [name for name in ("onnxruntime", "openvino") if name in sys.modules]
print(seen[60], seen[-1], *loaded)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
@pytest.mark.parametrize(
    ("optimization", "engines"),
    [("", ["onnxruntime", "openvino"]), ("true", ["openvino"]), ("false", ["onnxruntime"])],
)
def test_memory_does_not_grow_with_sizes_met(
    shared: Path,
    load_model: Callable[[str], Model],
    optimization: str,
    engines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("openvino")
    load_model("opencv_zoo.FaceDetector")
    monkeypatch.setenv("INTEL_OPTIMIZATION", optimization)
    command = [sys.executable, "-c", _SIZES, *(str(shared / "data/samples" / name) for name in PHOTOS[::2])]
    early, late, *loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(late) < 1.12 * int(early)
    assert int(late) < 600 * 1024
    # An engine that runs no network is not even loaded. Without bf16 on this machine, there may be fewer.
    assert set(loaded) <= set(engines)


def test_tune(tmp_path: Path, load_model: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch) -> None:
    for plugin in ("opencv_zoo.FaceDetector", "opencv_zoo.Calculator"):
        load_model(plugin)
    (tmp_path / "store").symlink_to(Settings().models_dir / "store", target_is_directory=True)
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("EXTRA_PLUGINS", " ")
    monkeypatch.setattr(tuning, "_ROUND_SECONDS", 0.02)
    monkeypatch.setattr(tuning, "_ROUNDS", 2)
    runner = CliRunner(env={"COLUMNS": "80"})
    shown = runner.invoke(app, ["tune", "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "\nsface_2021dec, 1x3x112x112\n" in shown.output
    assert shown.output.count("fastest") == shown.output.count("in use") == 3
    assert "…" not in shown.output
    assert not (tmp_path / "tuning.json").exists()

    shown = runner.invoke(app, ["tune", "--batches"])
    assert shown.exit_code == 0, shown.output
    assert "3x112x112" in shown.output
    assert not (tmp_path / "tuning.json").exists()

    assert runner.invoke(app, ["tune"]).exit_code == 0
    plans = json.loads((tmp_path / "tuning.json").read_bytes())["plans"]
    assert len(plans) == 3
    for plan in plans.values():
        plan.update(engine="onnxruntime", precision="f32")
    document = json.loads((tmp_path / "tuning.json").read_bytes()) | {"plans": plans}
    (tmp_path / "tuning.json").write_text(json.dumps(document))
    monkeypatch.delenv("EXTRA_PLUGINS")
    program = (
        "import sys; from embedding_calculator.library import FaceAnalyzer\n"
        "FaceAnalyzer(extra_plugins=()); print('openvino' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["False"]
