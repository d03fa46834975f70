"""The plugin package of docs/plugins.md, installed as somebody would and asked through the service."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageFilter
from skimage.data import astronaut

from conftest import run_service
from pages import code_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed in it."""
    project, target = tmp_path_factory.mktemp("face-sharpness"), tmp_path_factory.mktemp("site-packages")
    (project / "face_sharpness.py").write_text(code_of("plugins.md", "python"))
    (project / "pyproject.toml").write_text(code_of("plugins.md", "toml"))
    options = [
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
        str(target),
    ]
    command = [sys.executable, "-m", "pip", "install", *options, str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_it_tells_how_sharp_a_face_is(site_packages: Path) -> None:
    photo = Image.fromarray(astronaut())  # type: ignore[no-untyped-call]
    blurred = photo.filter(ImageFilter.GaussianBlur(3))
    environment = {
        "EXTRA_PLUGINS": "opencv_zoo.LandmarksDetector sharp.SharpnessMeter",
        "PYTHONPATH": str(site_packages),
    }
    with run_service(**environment) as url:
        assert httpx.get(url + "/status").json()["available_plugins"]["sharpness"] == "sharp.SharpnessMeter"
        sharpness = []
        for image in (photo, blurred):
            stream = io.BytesIO()
            image.save(stream, "PNG")
            answer = httpx.post(
                url + "/find_faces", params={"face_plugins": "sharpness"}, files={"file": stream.getvalue()}
            ).json()
            (face,) = answer["result"]
            assert "sharpness" in face["execution_time"]
            sharpness.append(face["sharpness"])
    assert sharpness[0] > 5 * sharpness[1] > 0
