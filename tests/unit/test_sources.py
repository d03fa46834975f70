"""Where published files come from, against a server that misbehaves."""

from __future__ import annotations

import io
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedding_calculator.errors import ModelError
from embedding_calculator.models.archive import extract_member
from embedding_calculator.models.catalog import Entry
from embedding_calculator.models.download import direct_url
from embedding_calculator.models.sources import Fetched, Sources, Workspace
from publisher import Page, Publisher, describe, entry_of, serving, tiny_network, zip_of

CONTENT = tiny_network()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serving() as publisher:
        yield publisher


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "scratch", tmp_path / "partial")
    workspace.scratch.mkdir()
    workspace.partial.mkdir()
    return workspace


def fetch(entry: Entry, workspace: Workspace, sources: Sources | None = None) -> Fetched:
    into = workspace.scratch / "into"
    into.mkdir(exist_ok=True)
    return (sources or Sources(backoff=0)).fetch(entry, entry.parts[0], into, workspace)


def refused(entry: Entry, workspace: Workspace, sources: Sources | None = None) -> str:
    """The text of the refusal; nothing may be left behind."""
    with pytest.raises(ModelError) as caught:
        fetch(entry, workspace, sources)
    assert not list((workspace.scratch / "into").iterdir())
    assert not list(workspace.partial.iterdir())
    assert "Model 'tiny'" in str(caught.value)
    assert "embedding-calculator models pull tiny" in str(caught.value)
    return str(caught.value)


def test_a_file_is_fetched_and_its_progress_told(publisher: Publisher, tmp_path: Path, workspace: Workspace) -> None:
    url = publisher.publish("/tiny.onnx", Page(CONTENT))
    told: list[tuple[str, int, int | None]] = []
    sources = Sources(progress=lambda *what: told.append(what))
    fetched = fetch(entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}" }}')), workspace, sources)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.source == url
    assert told[-1] == ("tiny.onnx", len(CONTENT), len(CONTENT))


def test_a_cut_connection_is_taken_up_where_it_broke(
    publisher: Publisher, tmp_path: Path, workspace: Workspace
) -> None:
    url = publisher.publish("/tiny.onnx", Page(CONTENT, cut_after=[70_000, 20_000]))
    fetch(entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}" }}')), workspace)
    assert [asked for _, asked in publisher.asked] == [None, "bytes=70000-", "bytes=90000-"]


@pytest.mark.parametrize(
    "page", [Page(CONTENT, cut_after=[70_000], ranges=False), Page(CONTENT, "", cut_after=[70_000])]
)
def test_without_ranges_or_validator_it_starts_again(
    publisher: Publisher, tmp_path: Path, workspace: Workspace, page: Page
) -> None:
    url = publisher.publish("/tiny.onnx", page)
    fetched = fetch(entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}" }}')), workspace)
    assert fetched.path.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_mixed(publisher: Publisher, tmp_path: Path, workspace: Workspace) -> None:
    page = Page(bytes(len(CONTENT)), etag='"old"', cut_after=[70_000] * 10)
    url = publisher.publish("/tiny.onnx", page)

    def replace(_: str, done: int, __: int | None) -> None:
        if done:
            page.content, page.etag, page.cut_after = CONTENT, '"new"', []

    entry = entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}" }}'))
    assert fetch(entry, workspace, Sources(progress=replace, backoff=0)).path.read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(publisher: Publisher, tmp_path: Path, workspace: Workspace) -> None:
    url = publisher.publish("/tiny.onnx", Page(CONTENT, statuses=[503, 429]))
    fetch(entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}" }}')), workspace)
    assert len(publisher.asked) == 3


def test_the_next_source_helps_where_one_fails(publisher: Publisher, tmp_path: Path, workspace: Workspace) -> None:
    broken = publisher.publish("/broken.onnx", Page(CONTENT, statuses=[500] * 4))
    wrong = publisher.publish("/wrong.onnx", Page(tiny_network(seed=2)))
    right = publisher.publish("/right.onnx", Page(CONTENT))
    urls = [f'{{ url = "{url}" }}' for url in (broken, wrong, right)]
    assert fetch(entry_of(tmp_path, describe(CONTENT, *urls)), workspace).source == right


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (Page(tiny_network(seed=2)), r"has sha256 \w{64}, \w{64} expected"),
        (Page(CONTENT[:-1]), f"has {len(CONTENT) - 1} bytes, {len(CONTENT)} expected"),
        (Page(CONTENT + b"x"), f"has {len(CONTENT) + 1} bytes, {len(CONTENT)} expected"),
        (Page(CONTENT, ranges=False, cut_after=[100] * 9), r"\(4 tries\)"),
        (Page(CONTENT, statuses=[404]), "the server answered 404 Not Found"),
        (Page(CONTENT, statuses=[500] * 4), "the server answered 500 Internal Server Error"),
        (Page(b"<html>confirm?", content_type="text/html"), "a web page instead of the file"),
    ],
)
def test_an_unsound_download_is_refused(
    publisher: Publisher, tmp_path: Path, workspace: Workspace, page: Page, told: str
) -> None:
    url = publisher.publish("/tiny.onnx", page)
    text = refused(entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}" }}')), workspace)
    assert re.search(told, text)
    assert url in text


def test_a_server_that_is_not_there_is_told(tmp_path: Path, workspace: Workspace) -> None:
    with serving() as gone:
        url = f"{gone.address}/tiny.onnx"
    assert url in refused(entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}" }}')), workspace)


def test_members_of_a_zip_are_fetched_with_one_download(
    publisher: Publisher, tmp_path: Path, workspace: Workspace
) -> None:
    url = publisher.publish("/pack.zip", Page(zip_of(**{"pack/readme": b"", "pack/tiny-0001.onnx": CONTENT})))
    for member in ("pack/tiny-0001.onnx", "*.onnx"):
        entry = entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}", member = "{member}" }}'))
        assert fetch(entry, workspace).path.read_bytes() == CONTENT
    assert len(publisher.asked) == 1


def test_shadows_in_a_zip_from_a_mac_are_not_the_file(tmp_path: Path) -> None:
    members = {"model/tiny.onnx": b"x", "__MACOSX/model/._tiny.onnx": b"its icon"}
    (tmp_path / "a.zip").write_bytes(zip_of(**members))
    extract_member(tmp_path / "a.zip", "*tiny.onnx", tmp_path / "out", 100)
    assert (tmp_path / "out").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "a/../../escaped", "..\\escaped", "C:\\escaped"])
def test_a_zip_that_leads_out_of_its_folder_is_refused(
    publisher: Publisher, tmp_path: Path, workspace: Workspace, name: str
) -> None:
    url = publisher.publish("/pack.zip", Page(zip_of(**{"tiny.onnx": CONTENT, name: b"evil"})))
    entry = entry_of(tmp_path, describe(CONTENT, f'{{ url = "{url}", member = "tiny.onnx" }}'))
    assert "leads out of its folder" in refused(entry, workspace)
    assert not list(tmp_path.parent.rglob("escaped"))


def damaged_lzma() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", bytes(range(100)))
    content = bytearray(stream.getvalue())
    content[35:39] = b"\xff" * 4  # The compressor's properties, behind a header of 31 bytes and their length.
    return bytes(content)


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("tiny.onnx")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="is a link"):
        extract_member(tmp_path / "a.zip", "tiny.onnx", tmp_path / "out", 100)


@pytest.mark.parametrize(
    ("content", "member", "told"),
    [
        (zip_of(a=b"x" * 1000), "a", "has 1000 bytes, at most 100 expected"),
        (zip_of(a=b"x"), "b", "holds no files 'b'"),
        (zip_of(a1=b"x", a2=b"x"), "a*", "holds 2 files"),
        (b"no zip", "a", "damaged or not a plain zip"),
        (zip_of(a=b"x" * 50)[:-30], "a", "damaged or not a plain zip"),
        (damaged_lzma(), "a", "damaged or not a plain zip"),
    ],
    ids=["too large", "absent", "ambiguous", "no zip", "cut short", "damaged LZMA"],
)
def test_a_bad_member_is_refused(tmp_path: Path, content: bytes, member: str, told: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ModelError, match=told):
        extract_member(tmp_path / "a.zip", member, tmp_path / "out", 100)


@pytest.mark.parametrize("cut", [1, 30])
def test_a_zip_without_its_beginning_is_refused(tmp_path: Path, cut: int) -> None:
    """Its directory then tells of files that lie before it."""
    (tmp_path / "a.zip").write_bytes(zip_of(**{"tiny.onnx": b"x" * 60})[cut:])
    with pytest.raises(ModelError, match="damaged or not a plain zip"):
        extract_member(tmp_path / "a.zip", "tiny.onnx", tmp_path / "out", 100)


def test_a_local_folder_comes_first_and_the_hash_chooses(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "brought"
    for name, content in (("other", tiny_network(seed=2)), ("this", CONTENT)):
        (folder / name).mkdir(parents=True)
        (folder / name / "tiny.onnx").write_bytes(content)
    entry = entry_of(tmp_path / "catalog", describe(CONTENT, '{ url = "http://127.0.0.1:9/never-asked" }'))
    fetched = fetch(entry, workspace, Sources([folder]))
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.source == f"folder {folder}"


def test_a_local_folder_that_does_not_help_says_why(tmp_path: Path, workspace: Workspace) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "tiny.onnx").write_bytes(CONTENT[:-5])
    entry = entry_of(tmp_path / "catalog", describe(CONTENT))
    text = refused(entry, workspace, Sources([tmp_path / "nowhere", tmp_path / "catalog", wrong]))
    assert "nowhere: there is no such folder" in text
    assert "catalog: holds no tiny.onnx" in text
    assert f"wrong: the file there has {len(CONTENT) - 5} bytes" in text


def test_google_drive_is_asked_for_the_file_itself() -> None:
    assert direct_url("https://drive.google.com/uc?id=abc") == (
        "https://drive.usercontent.google.com/download?id=abc&export=download&confirm=t"
    )
    assert direct_url("https://example.org/uc?id=abc") == "https://example.org/uc?id=abc"


CARRIED = describe(
    b"",
    '{ index = "facenet-pytorch==2.6.0", member = "facenet_pytorch/data/pnet.pt" }',
    filename="pnet.pt",
    hash='sha256 = "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"',
    bytes="bytes = 28570",
)


@pytest.mark.integration
def test_a_wheel_of_the_package_index_carries_a_file(tmp_path: Path, workspace: Workspace) -> None:
    try:
        fetched = fetch(entry_of(tmp_path, CARRIED), workspace)
    except ModelError as error:
        if "has sha256" in str(error) or "archive" in str(error):
            raise
        pytest.skip(f"needs a package index: {error}")
    assert fetched.path.stat().st_size == 28570


def test_an_index_that_does_not_have_it_is_told(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    text = refused(entry_of(tmp_path / "catalog", CARRIED), workspace)
    assert "package index, facenet-pytorch==2.6.0, facenet_pytorch/data/pnet.pt: pip says: No matching" in text


@pytest.mark.parametrize("with_pip", [True, False])
def test_a_wheel_is_taken_by_the_users_own_pip_settings(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, with_pip: bool
) -> None:
    """PIP_FIND_LINKS here stands for indexes, proxies and certificates; the wheel needs a Python that nobody has."""
    metadata = "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\nRequires-Python: >=99\n"
    wheel = zip_of(
        **{
            "carrier/tiny.onnx": CONTENT,
            "carrier-1.0.dist-info/METADATA": metadata.encode(),
            "carrier-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
            "carrier-1.0.dist-info/RECORD": b"",
        }
    )
    (tmp_path / "carrier-1.0-py3-none-any.whl").write_bytes(wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    if not with_pip:
        bundled = pytest.importorskip("ensurepip").__file__
        if not list(Path(bundled).parent.glob("_bundled/pip-*.whl")):
            pytest.skip("needs a Python that carries its pip")
        monkeypatch.setattr("importlib.util.find_spec", _without_pip)
    entry = entry_of(tmp_path, describe(CONTENT, '{ index = "carrier==1.0", member = "carrier/tiny.onnx" }'))
    assert fetch(entry, workspace).path.read_bytes() == CONTENT


def _without_pip(name: str) -> object:
    import importlib.machinery

    return None if name == "pip" else importlib.machinery.PathFinder.find_spec(name)


def test_a_source_distribution_is_not_run(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    subprocess.run(["tar", "-czf", "carrier-1.0.tar.gz", "setup.py"], cwd=tmp_path, check=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    entry = entry_of(tmp_path / "c", describe(CONTENT, '{ index = "carrier==1.0", member = "carrier/tiny.onnx" }'))
    assert "No matching distribution" in refused(entry, workspace)
    assert not (tmp_path / "ran").exists()
