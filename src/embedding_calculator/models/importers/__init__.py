"""Published formats to plain float32 ONNX. Run once, when a model is pulled; never in the service.

An importer is a module of this package with ``convert(parts, target, **options)``: it reads the published files
``parts``, in the order of the catalogue, and writes ONNX to ``target``. ``options`` are the extra keys of the file's
table in the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from embedding_calculator.errors import ModelError

REVISIONS: Mapping[str, int] = {"onnx": 1}
"""Importers whose output has changed since their first release -> how often. What older ones made counts as missing."""


def convert(importer: str, parts: Sequence[Path], target: Path, options: Mapping[str, Any]) -> None:
    """Run one importer, and make its weights quick to compute with: see ``flush_subnormals``.

    Raises ModelError where it does not exist, needs a package that is not installed, or refuses the files. Errors of
    the operating system (a full disk) pass through.
    """
    module_name = f"{__name__}.{importer}"
    try:
        module = import_module(module_name)
        module.convert(parts, target, **options)
        flush_subnormals(target)
    except ModuleNotFoundError as error:
        if error.name == module_name:
            raise ModelError(f"there is no importer {importer!r}") from error
        raise ModelError(
            f"the importer {importer!r} needs the package {error.name!r}, which is not installed"
        ) from error
    except (ModelError, OSError):
        raise
    except Exception as error:  # a damaged file can make a parser fail in any way
        raise ModelError(f"the importer {importer!r} failed: {type(error).__name__}: {error}") from error


def flush_subnormals(path: Path) -> None:
    """Make zeros of float32 weights so small that a processor computes with them in microcode.

    Weight decay leaves such numbers (below 1.2e-38) in channels that died in training. They contribute nothing to any
    answer, but each multiplication with one takes a hundred times as long: the age network of dlib, with 6,667 of
    them, took 7.0 ms a face and takes 0.9, bit for bit the same.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path, load_external_data=False)
    changed = False
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            weights = numpy_helper.to_array(tensor)
            tiny = (weights != 0) & (np.abs(weights) < np.finfo(np.float32).smallest_normal)
            if tiny.any():
                tensor.CopyFrom(numpy_helper.from_array(np.where(tiny, np.float32(0), weights), tensor.name))
                changed = True
    if changed:
        onnx.save(model, path)
