"""Many photos at once: the same answers as one by one, an error where it belongs, and no more read than is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

from embedding_calculator import Face, FaceAnalyzer, Found, ImageUnreadableError, InputError
from embedding_calculator.client import ServiceClient
from embedding_calculator.engine.analyzer import Analyzer
from embedding_calculator.settings import granted_cpus

pytestmark = pytest.mark.integration


@pytest.fixture
def samples(shared: Path) -> list[Path]:
    return sorted((shared / "data/samples").glob("*.jpg"))


@pytest.fixture
def mishaps(tmp_path: Path) -> list[Path]:
    """A broken photo and one that is not there."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"junk")
    return [broken, tmp_path / "missing.jpg"]


def assert_same(faces: list[Face], others: list[Face]) -> None:
    assert len(faces) == len(others)
    for face, other in zip(faces, others, strict=True):
        assert (face.box, face.landmarks, face.age, face.gender) == (
            other.box,
            other.landmarks,
            other.age,
            other.gender,
        )
        assert face.pose == other.pose
        np.testing.assert_array_equal(face.embedding, other.embedding)


def test_many_are_as_one_by_one(analyzer: FaceAnalyzer, samples: list[Path], mishaps: list[Path]) -> None:
    broken, missing = mishaps
    photos = [*samples[:5], broken, *samples[5:], missing]
    found = {one.index: one for one in analyzer.find_faces_in(photos)}
    assert sorted(found) == list(range(len(photos)))
    for index, photo in enumerate(photos):
        one = found[index]
        assert one.photo is photo
        if photo == broken:
            assert isinstance(one.error, ImageUnreadableError)
        elif photo == missing:
            assert isinstance(one.error, FileNotFoundError)
        else:
            assert one.error is None
            assert_same(one.faces, analyzer.find_faces(photo))


def test_an_endless_supply_is_read_only_a_little_ahead(analyzer: FaceAnalyzer) -> None:
    taken = itertools.count()
    pixels = skimage.data.astronaut()  # type: ignore[no-untyped-call]

    def photos() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        while True:
            next(taken)
            yield pixels

    found = analyzer.find_faces_in(photos(), plugins=["age"], limit=1)
    answers = list(itertools.islice(found, 5))
    assert next(taken) <= 5 + 2 * granted_cpus()
    assert {len(one.faces) for one in answers} == {1}
    assert all(one.faces[0].embedding is None for one in answers)
    found.close()  # type: ignore[attr-defined]


def test_pixels_beyond_the_limit_wait_for_each_other(samples: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    decoding: list[int] = []
    most = 0
    analyzer = FaceAnalyzer(extra_plugins=(), uwsgi_threads=4, max_pixels_in_flight=1)
    detect = Analyzer.detect

    def counted(*arguments: Any) -> Any:
        nonlocal most
        decoding.append(1)
        most = max(most, len(decoding))
        try:
            return detect(*arguments)
        finally:
            decoding.pop()

    monkeypatch.setattr(Analyzer, "detect", counted)
    assert sum(len(one.faces) for one in analyzer.find_faces_in(samples, plugins=[])) == 47
    assert most == 1


def test_an_unknown_plugin_is_told_before_any_photo_is_read(analyzer: FaceAnalyzer) -> None:
    with pytest.raises(InputError, match=r"no plugin agge; there are: .* Did you mean 'age'\?"):
        analyzer.find_faces_in(iter([]), plugins=["agge"])


def test_what_the_supply_raises_ends_it(analyzer: FaceAnalyzer) -> None:
    def photos() -> Iterator[bytes]:
        yield b"junk"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(analyzer.find_faces_in(photos()))


def test_errors_hold_no_pictures(analyzer: FaceAnalyzer, samples: list[Path]) -> None:
    """Whoever keeps the errors of a million photos keeps nothing of the photos."""
    truncated = samples[0].read_bytes()[:3000]
    (one,) = analyzer.find_faces_in([truncated])
    assert isinstance(one, Found)
    error: BaseException | None = one.error
    assert error is not None
    while error is not None:
        frames = error.__traceback__
        while frames is not None:
            assert "data" not in frames.tb_frame.f_locals
            frames = frames.tb_next
        error = error.__cause__ or error.__context__


def test_a_service_answers_as_the_library(
    analyzer: FaceAnalyzer, samples: list[Path], mishaps: list[Path], service: str
) -> None:
    client = ServiceClient(service)
    photos: list[Path | bytes] = [*samples, *mishaps, samples[0].read_bytes()]
    found = {one.index: one for one in client.find_faces_in(photos, plugins=client.plugins)}
    assert sorted(found) == list(range(len(photos)))
    errors = {index: type(one.error) for index, one in found.items() if one.error}
    assert errors == {len(samples): InputError, len(samples) + 1: FileNotFoundError}
    for index, photo in enumerate(photos):
        if index not in errors:
            assert found[index].photo is photo
            assert_same(found[index].faces, analyzer.find_faces(photo))
    client.close()
