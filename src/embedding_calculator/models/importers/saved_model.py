"""Keras networks saved as a TensorFlow SavedModel, in a zip, to ONNX. Needs the extra ``import-tensorflow``."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from embedding_calculator.errors import ModelError
from embedding_calculator.models.archive import extract_member
from embedding_calculator.models.importers.tensorflow_graph import tensorflow, write

_GRAPH = "saved_model.pb"
_MOST_BYTES = 1 << 30


def convert(parts: Sequence[Path], target: Path, *, signature: str = "serving_default") -> None:
    """Write the function that the SavedModel in the zip serves as float32 ONNX; its one input is a picture.

    The weights' files have other names from release to release of TensorFlow, so the zip as published is the part.

    Raises:
        ModelError: the zip holds no sound SavedModel with this signature, of one input and one output, or it has an
            operator that is not known; or the extra is not installed.
    """
    tf = tensorflow()
    (part,) = parts
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        _unpack(part, Path(folder))
        try:
            loaded = tf.saved_model.load(folder, tags=["serve"])
            function = loaded.signatures[signature]
        except (tf.errors.OpError, OSError, KeyError, ValueError, RuntimeError) as error:
            raise ModelError(f"{part.name} holds no usable SavedModel ({signature}): {error}") from error
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        frozen = convert_variables_to_constants_v2(function)
        if len(frozen.inputs) != 1 or len(frozen.outputs) != 1:
            raise ModelError(
                f"{part.name} has {len(frozen.inputs)} inputs and {len(frozen.outputs)} outputs; one of each is needed"
            )
        write(frozen.graph.as_graph_def(), frozen.inputs[0].name, frozen.outputs[0].name, target)


def _unpack(part: Path, folder: Path) -> None:
    """The graph and the weights of the one SavedModel of the zip, whatever folder they lie in there."""
    try:
        with zipfile.ZipFile(part) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ModelError(f"{part.name} is not a sound zip: {error}. Fetch it again.") from error
    graphs = [PurePosixPath(name) for name in names if PurePosixPath(name).name == _GRAPH]
    if len(graphs) != 1:
        raise ModelError(f"{part.name} holds {len(graphs) or 'no'} files {_GRAPH}, exactly one is needed")
    root = graphs[0].parent
    (folder / "variables").mkdir()
    extract_member(part, str(graphs[0]), folder / _GRAPH, _MOST_BYTES)
    for name in names:
        path = PurePosixPath(name)
        if path.parent == root / "variables" and not name.endswith("/"):
            extract_member(part, name, folder / "variables" / path.name, _MOST_BYTES)
