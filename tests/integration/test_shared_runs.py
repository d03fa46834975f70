"""Real networks whose callers share runs answer as they do alone; on a GPU all of them would, so one is pretended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import cv2
import numpy as np
import onnxruntime
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.imaging.align import ARCFACE_112, cut
from embedding_calculator.imaging.decode import Limits, open_picture
from embedding_calculator.imaging.picture import Picture
from embedding_calculator.library import FaceAnalyzer
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.importers import convert
from embedding_calculator.models.runtime import Model, Running
from embedding_calculator.models.runtime.batching import Batcher, joined
from embedding_calculator.models.runtime.network import Outputs
from embedding_calculator.models.runtime.onnx_runtime import OnnxRuntimeNetwork, Provider
from embedding_calculator.models.store import Store
from embedding_calculator.plugins.opencv_zoo import FaceDetector
from embedding_calculator.settings import Settings

pytestmark = pytest.mark.integration

CALLERS = 8
PHOTOS = ("003_A.jpg", "009_C.jpg", "012_4.jpg", "015_6.jpg")


class Whole:
    """A network that computes a batch as one, as engines do on accelerators; ``sizes`` has those of all runs."""

    running = Running("onnxruntime", "CPUExecutionProvider", "f32", 1)

    def __init__(self, path: Path) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.sizes: list[int] = []

    def run(self, batch: Floats) -> Outputs:
        self.sizes.append(len(batch))
        names = [output.name for output in self._session.get_outputs()]
        (image,) = self._session.get_inputs()
        return dict(zip(names, self._session.run(None, {image.name: batch}), strict=True))


def stored(name: str, file: str = "network") -> Path:
    return Store(Settings().models_dir).path(Catalog.load().entry(name), file)


def opened(path: Path) -> Picture:
    return open_picture(path.read_bytes(), limits=Limits(10**8, 10**9))


def share(network: Whole, inputs: list[Floats]) -> None:
    """Eight threads ask at once, several times; every answer is the one that came alone."""
    expected = [network.run(one) for one in inputs]
    batcher, start = Batcher(network), Barrier(CALLERS)
    network.sizes.clear()

    def ask(caller: int) -> None:
        start.wait()
        for turn in range(2):
            index = (caller + turn) % len(inputs)
            for name, answer in batcher.run(inputs[index]).items():
                np.testing.assert_allclose(answer, expected[index][name], rtol=0, atol=1e-5)

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(ask, range(CALLERS)))
    assert len(network.sizes) < 2 * CALLERS


def test_crops_of_faces_in_sface(shared: Path, load_model: Callable[[str], Model]) -> None:
    detector, calculator = FaceDetector(load_model("opencv_zoo.FaceDetector"), 640), load_model("opencv_zoo.Calculator")
    inputs = []
    for name in PHOTOS:
        photo = opened(shared / "data/samples" / name)
        faces = detector.detect(photo, detector.default_threshold)
        inputs.append(calculator.input.tensor(cut(photo, ARCFACE_112, faces.boxes, faces.landmarks)))
    assert sorted(map(len, inputs)) == [1, 1, 4, 6]
    share(Whole(stored("sface_2021dec")), inputs)


def test_photos_in_yunet(shared: Path, load_model: Callable[[str], Model]) -> None:
    spec = load_model("opencv_zoo.FaceDetector").input
    inputs = []
    for name in PHOTOS:
        pixels = cv2.resize(opened(shared / "data/samples" / name).raster(1.0).pixels, (320, 256))
        inputs.append(spec.tensor(pixels[None].astype(np.uint8)))
    share(Whole(stored("yunet_2023mar")), inputs)


def test_which_networks_share_runs(shared: Path, tmp_path: Path, load_model: Callable[[str], Model]) -> None:
    for plugin in ("opencv_zoo.FaceDetector", "opencv_zoo.Calculator", "facenet.FaceDetector", "dlib_zoo.AgeDetector"):
        load_model(plugin)
    store, catalog = Store(Settings().models_dir), Catalog.load()
    for name in ("yunet_2023mar", "sface_2021dec", "mtcnn", "dnn_age_predictor_v1"):
        entry = catalog.entry(name)
        for file, manifest in store.manifests(entry).items():
            assert isinstance(joined(Whole(store.path(entry, file)), manifest.probed), Batcher)

    published = shared / "models/insightface"
    retinaface = [published / "retinaface_mnet025_v1" / name for name in ("mnet10-symbol.json", "mnet10-0000.params")]
    convert("mxnet", retinaface, tmp_path / "retinaface.onnx", {})
    assert isinstance(joined(Whole(tmp_path / "retinaface.onnx"), (2, 3, 128, 128)), Batcher)

    # SCRFD lists the anchors of all pictures place by place, whatever the catalogue says of its batch.
    convert("onnx", [published / "det_500m/det_500m.onnx"], tmp_path / "scrfd.onnx", {})
    scrfd = Whole(tmp_path / "scrfd.onnx")
    assert joined(scrfd, (2, 3, 128, 128)) is scrfd


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a GPU gets the processor, with everything around it as on a GPU."""
    monkeypatch.setattr(Provider, "of_gpu", lambda *_: Provider())


@pytest.mark.usefixtures("pretended_gpu")
def test_photos_at_once_on_a_gpu(shared: Path, load_model: Callable[[str], Model]) -> None:
    for plugin in ("opencv_zoo.FaceDetector", "opencv_zoo.Calculator"):
        load_model(plugin)
    alone = FaceAnalyzer(extra_plugins=(), intel_optimization=False)
    together = FaceAnalyzer(extra_plugins=(), gpu_idx=0)
    photos = [shared / "data/samples" / name for name in PHOTOS]
    expected = [alone.find_faces(photo) for photo in photos]
    with ThreadPoolExecutor(CALLERS) as pool:
        for number, faces in enumerate(pool.map(together.find_faces, photos * 2)):
            for face, right in zip(faces, expected[number % len(photos)], strict=True):
                assert face.box == right.box
                assert face.embedding == pytest.approx(right.embedding, abs=1e-5)


@pytest.mark.usefixtures("pretended_gpu")
def test_every_canvas_is_met_before_the_first_photo(
    shared: Path, load_model: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    for plugin in ("opencv_zoo.FaceDetector", "opencv_zoo.Calculator"):
        load_model(plugin)
    met: set[tuple[int, ...]] = set()
    run = OnnxRuntimeNetwork.run

    def recorded(network: OnnxRuntimeNetwork, batch: Floats) -> Outputs:
        met.add(batch.shape[1:])
        return run(network, batch)

    monkeypatch.setattr(OnnxRuntimeNetwork, "run", recorded)
    analyzer = FaceAnalyzer(extra_plugins=(), gpu_idx=0)
    # YuNet's canvases, a window of its, the second look and the crop of a face, and what showed that they share runs.
    assert len(met) == 28 + 1 + 2 + 1
    warm = set(met)
    photo = opened(shared / "data/samples" / PHOTOS[0]).raster(1.0).pixels
    for width, height in np.random.default_rng(0).integers(32, 1200, (20, 2)).tolist():
        analyzer.find_faces(cv2.resize(photo, (width, height)).astype(np.uint8))
    assert met == warm
