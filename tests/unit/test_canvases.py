"""Detectors look at canvases of few shapes, and an accelerator has met all of them before the first photo."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from embedding_calculator.arrays import Floats
from embedding_calculator.imaging.picture import ArrayPicture
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.runtime import Model
from embedding_calculator.models.runtime.network import Outputs
from embedding_calculator.plugins.insightface import FaceDetector as InsightFace
from embedding_calculator.plugins.opencv_zoo import FaceDetector as YuNet

SIDES = [1, 64, 65, 160, 161, 320, 321, 499, 640, 641, 1280, 1300]


class Undecided:
    """Answers as YuNet or RetinaFace do; there might be a face, so that every look that there is is taken."""

    def __init__(self) -> None:
        self.met: set[tuple[int, ...]] = set()

    def run(self, batch: Floats) -> Outputs:
        count, _, height, width = batch.shape
        self.met.add((height, width))
        answers: dict[str, Floats] = {}
        for stride in (8, 16, 32):
            rows, columns = height // stride, width // stride
            for name, (numbers, value) in {"cls": (1, 0.5), "obj": (1, 0.5), "bbox": (4, 2.5), "kps": (10, 0)}.items():
                cells = answers[f"{name}_{stride}"] = np.zeros((count, rows * columns, numbers), np.float32)
                cells[:, 0] = value
            for name, channels in {"cls_prob_reshape": 4, "bbox_pred": 8, "landmark_pred": 20}.items():
                shape = (count, channels, rows, columns)
                answers[f"face_rpn_{name}_stride{stride}_output"] = np.zeros(shape, np.float32)
        return answers


def shapes_met(plugin: type[YuNet | InsightFace], model: str, limit: int) -> tuple[set[tuple[int, ...]], Undecided]:
    """Those of the warm-up, and the network that goes on to meet those of photos up to 1300 pixels a side."""
    entry, network = Catalog.load().entry(model), Undecided()
    networks: Mapping[str, Undecided] = dict.fromkeys(entry.files, network)
    detector = plugin(Model(entry.name, entry.input, entry.parameters, networks), limit)
    detector.warm_up()
    warm = set(network.met)
    network.met.clear()
    for width in SIDES:
        for height in SIDES:
            # With a limit beyond 640, photos in between are not met before.
            if max(width, height) <= 640 or max(width, height) >= limit:
                detector.detect(ArrayPicture(np.zeros((height, width, 3), np.uint8)), detector.default_threshold)
    return warm, network


@pytest.mark.parametrize("limit", [320, 500, 640, 1280])
def test_yunet_meets_no_other_shapes_than_at_the_start(limit: int) -> None:
    warm, network = shapes_met(YuNet, "yunet_2023mar", limit)
    assert (160, 160) in network.met
    assert network.met <= warm
    assert len(warm) <= 48


@pytest.mark.parametrize("limit", [320, 500, 640, 1280])
def test_insightface_meets_no_other_shapes_than_at_the_start(limit: int) -> None:
    warm, network = shapes_met(InsightFace, "retinaface_mnet025_v1", limit)
    assert network.met <= warm
    assert len(warm) <= 31
