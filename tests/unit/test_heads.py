"""A detector's head given a network of another kind: a user's catalogue file may name the wrong one."""

from __future__ import annotations

import numpy as np
import pytest

from embedding_calculator.plugins.insightface.detector import Head
from embedding_calculator.plugins.insightface.retinaface import RetinaFace
from embedding_calculator.plugins.insightface.scrfd import SCRFD

SCORES = {f"scores_{rows}": np.zeros((rows, 1), np.float32) for rows in (800, 200, 50)}
BOXES = {f"boxes_{rows}": np.zeros((rows, 4), np.float32) for rows in (800, 200, 50)}
POINTS = {f"points_{rows}": np.zeros((rows, 10), np.float32) for rows in (800, 200, 50)}


@pytest.mark.parametrize(
    "outputs",
    [{"embedding": np.zeros((1, 512), np.float32)}, SCORES | BOXES, SCORES | BOXES | {"points_0": POINTS["points_50"]}],
    ids=["a recogniser", "without points", "points of one stride"],
)
@pytest.mark.parametrize(
    ("head", "told"),
    [
        (SCRFD({"overlap": 0.4}), "the head 'scrfd' reads nine outputs, .* this network has {0} "),
        (
            RetinaFace({"overlap": 0.4, "landmark_std": 1.0}),
            "'retinaface' reads the output face_rpn_cls_prob_reshape_stride32_output; this network has {0}",
        ),
    ],
    ids=["scrfd", "retinaface"],
)
def test_a_network_of_another_kind_is_told(head: Head, told: str, outputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=told.format(next(iter(outputs)))):
        head.decode(outputs, (160, 160), 0.5)


def test_a_network_of_its_kind_is_read() -> None:
    assert len(SCRFD({"overlap": 0.4}).decode(SCORES | BOXES | POINTS, (160, 160), 0.5)) == 0
