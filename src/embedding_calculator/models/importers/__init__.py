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

REVISIONS: Mapping[str, int] = {}
"""Importers whose output has changed since their first release -> how often. What older ones made counts as missing."""


def convert(importer: str, parts: Sequence[Path], target: Path, options: Mapping[str, Any]) -> None:
    """Run one importer.

    Raises ModelError where it does not exist, needs a package that is not installed, or refuses the files. Errors of
    the operating system (a full disk) pass through.
    """
    module_name = f"{__name__}.{importer}"
    try:
        module = import_module(module_name)
        module.convert(parts, target, **options)
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
