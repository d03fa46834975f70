"""Fuzz one target until libFuzzer ends this process: ``python -m fuzz.one TARGET [libFuzzer's flags and folders]``."""

from __future__ import annotations

import sys
import warnings

import atheris

# Before anything imports them: code is instrumented for coverage as it is imported.
with atheris.instrument_imports(
    include=["embedding_calculator", "PIL", "pillow_heif", "python_multipart", "pickletools", "zipfile", "quopri"]
):
    from fuzz.targets import NEEDS_TENSORFLOW, TARGETS

from embedding_calculator.models.importers.tensorflow_graph import tensorflow


def main() -> None:
    """The first argument is the target's name, the others are libFuzzer's."""
    name, *flags = sys.argv[1:]
    if name in NEEDS_TENSORFLOW:
        tensorflow()  # Importing it takes seconds, which would be the first input's.
    warnings.simplefilter("ignore")  # Pillow tells of damage it could work around.
    atheris.Setup([name, *flags], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
