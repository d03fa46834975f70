"""Other people's face recognition, measured in the same run: ``make bench`` installs it, without what it would replace.

InsightFace 2.1 with its own SCRFD-500M detector and a MobileFaceNet of 112 pixels, both from beside the repository.
It runs as its documentation has it, on ONNX Runtime, with the threads that ONNX Runtime takes by itself.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np


def installed(models: Path) -> dict[str, Callable[[bytes], object]]:
    """Name -> answer one encoded photo, for every peer that is here with its ``models``."""
    detector = models / "insightface/det_500m/det_500m.onnx"
    recogniser = models / "other/foamliu_MobileFaceNet.onnx"
    if importlib.util.find_spec("insightface") is None or not (detector.exists() and recogniser.exists()):
        return {}
    detect, embed = _insightface(detector, recogniser)
    return {"insightface 2.1, detection": detect, "insightface 2.1, + embedding": embed}


def _insightface(detector_file: Path, recogniser_file: Path) -> tuple[Callable[[bytes], object], ...]:
    from insightface.model_zoo import get_model
    from insightface.utils.face_align import norm_crop

    warnings.filterwarnings("ignore", "`estimate` is deprecated", FutureWarning)  # Its call to scikit-image.
    providers = ["CPUExecutionProvider"]
    detector = get_model(str(detector_file), providers=providers)
    detector.prepare(ctx_id=-1, input_size=(640, 640))
    recogniser = get_model(str(recogniser_file), providers=providers)

    def detect(photo: bytes) -> object:
        return detector.detect(cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR))

    def embed(photo: bytes) -> object:
        pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
        _, points = detector.detect(pixels)
        return [recogniser.get_feat(norm_crop(pixels, five)) for five in points]

    return detect, embed
