"""Every InsightFace model whose weights nobody here has: from a publisher to a plugin's answer, with made weights.

What is made is the architecture; what is proved is everything else: the entry's importer and options, the patterns of
its archive's members, the order of colours, and the plugin that reads the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from skimage.data import astronaut
from typer.testing import CliRunner

from embedding_calculator.arrays import Floats, Pixels
from embedding_calculator.cli import app
from embedding_calculator.imaging.align import cut
from embedding_calculator.imaging.picture import ArrayPicture
from embedding_calculator.models.catalog import Catalog, Entry
from embedding_calculator.models.runtime import Model
from embedding_calculator.models.store import State, Store
from embedding_calculator.plugins.base import Detections, Detector, FaceBatch, FacePlugin
from embedding_calculator.plugins.registry import PluginName, Registry
from made.arcface import fresnet, mobilefacenet
from made.catalogue import PACKAGED, archives, contents, installed, left_behind, with_hashes_of
from made.evaluator import evaluate
from made.landmarks import landmarks106
from made.mxnet import Published
from made.packs import iresnet, mobile, scrfd_10g
from made.retinaface import r50
from publisher import republished, serving

pytestmark = pytest.mark.integration

PHOTO: Pixels = astronaut()  # type: ignore[no-untyped-call]
FACE = Detections(
    np.array([[173, 70, 276, 196]], np.float32),
    np.ones(1, np.float32),
    np.array([[[204, 112], [247, 114], [223, 138], [205, 157], [244, 159]]], np.float32),
)


@dataclass(frozen=True)
class Network:
    """One published network, the entries that use it, and how many numbers it answers for a face."""

    name: str
    make: Callable[[], Published | bytes]
    answers: int = 512
    folder: str = ""
    """Where the files lie inside the archive."""
    small: bool = False
    sizes: tuple[tuple[int, int], ...] = ((480, 320), (275, 203))
    """Width and height of pictures for a detector: one that its strides divide, and one that they do not."""

    @property
    def entries(self) -> tuple[str, ...]:
        sibling = f"{self.name}-rgb"
        return (self.name, sibling) if any(entry.name == sibling for entry in PACKAGED) else (self.name,)


def large(*arguments: Any, **more: Any) -> Any:
    """A network of more than a hundred megabytes whose architecture a smaller one stands for."""
    network = Network(*arguments, **more)
    return pytest.param(network, marks=pytest.mark.performance, id=network.name)


NETWORKS: list[Any] = [
    Network("retinaface_r50_v1", r50, 0),
    Network("det_10g", scrfd_10g, 0, sizes=((480, 320), (256, 192))),
    Network("arcface_resnet34", lambda: fresnet(34), folder="model-r34-amf"),
    large("arcface_resnet50", lambda: fresnet(50)),
    large("arcface_r100_v1", lambda: fresnet(100)),
    large("arcface-r50-msfdrop75", lambda: fresnet(50, seed=11)),
    large("arcface-r100-msfdrop75", lambda: fresnet(100, seed=12)),
    Network("arcface_mobilefacenet_casia_masked", mobilefacenet, 128, small=True),
    Network("w600k_mbf", mobile, small=True),
    large("w600k_r50", lambda: iresnet(50, "683", seed=5)),
    large("glintr100", lambda: iresnet(100, "1333", seed=6), folder="antelopev2"),
    Network("2d106det", landmarks106, 212, small=True),
]


@dataclass(frozen=True)
class Pulled:
    """What ``models pull`` left, and what it said."""

    network: Network
    published: Published | bytes
    entries: list[Entry]
    store: Store
    told: str
    asked: list[str | None]

    def model(self, name: str) -> Model:
        (entry,) = (entry for entry in self.entries if entry.name == name)
        return self.store.open(entry)


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network.name)
def pulled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulled]:
    network: Network = request.param
    models, published = tmp_path_factory.mktemp("models"), network.make()
    with serving() as publisher:
        entries = []
        for name in network.entries:
            entry = PACKAGED.entry(name)
            files = contents(entry, published)
            entry = with_hashes_of(entry, files)
            entries.append(republished(entry, archives(entry, files, network.folder), publisher))
        for page in publisher.pages.values():
            page.cut_after = [len(page.content) // 2]  # the connection breaks once
        with installed(entries, models):
            arguments = ["models", "pull", *network.entries, "--accept-licence"]
            result = CliRunner().invoke(app, arguments, catch_exceptions=False)
            asked = [ranges for _, ranges in publisher.asked]
        assert result.exit_code == 0
    yield Pulled(network, published, entries, Store(models), result.stderr, asked)
    for path in models.rglob("*.onnx"):
        path.unlink()


def test_every_entry_without_authentic_weights_is_here() -> None:
    networks = [getattr(network, "values", [network])[0] for network in NETWORKS]
    proved = [name for network in networks for name in network.entries]
    insightface = [entry for entry in PACKAGED if entry.plugins[0].startswith("insightface.")]
    assert sorted(proved) == sorted(
        entry.name
        for entry in insightface
        if entry.verified == "architecture" and entry.files["network"].importer in {"mxnet", "onnx"}
    )


def test_it_is_fetched_once_and_whole(pulled: Pulled) -> None:
    first, second = pulled.asked
    assert first is None
    assert second is not None
    assert second.startswith("bytes=")
    (path,) = {pulled.store.path(entry) for entry in pulled.entries}
    folder = path.parent.relative_to(pulled.store.root)
    assert left_behind(pulled.store.root) == [
        f"{folder}/{name}" for name in ("golden.npz", "manifest.json", "network.onnx")
    ]
    for entry in pulled.entries:
        assert pulled.store.verify(entry) is State.VERIFIED
        assert f"{entry.name}: fetched (InsightFace: non-commercial research)" in pulled.told
        for part in entry.parts:
            unknown = f"{part.filename}: its publisher tells no hash; pinned"
            assert (unknown in pulled.told) == (not (part.sha256 or part.sha1))


def test_it_answers_what_its_graph_means(pulled: Pulled) -> None:
    model = pulled.model(pulled.network.name)
    if model.input.size is None:
        batches = [window(*size)[None] for size in pulled.network.sizes]
    else:
        crops = np.stack([window(*model.input.size, shift=8 * number) for number in range(8)])
        batches = [crops[:1], crops] if pulled.network.small else [crops[:1]]
    for batch in map(model.input.tensor, batches):
        answers, expected = model.network.run(batch), meant(pulled.published, batch)
        assert answers.keys() == expected.keys()
        for name, answer in answers.items():
            assert answer.shape == expected[name].shape
            np.testing.assert_allclose(answer, expected[name], atol=1e-4 * max(1, np.abs(expected[name]).max()))


def window(width: int, height: int, shift: int = 0) -> Pixels:
    """A part of the photo with the face in it."""
    return PHOTO[40 + shift : 40 + shift + height, 100 + shift : 100 + shift + width]


def meant(published: Published | bytes, batch: Floats) -> dict[str, Floats]:
    """What the published network answers, by numpy for MXNet, and as it is, one picture at a time, for ONNX."""
    if isinstance(published, Published):
        return evaluate(published.document, published.arrays, batch)
    session = ort.InferenceSession(published, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(None, {"input.1": picture[None]}) for picture in batch]
    return {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*rows, strict=True), strict=True)}


def test_its_plugins_answer_about_a_face(pulled: Pulled) -> None:
    answers = {}
    for entry in pulled.entries:
        for name in entry.plugins:
            plugin = Registry(Catalog(pulled.entries)).load(PluginName(name, entry.name))
            model = pulled.model(entry.name)
            # A network that takes the planes the other way round sees the same in a picture whose planes are swapped.
            photo = np.ascontiguousarray(PHOTO[..., ::-1]) if entry.name.endswith("-rgb") else PHOTO
            if pulled.network.answers:
                answers[entry.name] = about_the_face(plugin(model), photo, pulled.network.answers)
            else:
                answers[entry.name] = faces_in(plugin(model, max_side=512), photo)
    one, *others = answers.values()
    for other in others:
        np.testing.assert_array_equal(one, other)


def about_the_face(plugin: FacePlugin, photo: Pixels, answers: int) -> Floats:
    crop = plugin.crop
    assert crop is not None
    crops = cut(ArrayPicture(photo), crop, FACE.boxes, FACE.landmarks)
    (fields,) = plugin(FaceBatch(photo.shape[1], photo.shape[0], FACE, {crop: crops}))
    ((kind, values),) = fields.items()
    array = np.asarray(values)
    assert np.isfinite(array).all()
    assert np.ptp(array) > 0
    if kind == "landmarks":
        assert array.dtype == np.int32
        assert array.shape == (106, 2)
    else:
        assert kind == "embedding"
        assert array.dtype == np.float32
        assert array.shape == (answers,)
    return array


def faces_in(detector: Detector, photo: Pixels) -> Floats:
    found = detector.detect(ArrayPicture(photo), detector.default_threshold)
    assert len(found) > 0
    assert found.boxes.shape == (len(found), 4)
    assert found.landmarks.shape == (len(found), 5, 2)
    assert found.probabilities.shape == (len(found),)
    assert (found.probabilities > detector.default_threshold).all()
    for array in (found.boxes, found.landmarks, found.probabilities):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    boxes: Floats = found.boxes
    return boxes
