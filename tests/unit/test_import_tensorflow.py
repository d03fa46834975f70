"""Without TensorFlow its formats are refused with a sentence that names the remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from embedding_calculator.errors import ModelError
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.importers import convert


@pytest.mark.parametrize("name", ["inception_resnetv1_casia_masked", "22801", "inception_v3_on_mafa_kaggle123"])
def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    spec = Catalog.load().entry(name).files["network"]
    parts = [tmp_path / part.filename for part in spec.parts]
    with pytest.raises(ModelError, match=r"pip install '\.\[import-tensorflow\]'"):
        convert(spec.importer, parts, tmp_path / "network.onnx", spec.options)
