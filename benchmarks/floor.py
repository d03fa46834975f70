"""``python -m benchmarks.floor``: the least that the default models cost, with no code of ours around the bare parts.

For a photo: OpenCV decodes it at the smallest scale that has 640 pixels a side, resizes it and makes a tensor of it;
YuNet runs once, and what it says is read and suppressed. For embeddings the scale is that which the smallest face
needs, as if it were known before, and SFace runs once for every face, on crops prepared beforehand. Engines, precisions
and threads are those that the service chooses on this machine.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.child import answer_questions
from embedding_calculator.arrays import Floats
from embedding_calculator.engine.analyzer import Analyzer
from embedding_calculator.engine.assembly import build
from embedding_calculator.engine.intake import take_in
from embedding_calculator.imaging.align import ARCFACE_112, cut
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.runtime import Running
from embedding_calculator.models.store import Store
from embedding_calculator.plugins.base import Refiner
from embedding_calculator.settings import Settings

SIDE = 640
STEP = 64  # The service's canvases have such sides, so that the network has as much to do.
REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}

Run = Callable[[Any], list[Any]]


def main() -> None:
    """Answer as the floor does."""
    cv2.setNumThreads(1)  # As in the service, and cheaper than waking others for so little.
    settings = Settings()
    choices = build(settings)
    detector, recogniser = (_bare(name, settings, choices.running[name]) for name in ("yunet_2023mar", "sface_2021dec"))
    analyzer = choices.named()
    prepared: Callable[[bytes], tuple[float, Floats]] = cache(lambda photo: _aligned(analyzer, photo, settings))
    longest: Callable[[bytes], int] = cache(_longest_side)

    def find(photo: bytes, scale: float) -> object:
        factor = next(factor for factor in REDUCED if factor * scale <= 1 or factor == 1)
        pixels: Any = cv2.imdecode(np.frombuffer(photo, np.uint8), REDUCED[factor])
        side = max(pixels.shape[:2])
        width, height = (round(length * SIDE / side) for length in pixels.shape[1::-1])
        canvas: Any = np.zeros((-(-height // STEP) * STEP, -(-width // STEP) * STEP, 3), np.uint8)
        canvas[:height, :width] = cv2.resize(pixels, (width, height))
        return _faces(detector(cv2.dnn.blobFromImage(canvas)), canvas.shape[1])

    def detect(photo: bytes) -> object:
        return find(photo, SIDE / longest(photo))

    def embed(photo: bytes) -> object:
        scale, tensors = prepared(photo)
        return find(photo, scale), [recogniser(tensor[None]) for tensor in tensors]

    answer_questions({"detection": detect, "embeddings": embed})


def _longest_side(photo: bytes) -> int:
    with Image.open(io.BytesIO(photo)) as image:
        return max(image.size)


def _faces(outputs: list[Any], width: int) -> Any:
    """From YuNet's twelve outputs, those of a kind together: its class, object, box and points at strides 8, 16, 32."""
    boxes, scores = [], []
    for level, stride in enumerate((8, 16, 32)):
        score = np.sqrt(outputs[level][0] * outputs[level + 3][0])[:, 0]
        cells = np.flatnonzero(score > 0.25)
        shape = outputs[level + 6][0][cells]
        size = np.exp(shape[:, 2:])
        corner = np.stack([cells % (width // stride), cells // (width // stride)], axis=1) + shape[:, :2] - size / 2
        boxes.append(np.concatenate([corner, size], axis=1) * stride)
        scores.append(score[cells])
    return cv2.dnn.NMSBoxes(np.concatenate(boxes).tolist(), np.concatenate(scores).tolist(), 0.0, 0.35)


def _aligned(analyzer: Analyzer, photo: bytes, settings: Settings) -> tuple[float, Floats]:
    """The scale at which the service had to decode the photo, and ``(N, 3, 112, 112)`` float32 for SFace."""
    picture = take_in(photo, settings)
    found, _ = analyzer.detect(picture)
    detector = analyzer.detector.run
    points = detector.refine(picture, found) if isinstance(detector, Refiner) and len(found) else found.landmarks
    crops = cut(picture, ARCFACE_112, found.boxes, points)
    return picture.raster(0).scale_x, np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)


def _bare(name: str, settings: Settings, running: Mapping[str, Running]) -> Run:
    """The model's network as its engine has it, opened as the service opened it."""
    entry = Catalog.load(settings.model_catalog).entry(name)
    store, chosen = Store(settings.models_dir), running["network"]
    path = (store.int8_path(entry) if chosen.precision == "int8" else None) or store.path(entry)
    return _in_openvino(path, chosen) if chosen.engine == "openvino" else _in_onnxruntime(path, chosen)


def _in_openvino(path: Path, chosen: Running) -> Run:
    import openvino

    config = {
        "INFERENCE_PRECISION_HINT": "f32" if chosen.precision == "int8" else chosen.precision,
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": chosen.threads,
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(str(path), "CPU", config).create_infer_request()
    return lambda tensor: list(request.infer([tensor], share_inputs=True).values())


def _in_onnxruntime(path: Path, chosen: Running) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = chosen.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(path, options, providers=[chosen.device])
    (taken,) = (each.name for each in session.get_inputs())
    return lambda tensor: list(session.run(None, {taken: tensor}))


if __name__ == "__main__":
    main()
