"""What a publisher may get wrong, once for every kind of source: refused in a sentence, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from embedding_calculator.cli import main
from embedding_calculator.models import download
from embedding_calculator.models.catalog import Entry, Source
from made.arcface import mobilefacenet
from made.catalogue import OTHERS, PACKAGED, contents, installed, left_behind, member_of, with_parts
from made.mxnet import Published
from made.packs import mobile, zipped
from publisher import Page, Publisher, serving

pytestmark = pytest.mark.integration

METADATA = {
    "carrier-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
    "carrier-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
    "carrier-1.0.dist-info/RECORD": b"",
}


@dataclass(frozen=True)
class Kind:
    """A way in which models are published.

    ``publish`` makes the content public and returns the source; a plain file is its own content, the others are
    archives.
    """

    entry: str
    network: Callable[[], Published | bytes]
    publish: Callable[[Publisher, Path, bytes], Source]
    others: dict[str, bytes]
    archive: bool = True


def at_url(publisher: Publisher, _: Path, content: bytes) -> Source:
    return Source(url=publisher.publish("/published", Page(content)))


def in_index(_: Publisher, folder: Path, content: bytes) -> Source:
    folder.mkdir()
    (folder / "carrier-1.0-py3-none-any.whl").write_bytes(content)
    return Source(index="carrier==1.0", member="*")


KINDS = {
    "MXNet zip": Kind("arcface_r100_v1", mobilefacenet, at_url, OTHERS),
    "MXNet zip without hashes": Kind("arcface_resnet34", mobilefacenet, at_url, OTHERS),
    "ONNX pack": Kind("w600k_mbf", mobile, at_url, OTHERS),
    "plain file": Kind("w600k_mbf", mobile, at_url, {}, archive=False),
    "wheel": Kind("w600k_mbf", mobile, in_index, METADATA),
}


class Case:
    """One entry whose files are published in one way, and changed before they are."""

    def __init__(self, kind: Kind, folder: Path, publisher: Publisher) -> None:
        entry = PACKAGED.entry(kind.entry)
        self._kind, self._folder, self._publisher = kind, folder, publisher
        self.files = contents(entry, kind.network())
        self.members = dict(kind.others)
        for part in entry.parts:
            self.members[member_of(part, part.sources[0])] = self.files[part.filename]
        self._entry = entry

    def archive(self) -> bytes:
        """What is published."""
        return zipped(self.members) if self._kind.archive else self.members[self.last]

    @property
    def last(self) -> str:
        """The name of the weights in the archive."""
        return member_of(self._entry.parts[-1], self._entry.parts[-1].sources[0])

    @property
    def pages(self) -> list[Page]:
        """What the publisher serves of it."""
        return list(self._publisher.pages.values())

    def spoil(self) -> None:
        """One byte of the weights is another."""
        content = bytearray(self.members[self.last])
        content[len(content) // 2] ^= 1
        self.members[self.last] = bytes(content)

    def published(self, content: bytes) -> Entry:
        """The entry, which expects the files as they were, with ``content`` at its source."""
        source = self._kind.publish(self._publisher, self._folder / "index", content)
        parts = []
        for part in self._entry.parts:
            member = part.sources[0].member if self._kind.archive else None
            hashes = {
                "sha256": part.sha256 and hashlib.sha256(self.files[part.filename]).hexdigest(),
                "sha1": part.sha1 and hashlib.sha1(self.files[part.filename]).hexdigest(),
            }
            sources = (source.model_copy(update={"member": member}),)
            parts.append(part.model_copy(update={**hashes, "sources": sources}))
        return with_parts(self._entry, *parts)


Pull = Callable[[Entry], str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pull:
    """Runs ``models pull`` and returns what it says on standard error."""
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def pull(entry: Entry) -> str:
        models = tmp_path / "models"
        monkeypatch.setattr(sys, "argv", ["embedding-calculator", "models", "pull", entry.name, "--accept-licence"])
        with installed([entry], models), pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 1
        assert left_behind(models) == []
        assert [path.name for path in models.iterdir() if path.is_dir()] == ["store"]
        assert not any((models / "store").iterdir())
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert f"error: Model {entry.name!r}" in said.err
        return said.err

    return pull


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with serving() as publisher:
        yield Case(KINDS[request.param], tmp_path, publisher)


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", names, indirect=True)


ARCHIVES = ("MXNet zip", "ONNX pack", "wheel")
URLS = ("MXNet zip", "ONNX pack", "plain file")
FETCH_AGAIN = "could not be fetched: no source has a sound "


@of("MXNet zip", "ONNX pack", "plain file", "wheel")
def test_other_content_than_the_hash_says(case: Case, refused: Pull) -> None:
    case.spoil()
    said = refused(case.published(case.archive()))
    assert FETCH_AGAIN in said
    assert "the file there has sha" in said
    assert "expected; refused" in said


@of("MXNet zip", "ONNX pack", "plain file", "wheel")
def test_a_file_cut_short(case: Case, refused: Pull) -> None:
    whole = case.archive()
    said = refused(case.published(whole[: len(whole) // 2]))
    assert FETCH_AGAIN in said
    reasons = ("the archive is damaged or not a plain zip", "the file there has sha", "pip says: ")
    assert sum(reason in said for reason in reasons) == 1


@of("MXNet zip without hashes")
def test_weights_cut_short_that_no_hash_tells(case: Case, refused: Pull) -> None:
    weights = case.members[case.last]
    case.members[case.last] = weights[: len(weights) // 2]
    said = refused(case.published(case.archive()))
    assert "was fetched but not imported" in said
    assert "model-0000.params is not a usable MXNet params file: it ends early" in said


@of(*URLS)
def test_a_connection_that_always_breaks(case: Case, refused: Pull) -> None:
    entry = case.published(case.archive())
    for page in case.pages:
        page.cut_after = [len(page.content) // 2, *[0] * 20]
    said = refused(entry)
    assert FETCH_AGAIN in said
    assert "(4 tries)" in said


@of(*ARCHIVES)
def test_an_archive_that_leads_out_of_its_folder(case: Case, refused: Pull, tmp_path: Path) -> None:
    case.members["../outside.py"] = b"import os"
    said = refused(case.published(case.archive()))
    assert FETCH_AGAIN in said
    assert "the archive is unsafe: '../outside.py' leads out of its folder" in said
    assert not list(tmp_path.rglob("outside.py"))


@of(*ARCHIVES)
def test_an_archive_without_the_member(case: Case, refused: Pull) -> None:
    del case.members[case.last]
    said = refused(case.published(case.archive()))
    assert FETCH_AGAIN in said
    assert "the archive holds no files '*" in said
