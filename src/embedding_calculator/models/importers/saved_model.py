"""Keras networks saved as a TensorFlow SavedModel, in a zip, to ONNX. Needs the extra ``import-tensorflow``."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from embedding_calculator.errors import ModelError
from embedding_calculator.models.archive import extract_member
from embedding_calculator.models.importers.tensorflow_graph import refuse_unknown, tensorflow, write

_GRAPH = "saved_model.pb"
_MOST_BYTES = 1 << 30


# fmt: off
_OF_KERAS = {
    # Weights, and how they are loaded and saved.
    "AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints", "ReadVariableOp", "RestoreV2", "SaveV2", "Select",
    "ShardedFilename", "StaticRegexFullMatch", "StringJoin", "VarHandleOp", "VarIsInitializedOp",
    # Functions, and what they have for training: moving averages, dropout, regularisation.
    "AssignAddVariableOp", "AssignSubVariableOp", "Fill", "Greater", "GreaterEqual", "If", "L2Loss", "Less",
    "LogicalAnd", "PartitionedCall", "RandomUniform", "Range", "Rank", "SelectV2", "StatefulPartitionedCall",
    "StatelessIf", "ZerosLike",
}
"""What else a file that Keras saved has. TensorFlow warns that a SavedModel is a program, so no more is loaded."""
# fmt: on


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
        _refuse_programs(Path(folder) / _GRAPH, part.name)
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


def _refuse_programs(graph: Path, name: str) -> None:
    """Look through the whole file before TensorFlow loads it, functions that are never called included."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel()
    try:
        saved.ParseFromString(graph.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{name} holds no usable SavedModel: {error}. Fetch it again.") from error
    for meta in saved.meta_graphs:
        refuse_unknown(meta.graph_def.node, _OF_KERAS)
        for function in meta.graph_def.library.function:
            refuse_unknown(function.node_def, _OF_KERAS)


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
