"""Weights are read from PyTorch files as data: what a hostile file asks for is refused, never done."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_calculator.errors import ModelError
from embedding_calculator.models.importers.torch_state import read_state

WEIGHTS = np.arange(12, dtype="<f4")
COUNT = np.array([7], "<i8")


class Named:
    """Pickles as a bare global, whether or not there is such a thing."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Call:
    """Pickles as the call of a global."""

    def __init__(self, function: Named, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


REBUILD = Named("torch._utils", "_rebuild_tensor_v2")
FLOATS = Storage("FloatStorage", "0", 12)
LONGS = Storage("LongStorage", "1", 1)


def tensor(storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Call:
    return Call(REBUILD, storage, offset, shape, strides, False, OrderedDict())


# Only the one written in Python lets itself be changed; the type stubs know no more than its name.
_PythonPickler: Any = pickle._Pickler


class Pickler(_PythonPickler):  # type: ignore[misc]
    """Writes names and storages as ``torch.save`` does, without torch."""

    def __init__(self, file: io.BytesIO, legacy: bool) -> None:
        super().__init__(file, protocol=2)
        self.tail = (None,) if legacy else ()

    def persistent_id(self, value: object) -> object:
        if isinstance(value, Storage):
            return ("storage", Named("torch", value.kind), value.key, "cpu", value.count, *self.tail)
        return None

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Named):
            self.write(b"c" + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def pickled(value: object, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    Pickler(file, legacy).dump(value)
    return file.getvalue()


def archive(path: Path, value: object | bytes, compression: int = zipfile.ZIP_STORED, **storages: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("model/data.pkl", value if isinstance(value, bytes) else pickled(value))
        for key, data in (storages or {"_0": WEIGHTS.tobytes(), "_1": COUNT.tobytes()}).items():
            file.writestr(f"model/data/{key.removeprefix('_')}", data)
    return path


def stream(path: Path, value: object, *, count: int = 12, data: bytes = WEIGHTS.tobytes()) -> Path:
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {"int": 4}}]
    parts = [*map(pickled, head), pickled(value, legacy=True), pickled(["0"]), struct.pack("<q", count), data]
    path.write_bytes(b"".join(parts))
    return path


class StateDict(OrderedDict[str, Any]):
    """With attributes, as PyTorch's state dicts have."""

    def __reduce__(self) -> Any:
        return OrderedDict, (), {"_metadata": OrderedDict(version=1)}, None, iter(self.items())


def test_reads_the_archive_torch_writes(tmp_path: Path) -> None:
    state = StateDict(
        weight=tensor(FLOATS, 0, (3, 4), (4, 1)),
        turned=tensor(FLOATS, 0, (4, 3), (1, 4)),
        bias=Call(Named("torch._utils", "_rebuild_parameter"), tensor(FLOATS, 8, (2,), (2,)), True, OrderedDict()),
        steps=tensor(LONGS, 0, (), ()),
    )
    read = read_state(archive(tmp_path / "weights.pt", state))
    assert list(read) == ["weight", "turned", "bias", "steps"]
    np.testing.assert_array_equal(read["weight"], WEIGHTS.reshape(3, 4))
    np.testing.assert_array_equal(read["turned"], WEIGHTS.reshape(3, 4).T)
    np.testing.assert_array_equal(read["bias"], [8, 10])
    assert read["steps"] == 7
    assert not read["weight"].flags.writeable


def test_reads_the_older_stream(tmp_path: Path) -> None:
    read = read_state(stream(tmp_path / "weights.pt", OrderedDict(weight=tensor(FLOATS, 0, (12,), (1,)))))
    np.testing.assert_array_equal(read["weight"], WEIGHTS)


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("torch", "load"), ("numpy", "load")],
)
@pytest.mark.parametrize("write", [archive, stream])
def test_refuses_calls_by_name(tmp_path: Path, write: Any, module: str, name: str) -> None:
    trace = tmp_path / "trace"
    path = write(tmp_path / "weights.pt", {"weight": Call(Named(module, name), f"touch {trace}")})
    with pytest.raises(ModelError, match=rf"weights\.pt .*asks for {module}\.{name}"):
        read_state(path)
    assert not trace.exists()


class _Hostile:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_refuses_real_pickles_of_any_protocol(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    data = pickle.dumps(_Hostile(trace), protocol)
    (tmp_path / "bare.pt").write_bytes(data)
    for path in (archive(tmp_path / "weights.pt", data), tmp_path / "bare.pt"):
        with pytest.raises(ModelError):
            read_state(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "value",
    [
        {"weight": tensor(FLOATS, 0, (2**40,), (0,))},
        {"weight": tensor(FLOATS, 0, (13,), (1,))},
        {"weight": tensor(FLOATS, 1, (12,), (1,))},
        {"weight": tensor(FLOATS, 2**62, (0,), (1,))},
        {"weight": tensor(FLOATS, 0, (3, 4), (2**62, 1))},
        {"weight": tensor(FLOATS, 11, (2,), (-1,))},
        {"weight": tensor(FLOATS, -1, (2,), (1,))},
        {"weight": tensor(FLOATS, 0, (3, 4), (4,))},
        {"weight": tensor(FLOATS, 0, ("3",), (1,))},  # type: ignore[arg-type]
        {"weight": tensor(Storage("FloatStorage", "0", 2**50), 0, (1,), (1,))},
        {"weight": tensor(Storage("FloatStorage", "0", -12), 0, (0,), (1,))},
        {"weight": tensor(Storage("FloatStorage", "../../0", 12), 0, (12,), (1,))},
        {"a": tensor(FLOATS, 0, (12,), (1,)), "b": tensor(Storage("LongStorage", "0", 6), 0, (6,), (1,))},
        {"weight": tensor(Storage("FloatStorage", "9", 12), 0, (12,), (1,))},
        {"weight": FLOATS},
        {"weight": [1, 2]},
        {"weight": REBUILD},
        {"weight": Call(REBUILD, 1, 2)},
        {"weight": Call(Named("collections", "OrderedDict"), [("a", 1)])},
        [tensor(FLOATS, 0, (12,), (1,))],
        {},
    ],
)
@pytest.mark.parametrize("write", [archive, stream])
def test_refuses_what_does_not_fit(tmp_path: Path, write: Any, value: object) -> None:
    with pytest.raises(ModelError, match=r"weights\.pt"):
        read_state(write(tmp_path / "weights.pt", value))


GOOD = {"weight": tensor(FLOATS, 0, (12,), (1,))}


def test_refuses_a_zip_that_unpacks_to_more_than_it_is(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "weights.pt", GOOD, zipfile.ZIP_DEFLATED, _0=bytes(10_000_000))
    with pytest.raises(ModelError, match="compressed"):
        read_state(bomb)


def test_refuses_storages_of_another_length(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="48 bytes"):
        read_state(archive(tmp_path / "weights.pt", GOOD, _0=WEIGHTS[:5].tobytes()))
    with pytest.raises(ModelError, match="48 bytes"):
        read_state(stream(tmp_path / "weights.pt", GOOD, count=2**40))
    with pytest.raises(ModelError, match="48 bytes"):
        read_state(stream(tmp_path / "weights.pt", GOOD, data=WEIGHTS[:5].tobytes()))


@given(cut=st.integers(0, 99), whole=st.sampled_from(["archive", "stream"]))
def test_a_truncated_file_is_an_error_of_the_model(
    tmp_path_factory: pytest.TempPathFactory, cut: int, whole: str
) -> None:
    path = tmp_path_factory.mktemp("cut") / "weights.pt"
    data = (archive if whole == "archive" else stream)(path, GOOD).read_bytes()
    path.write_bytes(data[: cut * len(data) // 100])
    with pytest.raises(ModelError):
        read_state(path)


@given(st.binary(max_size=200))
def test_random_opcodes_are_an_error_of_the_model(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("noise")
    (folder / "noise.pt").write_bytes(data)
    for path in (folder / "noise.pt", archive(folder / "weights.pt", data)):
        with pytest.raises(ModelError):
            read_state(path)
