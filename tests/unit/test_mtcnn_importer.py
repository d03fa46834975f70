"""A state dict that is not MTCNN's is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers import mtcnn


@pytest.mark.parametrize("stage", ["pnet", "rnet", "onet"])
@pytest.mark.parametrize("state", [{}, {"conv1.weight": np.zeros((1, 3, 3, 3))}])
def test_other_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: mtcnn.Stage, state: dict[str, np.ndarray]
) -> None:
    monkeypatch.setattr(mtcnn, "read_state", lambda _: state)
    with pytest.raises(ModelError, match=rf"x\.pt has not the weights of MTCNN's {stage}.*conv1\.weight"):
        mtcnn.convert([tmp_path / "x.pt"], tmp_path / "network.onnx", stage=stage)
    assert not (tmp_path / "network.onnx").exists()
