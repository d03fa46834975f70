"""face_recognition 1.3 on dlib 20, as its readme uses it: the HOG detector, once enlarged, and dlib's ResNet."""

from __future__ import annotations

import io
import warnings

from benchmarks.child import answer_questions


def main() -> None:
    """Answer as face_recognition does."""
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)  # Its way to find its models.
    import face_recognition

    def detect(photo: bytes) -> object:
        return face_recognition.face_locations(face_recognition.load_image_file(io.BytesIO(photo)))

    def embed(photo: bytes) -> object:
        pixels = face_recognition.load_image_file(io.BytesIO(photo))
        return face_recognition.face_encodings(pixels, face_recognition.face_locations(pixels))

    answer_questions({"detection": detect, "embeddings": embed})


if __name__ == "__main__":
    main()
