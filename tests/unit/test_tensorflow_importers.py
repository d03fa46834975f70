"""TensorFlow's formats, from the published zip to answers that TensorFlow itself gives: ``make test-importers``."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from astronaut import face_batch

from embedding_calculator.arrays import Floats
from embedding_calculator.errors import ModelError
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.importers import frozen_graph, inception_v3, saved_model
from embedding_calculator.models.runtime import Model
from embedding_calculator.models.sources import Sources
from embedding_calculator.models.store import Store
from embedding_calculator.plugins.facenet import Calculator
from embedding_calculator.plugins.facenet.facemask import MaskDetector
from embedding_calculator.plugins.rude_carnie import AgeDetector, GenderDetector
from publisher import republished, serving, zip_of

pytest.importorskip("tensorflow", reason="needs TensorFlow: make test-importers")
pytest.importorskip("tf_slim", reason="needs TensorFlow-Slim: make test-importers")

import tensorflow_reference as reference

# TensorFlow and its companions warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")

Answer = Callable[[Floats], Floats]


def pulled(folder: Path, name: str, published: bytes) -> Model:
    """The catalogue's entry, with what its address is to answer, pulled and opened."""
    entry = Catalog.load().entry(name)
    store = Store(folder / "models")
    with serving() as publisher:
        contents = {str(source.url): published for part in entry.parts for source in part.sources}
        entry = republished(entry, contents, publisher)
        store.pull([entry], Sources())
    return store.open(entry)


def agree(model: Model, expected: Answer, *sides: int) -> None:
    """One picture and eight, of every size, within 1e-4 of TensorFlow."""
    for side in sides:
        for batch in (1, 8):
            pictures = reference.made("pictures", (batch, 3, side, side))
            (answer,) = model.network.run(pictures).values()
            np.testing.assert_allclose(answer, expected(pictures), atol=1e-4)


def test_facenet_frozen(tmp_path: Path) -> None:
    graph = reference.facenet()

    def expected(batch: Floats) -> Floats:
        return reference.run(graph, "input:0", "embeddings:0", batch, phase_train=False)

    model = pulled(tmp_path, "inception_resnetv1_casia_masked", zip_of(**{"casia/m.pb": graph.SerializeToString()}))
    agree(model, expected, 160)
    calculator = Calculator(model)
    (fields,) = calculator(face_batch(calculator.crop))
    assert fields["embedding"].shape == (512,)
    assert np.linalg.norm(fields["embedding"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("name", "classes"), [("22801", 8), ("21936", 2)])
def test_rude_carnie(tmp_path: Path, name: str, classes: int) -> None:
    index, data, expected = reference.rude_carnie(tmp_path, classes)
    meta = index.with_suffix(".meta")
    model = pulled(tmp_path, name, zip_of(**{path.name: path.read_bytes() for path in (index, data, meta)}))
    agree(model, expected, 160, 112)
    plugin = AgeDetector(model) if classes == 8 else GenderDetector(model)
    (fields,) = plugin(face_batch(plugin.crop))
    (answer,) = fields.values()
    assert 1 / classes < answer.probability <= 1


def test_keras_mask(tmp_path: Path) -> None:
    folder = tmp_path / "inception_v3_on_mafa_kaggle123"
    expected = reference.keras_mask(folder)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    model = pulled(tmp_path, "inception_v3_on_mafa_kaggle123", buffer.getvalue())
    agree(model, expected, 100)
    detector = MaskDetector(model)
    (fields,) = detector(face_batch(detector.crop))
    assert fields["mask"].probability > 1 / 3


def frozen(tmp_path: Path, content: bytes, **changes: str | Mapping[str, bool]) -> None:
    (tmp_path / "graph.pb").write_bytes(content)
    options = {"image": "input", "output": "output", **changes}
    frozen_graph.convert([tmp_path / "graph.pb"], tmp_path / "network.onnx", size=(8, 8), **options)  # type: ignore[arg-type]


def test_unknown_operators_and_nodes_are_refused_by_name(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        picture = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), "input")
        told = tf.strings.to_number(tf.io.read_file("/etc/hostname", name="peek"))
        tf.add(picture, told, "output")
    content = graph.as_graph_def().SerializeToString()
    with pytest.raises(ModelError, match=r"operator (ReadFile \(node 'peek'\)|StringToNumber .*) is not supported"):
        frozen(tmp_path, content)
    with pytest.raises(ModelError, match=r"graph\.pb has no node 'answer'"):
        frozen(tmp_path, content, output="answer")
    with pytest.raises(ModelError, match=r"graph\.pb has no node 'phase'"):
        frozen(tmp_path, content, flags={"phase": False})
    assert not (tmp_path / "network.onnx").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"graph\.pb is not a frozen TensorFlow graph"):
        frozen(tmp_path, b"no graph at all")
    for name in ("c.index", "c.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"no checkpoint at all")
    parts = [tmp_path / "c.index", tmp_path / "c.data-00000-of-00001"]
    with pytest.raises(ModelError, match=r"c\.index is not a TensorFlow checkpoint"):
        inception_v3.convert(parts, tmp_path / "network.onnx", classes=2)
    (tmp_path / "mask.zip").write_bytes(zip_of(**{"saved_model.pb": b"no model", "variables/variables.index": b""}))
    with pytest.raises(ModelError, match=r"mask\.zip holds no usable SavedModel"):
        saved_model.convert([tmp_path / "mask.zip"], tmp_path / "network.onnx")
    (tmp_path / "mask.zip").write_bytes(zip_of(**{"readme.txt": b"no model"}))
    with pytest.raises(ModelError, match=r"mask\.zip holds no files saved_model\.pb"):
        saved_model.convert([tmp_path / "mask.zip"], tmp_path / "network.onnx")


def test_a_saved_program_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    import tensorflow as tf

    class Program(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)])  # type: ignore[untyped-decorator]
        def serve(self, picture: object) -> object:
            tf.io.write_file(str(tmp_path / "written"), "by the model")
            return tf.nn.relu(picture)

    program = Program()
    tf.saved_model.save(program, str(tmp_path / "program"), signatures=program.serve)
    with zipfile.ZipFile(tmp_path / "mask.zip", "w") as archive:
        for path in (tmp_path / "program").rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    with pytest.raises(ModelError, match=r"operator WriteFile .* is not supported"):
        saved_model.convert([tmp_path / "mask.zip"], tmp_path / "network.onnx")
    assert not (tmp_path / "written").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        other = tf.compat.v1.get_variable("other", [2])
        other.load([1, 2], session)
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "c"))
    parts = [tmp_path / "c.index", tmp_path / "c.data-00000-of-00001"]
    with pytest.raises(ModelError, match=r"c\.index has not the weights of Inception-v3: 'InceptionV3/Conv2d_1a_3x3"):
        inception_v3.convert(parts, tmp_path / "network.onnx", classes=2)
