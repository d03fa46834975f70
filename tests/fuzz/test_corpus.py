"""Every file that fuzzing starts from, whole and damaged the same way each time, through the target it is for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from embedding_calculator.imaging.decode import open_picture
from fuzz.targets import CORPUS, LIMITS, TARGETS

FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.filterwarnings("ignore")  # Pillow tells of damage it could work around.
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_replay(path: Path) -> None:
    target = TARGETS[path.parent.name]
    data = path.read_bytes()
    target(data)
    for damaged in _damaged(data):
        target(damaged)


def _damaged(data: bytes) -> Iterator[bytes]:
    random = Random(len(data))
    for _ in range(20):
        changed = bytearray(data)
        for place in random.choices(range(len(data)), k=3):
            changed[place] = random.choice((0, 1, 127, 128, 255))
        yield bytes(changed)
        yield data[: random.randrange(len(data))]


def test_every_target_has_a_corpus_of_a_few_kilobytes() -> None:
    assert {path.parent.name for path in FILES} == set(TARGETS)
    assert sum(path.stat().st_size for path in FILES) < 20_000


@pytest.mark.parametrize("path", sorted((CORPUS / "decode").iterdir()), ids=lambda path: path.name)
def test_fuzzing_begins_with_pictures_that_are_read(path: Path) -> None:
    assert open_picture(path.read_bytes(), limits=LIMITS).raster(1.0).pixels.any()
