"""The store: whole or not at all, once for everybody, and quiet when everything is there."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedding_calculator.errors import ModelError
from embedding_calculator.models.catalog import Catalog, Entry, Part
from embedding_calculator.models.runtime import Runtime, Wishes
from embedding_calculator.models.sources import Fetched, Sources, Workspace, file_hash
from embedding_calculator.models.store import GOLDEN, MANIFEST, NETWORK, State, Store
from publisher import Page, Publisher, describe, entry_of, serving, tiny_network, zip_of

CONTENT = tiny_network()
PULL = """
import resource, sys
from pathlib import Path
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.sources import Sources
from embedding_calculator.models.store import Store
catalog, root, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
Store(Path(root)).pull(Catalog.load(packaged=Path(catalog)), Sources())
"""


class NoSources(Sources):
    """Fails the test where it is asked."""

    def fetch(self, entry: Entry, part: Part, into: Path, workspace: Workspace) -> Fetched:
        raise AssertionError(f"asked for {part.filename} of {entry.name} in {into} {workspace}")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serving() as publisher:
        yield publisher


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def entry(publisher: Publisher, tmp_path: Path) -> Entry:
    url = publisher.publish("/tiny.onnx", Page(CONTENT))
    return entry_of(tmp_path / "catalog", describe(CONTENT, f'{{ url = "{url}" }}'))


def pulling(catalog: Path, store: Store, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PULL, str(catalog), str(store.root), str(limit)]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE)


def left_behind(store: Store) -> list[str]:
    """Everything in the store but its lock and its empty folders."""
    return [str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file() and path.suffix]


def test_a_pulled_model_opens(store: Store, entry: Entry) -> None:
    assert store.state(entry) is State.MISSING
    store.pull([entry], Sources())
    assert store.state(entry) is State.PRESENT
    assert store.verify(entry) is State.VERIFIED
    model = store.open(entry)
    assert model.parameters["threshold"] == 0.5
    output = model.network.run(np.ones((5, 3, 16, 16), np.float32))
    assert output["embedding"].shape == (5, 4)


def test_what_is_recorded(store: Store, entry: Entry) -> None:
    store.pull([entry], Sources())
    manifest = store.manifests(entry)["network"]
    assert (manifest.licence, manifest.commercial) == ("MIT", "yes")
    assert manifest.inputs == {"image": ["batch", 3, 16, 16]}
    assert manifest.outputs == {"embedding": ["batch", 4]}
    assert manifest.parts[0].sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert not manifest.parts[0].pinned
    assert sorted(path.name for path in store.path(entry).parent.iterdir()) == [GOLDEN, MANIFEST, NETWORK]


def test_nothing_is_asked_when_everything_is_there(store: Store, entry: Entry, publisher: Publisher) -> None:
    store.pull([entry], Sources())
    asked = len(publisher.asked)
    store.pull([entry], NoSources())
    Store(store.root).open(entry)
    assert len(publisher.asked) == asked


@pytest.mark.skipif(os.geteuid() == 0, reason="needs a user for whom folders can be read-only")
def test_a_read_only_store_serves(store: Store, entry: Entry) -> None:
    store.pull([entry], Sources())
    folders = [store.root, *(path for path in store.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        store.pull([entry], NoSources())
        store.open(entry)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_missing_model_names_itself_and_the_remedy(store: Store, entry: Entry) -> None:
    with pytest.raises(ModelError, match=r"'tiny' has not been fetched.*embedding-calculator models pull tiny"):
        store.open(entry)


def test_a_copied_store_is_proved_once_and_then_trusted(store: Store, entry: Entry, tmp_path: Path) -> None:
    store.pull([entry], Sources())
    copy = Store(tmp_path / "copy")
    shutil.copytree(store.root, copy.root, copy_function=shutil.copyfile)
    recorded = copy.manifests(entry)["network"].mtime_ns
    network = next(copy.root.rglob(NETWORK))
    assert network.stat().st_mtime_ns != recorded
    assert copy.state(entry) is State.PRESENT
    assert network.stat().st_mtime_ns == recorded


@pytest.mark.parametrize("damage", ["cut", "changed", "changed in secret", "no manifest", "no network"])
def test_a_damaged_model_is_told_and_mended(store: Store, entry: Entry, damage: str) -> None:
    store.pull([entry], Sources())
    network = store.path(entry)
    before = network.stat()
    if damage == "cut":
        network.write_bytes(network.read_bytes()[:-1])
    elif damage.startswith("changed"):
        network.write_bytes(bytes(before.st_size))
    elif damage == "no manifest":
        (network.parent / MANIFEST).unlink()
    else:
        network.unlink()
    if damage == "changed in secret":
        os.utime(network, ns=(before.st_mtime_ns, before.st_mtime_ns))
        assert store.state(entry) is State.PRESENT
        assert store.verify(entry) is State.DAMAGED
        network.touch()
    assert store.state(entry) is State.DAMAGED
    with pytest.raises(ModelError, match="is damaged"):
        store.open(entry)
    store.pull([entry], Sources())
    assert store.verify(entry) is State.VERIFIED


@pytest.mark.parametrize("openvino", [False, True])
def test_a_network_that_its_engine_refuses_is_told_as_the_models_fault(
    store: Store, entry: Entry, openvino: bool
) -> None:
    if openvino:
        pytest.importorskip("openvino")
    store.pull([entry], Sources())
    network = store.path(entry)
    network.write_bytes(b"no graph")
    changed = {"sha256": file_hash(network), "bytes": 8, "mtime_ns": network.stat().st_mtime_ns}
    manifest = store.manifests(entry)["network"].model_copy(update=changed)
    (network.parent / MANIFEST).write_text(manifest.model_dump_json())
    with pytest.raises(ModelError, match=r"Model 'tiny' cannot be opened: .*network.onnx"):
        store.open(entry, Runtime(Wishes(openvino=openvino)))


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (Page(tiny_network(seed=2)), "expected; refused"),
        (Page(CONTENT[:-1]), "bytes, "),
        (Page(CONTENT, statuses=[404]), "404"),
    ],
)
def test_a_refused_download_leaves_nothing(
    store: Store, entry: Entry, publisher: Publisher, page: Page, told: str
) -> None:
    publisher.publish("/tiny.onnx", page)
    with pytest.raises(ModelError, match=told):
        store.pull([entry], Sources(backoff=0))
    assert store.state(entry) is State.MISSING
    assert not left_behind(store)
    assert not (store.root / "tmp").exists()


def test_a_zip_that_escapes_leaves_nothing(store: Store, publisher: Publisher, tmp_path: Path) -> None:
    url = publisher.publish("/pack.zip", Page(zip_of(**{"tiny.onnx": CONTENT, "../../../escaped.txt": b"evil"})))
    entry = entry_of(tmp_path / "c", describe(CONTENT, f'{{ url = "{url}", member = "tiny.onnx" }}'))
    with pytest.raises(ModelError, match="leads out of its folder"):
        store.pull([entry], Sources())
    assert not left_behind(store)
    assert not list(tmp_path.rglob("escaped.txt"))


@pytest.mark.parametrize(
    ("published", "told"),
    [
        ((b"no network", "onnx"), "damaged or no ONNX model"),
        ((CONTENT, "unheard_of"), "there is no importer 'unheard_of'"),
    ],
)
def test_a_failed_import_leaves_nothing(
    store: Store, publisher: Publisher, tmp_path: Path, published: tuple[bytes, str], told: str
) -> None:
    content, importer = published
    url = publisher.publish("/tiny.onnx", Page(content))
    text = describe(content, f'{{ url = "{url}" }}').replace('importer = "onnx"', f'importer = "{importer}"')
    with pytest.raises(ModelError, match=told) as caught:
        store.pull([entry_of(tmp_path / "c", text)], Sources())
    assert "Model 'tiny'" in str(caught.value)
    assert not left_behind(store)


def test_a_network_that_does_not_fit_its_entry_is_refused(store: Store, publisher: Publisher, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["words"], ["out"])],
        "words",
        [helper.make_tensor_value_info("words", TensorProto.FLOAT, [1, 7])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 7])],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    url = publisher.publish("/words.onnx", Page(content))
    with pytest.raises(ModelError, match=r"\(N, 3, H, W\) is expected"):
        store.pull([entry_of(tmp_path / "c", describe(content, f'{{ url = "{url}" }}'))], Sources())
    assert not left_behind(store)


def test_the_licence_gate(store: Store, publisher: Publisher, tmp_path: Path) -> None:
    url = publisher.publish("/tiny.onnx", Page(CONTENT))
    described = {
        answer: entry_of(tmp_path / answer, describe(CONTENT, f'{{ url = "{url}" }}', commercial=f'"{answer}"'))
        for answer in ("yes", "no", "unknown")
    }
    with pytest.raises(ModelError, match=r"not for commercial use.*MIT.*example.org/tiny.*--accept-licence"):
        store.pull([described["no"]], NoSources())
    for answer in ("no", "unknown"):
        with pytest.raises(ModelError, match="is refused: its licence"):
            store.pull([described[answer]], NoSources(), accept_licences=True, commercial_only=True)
    store.pull([described["no"]], Sources(), accept_licences=True)
    store.pull([described["yes"]], NoSources(), commercial_only=True)


def test_a_file_without_known_hash_is_pinned_as_first_fetched(
    store: Store, publisher: Publisher, tmp_path: Path
) -> None:
    url = publisher.publish("/tiny.onnx", Page(CONTENT))
    text = describe(CONTENT, f'{{ url = "{url}" }}', verified='"architecture"', hash="", bytes="")
    entry = entry_of(tmp_path / "c", text)
    store.pull([entry], Sources())
    assert store.manifests(entry)["network"].parts[0].pinned
    store.path(entry).write_bytes(b"damaged")
    publisher.publish("/tiny.onnx", Page(tiny_network(seed=2)))
    with pytest.raises(ModelError, match=r"has sha256 .* expected"):
        store.pull([entry], Sources())


def test_a_users_own_model_lies_beside_its_catalogue_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(describe(CONTENT))
    (tmp_path / "tiny.onnx").write_bytes(CONTENT)
    entry = Catalog.load([tmp_path], packaged=tmp_path / "none").find("test.Calculator")
    store.pull([entry], Sources())
    assert store.open(entry).name == "tiny"


def test_two_processes_pull_once(store: Store, entry: Entry, publisher: Publisher, tmp_path: Path) -> None:
    stall = publisher.pages["/tiny.onnx"].stall = threading.Event()
    pulls = [pulling(tmp_path / "catalog", store) for _ in range(2)]
    wait_for(lambda: bool(publisher.asked))
    time.sleep(1)
    stall.set()
    for pull in pulls:
        assert pull.communicate()[1] in {"", f"Another pull is at work in {store.root}; waiting for it\n"}
        assert pull.returncode == 0
    assert len(publisher.asked) == 1
    assert store.verify(entry) is State.VERIFIED


def test_two_threads_pull_once(store: Store, entry: Entry, publisher: Publisher) -> None:
    threads = [threading.Thread(target=store.pull, args=([entry], Sources())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(publisher.asked) == 1
    assert store.verify(entry) is State.VERIFIED


def test_a_killed_pull_goes_on_where_it_was(store: Store, entry: Entry, publisher: Publisher, tmp_path: Path) -> None:
    stall = publisher.pages["/tiny.onnx"].stall = threading.Event()
    pull = pulling(tmp_path / "catalog", store)
    half = len(CONTENT) // 2
    # Buffered writes reach the file in blocks; what is there is what the next pull goes on from.
    wait_for(lambda: any(part.stat().st_size > half - 70_000 for part in store.root.rglob("*.part")))
    pull.send_signal(signal.SIGKILL)
    pull.communicate()
    stall.set()
    assert store.state(entry) is State.MISSING
    store.pull([entry], Sources())
    assert publisher.asked[1][1]
    assert store.verify(entry) is State.VERIFIED
    assert not (store.root / "tmp").exists()


def test_a_full_disk_is_told_and_leaves_nothing(store: Store, entry: Entry, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the error comes from the operating system in mid-write."""
    pull = pulling(tmp_path / "catalog", store, limit=100_000)
    told = pull.communicate()[1]
    assert pull.returncode == 1
    assert f"'tiny' could not be stored in {store.root}: {os.strerror(errno.EFBIG)}" in told
    assert f"needs at least {2 * len(CONTENT):,} bytes" in told
    assert store.state(entry) is State.MISSING
    assert not left_behind(store)


def test_too_little_room_is_told_before_anything_is_fetched(
    store: Store, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(store.root.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=12_345))
    with pytest.raises(ModelError, match=r"No space left on device.* 12,345 bytes are free"):
        store.pull([entry], NoSources())


def test_a_store_that_cannot_be_written_is_told(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="MODELS_DIR names the folder"):
        Store(tmp_path / "file" / "models").pull([entry], NoSources())


def wait_for(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_verify_asks_each_network_for_its_golden_vector_again(store: Store, entry: Entry) -> None:
    store.pull([entry], Sources())
    assert store.verify(entry) is State.VERIFIED
    golden = store.path(entry).with_name(GOLDEN)
    with np.load(golden) as kept:
        answers = dict(kept)
    assert all(np.isfinite(answer).all() for answer in answers.values())

    np.savez(golden, allow_pickle=False, **{name: answer * 1.1 + 1 for name, answer in answers.items()})
    assert store.verify(entry) is State.DIFFERENT
    assert store.state(entry) is State.PRESENT  # It runs; only whoever asks is told.
    golden.write_bytes(b"broken")
    assert store.verify(entry) is State.DAMAGED
