"""The INT8 variant in the store: whole or not at all, and used only while it is that of the network beside it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedding_calculator.errors import ModelError
from embedding_calculator.models.catalog import Entry
from embedding_calculator.models.runtime import Runtime, Wishes
from embedding_calculator.models.sources import Sources
from embedding_calculator.models.store import Store
from embedding_calculator.models.variants import Variant, VariantState, network_in, seal
from publisher import Page, describe, entry_of, serving, tiny_network

CONTENT = tiny_network()
KILLED = """
import os, signal, sys
from pathlib import Path
from embedding_calculator.models.catalog import Catalog
from embedding_calculator.models.store import Store
def make(folder):
    (folder / "network.onnx").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
catalog, root = map(Path, sys.argv[1:])
Store(root).keep_int8(Catalog.load(packaged=catalog).entry("tiny"), make)
"""


@pytest.fixture
def entry(tmp_path: Path) -> Iterator[Entry]:
    with serving() as publisher:
        url = publisher.publish("/tiny.onnx", Page(CONTENT))
        yield entry_of(tmp_path / "catalog", describe(CONTENT, f'{{ url = "{url}" }}'))


@pytest.fixture
def store(tmp_path: Path, entry: Entry) -> Store:
    pytest.importorskip("openvino")
    store = Store(tmp_path / "models")
    store.pull([entry], Sources())
    return store


def keep(store: Store, entry: Entry, *, of: str | None = None, content: bytes = CONTENT) -> Variant:
    """A variant whose network is another float32 one: what is in the file is not what is tested."""

    def make(folder: Path) -> Variant:
        network_in(folder).write_bytes(content)
        return seal(
            folder,
            of=of or store.manifests(entry)["network"].sha256,
            in_float=("first",),
            calibrated_on=20,
            found=np.array([0.99, 0.97, 0.98], np.float32),
            probed=(1, 3, 16, 16),
        )

    return store.keep_int8(entry, make)


def precision(store: Store, entry: Entry, wishes: Wishes) -> str:
    return store.open(entry, Runtime(wishes)).running["network"].precision


def test_a_variant_is_used_where_it_is_wished_for(store: Store, entry: Entry) -> None:
    wishes = Wishes(precision="int8")
    assert store.int8_state(entry) is VariantState.MISSING
    assert precision(store, entry, wishes) == "f32"
    kept = keep(store, entry)
    assert store.int8_state(entry) is VariantState.PRESENT
    assert store.int8_state(entry, thorough=True) is VariantState.VERIFIED
    assert (kept.median_cosine, kept.worst_cosine) == pytest.approx((0.98, 0.97))
    assert store.int8_variant(entry) == kept
    assert precision(store, entry, wishes) == "int8"
    assert precision(store, entry, Wishes()) == "f32"
    assert not (store.root / "tmp").exists()


def test_what_is_not_whole_or_of_another_network_is_not_used(store: Store, entry: Entry) -> None:
    folder = store.path(entry).with_name("int8")
    keep(store, entry, of="0" * 64)
    assert store.int8_state(entry) is VariantState.STALE
    assert precision(store, entry, Wishes(precision="int8")) == "f32"

    keep(store, entry)
    network_in(folder).write_bytes(tiny_network(seed=2))
    assert store.int8_state(entry) is VariantState.DAMAGED
    assert precision(store, entry, Wishes(precision="int8")) == "f32"

    keep(store, entry)
    (folder / "manifest.json").unlink()
    assert store.int8_state(entry) is VariantState.DAMAGED
    assert precision(store, entry, Wishes(precision="int8")) == "f32"


def test_a_changed_network_takes_its_variant_along(store: Store, entry: Entry) -> None:
    keep(store, entry)
    store.path(entry).write_bytes(b"damaged")
    store.pull([entry], Sources())
    assert store.int8_state(entry) is VariantState.MISSING


def test_a_variant_that_answers_otherwise_is_told(store: Store, entry: Entry) -> None:
    keep(store, entry)
    golden = store.path(entry).with_name("int8") / "golden.npz"
    with np.load(golden) as kept:
        answer = kept["answer"]
    np.savez(golden, allow_pickle=False, answer=-answer)
    assert store.int8_state(entry, thorough=True) is VariantState.DIFFERENT
    golden.write_bytes(b"broken")
    assert store.int8_state(entry, thorough=True) is VariantState.DAMAGED


def test_a_full_disk_is_told_and_leaves_what_there_was(store: Store, entry: Entry) -> None:
    kept = keep(store, entry)

    def make(folder: Path) -> Variant:
        network_in(folder).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ModelError, match=r"INT8 variant of 'tiny' could not be stored .*No space left on device"):
        store.keep_int8(entry, make)
    assert store.int8_variant(entry) == kept
    assert store.int8_state(entry, thorough=True) is VariantState.VERIFIED
    assert not (store.root / "tmp").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_quantization_leaves_nothing_that_is_used(store: Store, entry: Entry, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "catalog"), str(store.root)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert store.int8_state(entry) is VariantState.MISSING
    keep(store, entry)
    assert store.int8_state(entry) is VariantState.PRESENT
    assert not (store.root / "tmp").exists()
