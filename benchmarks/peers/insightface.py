"""InsightFace 2.1 with its own SCRFD-500M detector and a MobileFaceNet of 112 pixels: two ONNX files as arguments.

It runs as its documentation has it, on ONNX Runtime, with the threads that ONNX Runtime takes by itself.
"""

from __future__ import annotations

import sys
import warnings

import cv2
import numpy as np

from benchmarks.child import answer_questions


def main() -> None:
    """Answer as InsightFace does."""
    from insightface.model_zoo import get_model
    from insightface.utils.face_align import norm_crop

    warnings.filterwarnings("ignore", "`estimate` is deprecated", FutureWarning)  # Its call to scikit-image.
    providers = ["CPUExecutionProvider"]
    detector = get_model(sys.argv[1], providers=providers)
    detector.prepare(ctx_id=-1, input_size=(640, 640))
    recogniser = get_model(sys.argv[2], providers=providers)

    def detect(photo: bytes) -> object:
        return detector.detect(cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR))

    def embed(photo: bytes) -> object:
        pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
        _, points = detector.detect(pixels)
        return [recogniser.get_feat(norm_crop(pixels, five)) for five in points]

    answer_questions({"detection": detect, "embeddings": embed})


if __name__ == "__main__":
    main()
