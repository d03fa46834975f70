"""INT8 variants, made by our own command: how near they stay to float32 on real photos, and when they are not used."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from skimage.data import astronaut
from typer.testing import CliRunner, Result

from embedding_calculator.arrays import Floats
from embedding_calculator.cli import app
from embedding_calculator.engine.assembly import build, require_models
from embedding_calculator.errors import ConfigurationError, InputError, ModelError
from embedding_calculator.evaluation.pairs import embed
from embedding_calculator.library import FaceAnalyzer
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.runtime import Model
from embedding_calculator.models.store import Store
from embedding_calculator.models.variants import Variant, VariantState
from embedding_calculator.settings import Settings

pytestmark = pytest.mark.integration

INT8 = {"inference_precision": "int8", "extra_plugins": ()}
PLAIN = {"inference_precision": "f32", "extra_plugins": ()}


@pytest.fixture
def store(tmp_path: Path, load_model: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of one's own with the default detector and calculator."""
    pytest.importorskip("openvino")
    kept = Store(Settings().models_dir)
    for plugin in ("opencv_zoo.FaceDetector", "opencv_zoo.Calculator"):
        load_model(plugin)
        entry = Catalog.load().find(plugin)
        for file in entry.files:
            folder = kept.path(entry, file).parent
            shutil.copytree(folder, tmp_path / "models/store" / folder.name, ignore=shutil.ignore_patterns("int8"))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    return Store(tmp_path / "models")


def quantize(*photos: Path) -> Result:
    arguments = ["models", "quantize", "opencv_zoo.Calculator", *map(str, photos)]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)


def variant_of(store: Store) -> Variant:
    variant = store.int8_variant(Catalog.load().entry("sface_2021dec"))
    assert variant
    return variant


def embeddings(analyzer: FaceAnalyzer, photos: list[Path]) -> Floats:
    found = [face for photo in photos for face in analyzer.find_faces(photo, plugins=("calculator",))]
    return np.array([face.embedding for face in found])


def test_faces_in_int8_stay_near_to_float32(shared: Path, store: Store) -> None:
    """Cosines measured on these ten, with ranges from blurred faces of street photos: 0.988 to 0.995."""
    street = sorted((shared / "data/boxes/images").iterdir())[:24]
    told = quantize(*street)
    assert told.exit_code == 0, told.output
    variant = variant_of(store)
    assert variant.in_float == ("conv_1_conv2d",)
    assert f"{variant.worst_cosine:.4f}" in told.stdout
    assert variant.median_cosine > 0.985
    assert variant.bytes < 0.3 * store.manifests(Catalog.load().entry("sface_2021dec"))["network"].bytes

    with (shared / "data/samples/persons.csv").open(newline="") as file:
        person = {row["image"]: row["person"] for row in csv.DictReader(file)}
    int8, float32 = FaceAnalyzer(**INT8), FaceAnalyzer(**PLAIN)
    photos = [shared / "data/samples" / name for name in person]
    cosines = (embeddings(int8, photos) * embeddings(float32, photos)).sum(axis=1)
    assert len(cosines) >= len(person)
    assert cosines.min() > 0.97

    vectors = {photo.name: np.array(embed(int8, photo.read_bytes())["embedding"]) for photo in photos}
    for one, other in combinations(person, 2):
        same = person[one] == person[other]
        assert (int8.similarity(vectors[one], vectors[other]) > 0.5) == same, (one, other)


@pytest.fixture
def astronauts(tmp_path: Path) -> list[Path]:
    """One face in many lights: enough to make a variant for that face."""
    folder = tmp_path / "astronauts"
    folder.mkdir()
    photo = Image.fromarray(astronaut()).crop((60, 0, 380, 320))  # type: ignore[no-untyped-call]
    for number in range(30):
        seen = ImageEnhance.Brightness(photo).enhance(0.6 + 0.03 * number).rotate(number - 15)
        (ImageOps.mirror(seen) if number % 2 else seen).save(folder / f"{number:02}.png")
    return [folder]


def test_from_photos_to_a_service_in_int8(store: Store, astronauts: list[Path]) -> None:
    told = quantize(*astronauts)
    assert told.exit_code == 0
    assert told.stderr.count("only 20 faces to calibrate on: it is done, but a hundred are advised") == 1
    running = build(Settings(**INT8)).running
    assert running["sface_2021dec"]["network"].precision == "int8"
    assert running["sface_2021dec"]["network"].engine == "openvino"
    assert {how.precision for how in running["yunet_2023mar"].values()} <= {"f32", "bf16"}

    photo = [next(astronauts[0].iterdir())]
    (cosine,) = (embeddings(FaceAnalyzer(**INT8), photo) * embeddings(FaceAnalyzer(**PLAIN), photo)).sum(axis=1)
    assert 0.98 < cosine < 0.99999  # It is another network.

    listed = json.loads(CliRunner().invoke(app, ["models", "list", "--json"]).stdout)
    assert {row["name"]: row["int8"] for row in listed}["sface_2021dec"] == "present"
    assert "in INT8" in CliRunner(env={"COLUMNS": "200"}).invoke(app, ["models", "list"]).stdout
    assert "sface_2021dec int8: verified" in CliRunner().invoke(app, ["models", "verify"]).stdout

    network = store.int8_path(Catalog.load().entry("sface_2021dec"))
    assert network
    network.write_bytes(network.read_bytes()[:-1])
    with pytest.raises(ConfigurationError, match=r"\(damaged\): embedding-calculator models quantize sface_2021dec"):
        FaceAnalyzer(**INT8)
    told = CliRunner().invoke(app, ["models", "verify"])
    assert told.exit_code == 1
    assert "sface_2021dec int8: damaged; make it anew: embedding-calculator models quantize" in told.stdout


def test_too_few_faces_and_models_without_embeddings_are_told(store: Store, astronauts: list[Path]) -> None:
    few = sorted(astronauts[0].iterdir())[:5]
    assert isinstance(error := quantize(*few).exception, InputError)
    assert "4 to calibrate on and 1 in other photos" in str(error)
    detector = CliRunner().invoke(app, ["models", "quantize", "yunet_2023mar", *map(str, few)])
    assert isinstance(detector.exception, ConfigurationError)
    assert "makes no embeddings" in str(detector.exception)
    assert store.int8_variant(Catalog.load().entry("sface_2021dec")) is None


def test_a_variant_that_is_too_far_from_float32_is_not_kept(
    store: Store, astronauts: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedding_calculator.models.quantization._CLIPPED", 0.03)
    assert isinstance(error := quantize(*astronauts).exception, ModelError)
    assert "is not kept" in str(error)
    assert store.int8_variant(Catalog.load().entry("sface_2021dec")) is None


@pytest.mark.usefixtures("store")
def test_int8_without_a_variant(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigurationError, match=r"sface_2021dec \(missing\): .* models quantize sface_2021dec PHOTOS"):
        require_models(Settings(**INT8))

    # Of two calculators one has a variant: the other runs as it would without, and the log says what to do.
    def state(_: Store, entry: object) -> VariantState:
        return VariantState.MISSING if getattr(entry, "name", "") == "sface_2021dec" else VariantState.PRESENT

    monkeypatch.setattr(Store, "int8_state", state)
    monkeypatch.setattr("embedding_calculator.engine.assembly._require", lambda *_: None)
    require_models(Settings(**INT8, calculation_plugin=("opencv_zoo.Calculator", "insightface.Calculator")))
    assert "means auto for sface_2021dec (missing): embedding-calculator models quantize" in caplog.text
