"""``python -m benchmarks.library``: the service's engine without the service."""

from __future__ import annotations

from benchmarks.child import answer_questions
from embedding_calculator import FaceAnalyzer


def main() -> None:
    """Answer as ``FaceAnalyzer`` does."""
    analyzer = FaceAnalyzer()
    answer_questions(
        {
            "detection": lambda photo: analyzer.find_faces(photo, plugins=()),
            "embeddings": lambda photo: analyzer.find_faces(photo, plugins=("calculator",)),
            "everything": analyzer.find_faces,
        }
    )


if __name__ == "__main__":
    main()
