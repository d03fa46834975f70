"""Weights out of a PyTorch checkpoint, without PyTorch and without running what is pickled in it.

A checkpoint is a pickle that names tensors and, beside it, the bytes of their storages. Unpickling would let the file
call any function it likes. Here nothing is called: the pickle's opcodes (``pickletools``) are read by a small machine
that knows tuples, lists, dictionaries, and three names out of PyTorch, and refuses everything else by name.

Both layouts of ``torch.save`` are read: the zip archive (since 1.6) and the older stream of pickles.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.errors import ModelError

_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001

_DTYPES: Final[Mapping[str, str]] = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "|i1",
    "torch ByteStorage": "|u1",
    "torch BoolStorage": "|b1",
}
_NAMES: Final = frozenset(
    {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", *_DTYPES}
)


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a state dict by its name, in the file's order; the arrays are read-only.

    Raises:
        ModelError: the file is no state dict, is damaged, or asks for more than tensors.
    """
    try:
        # From memory: a reader of a file sets aside as many bytes as it is asked for, however few there are.
        file = io.BytesIO(path.read_bytes())
        return _from_zip(file) if zipfile.is_zipfile(file) else _from_stream(file)
    except _RefusedError as error:
        raise ModelError(f"{path.name} is not read as a PyTorch state dict: {error}. Fetch the model again.") from error
    except (ValueError, EOFError, struct.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path.name} is damaged or no PyTorch state dict: {error}. Fetch the model again.") from error


class _RefusedError(Exception):
    """The file asks for something that a table of weights does not need."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A global the pickle mentions: one of ``_NAMES``, and only a word."""

    text: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view into a storage; its bytes are read later."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, data: bytes) -> NDArray[Any]:
        flat = np.frombuffer(data, self.storage.dtype)
        strides = [stride * flat.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides, writeable=False)


def _from_zip(file: io.BytesIO) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        # PyTorch stores its members uncompressed, so no honest one is larger than the file they are in.
        for info in members.values():
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise _RefusedError(f"its member {info.filename} is compressed")
        if sum(info.file_size for info in members.values()) > len(file.getbuffer()):
            raise _RefusedError("its members are said to be larger than the file")
        roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise _RefusedError("it has no member data.pkl, or several")
        (root,) = roots
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise _RefusedError("its numbers are big-endian")
        tensors = _state(_Machine().run(io.BytesIO(archive.read(f"{root}data.pkl"))))
        storages: dict[str, bytes] = {}
        for tensor in tensors.values():
            key, nbytes = tensor.storage.key, tensor.storage.nbytes
            if key in storages:
                continue
            member = members.get(f"{root}data/{key}")
            if member is None or member.file_size != nbytes:
                raise _RefusedError(f"storage {key} is missing or has not the {nbytes} bytes declared")
            storages[key] = archive.read(member)
        return _arrays(tensors, storages)


def _from_stream(file: io.BytesIO) -> dict[str, NDArray[Any]]:
    """Pickles one after the other (magic, protocol, system, state, storage keys), then each storage: count, bytes."""
    file.seek(0)
    if _Machine().run(file) != _LEGACY_MAGIC or _Machine().run(file) != _LEGACY_PROTOCOL:
        raise _RefusedError("it does not begin like one")
    system = _Machine().run(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _RefusedError("its numbers are big-endian")
    tensors = _state(_Machine().run(file))
    keys = _Machine().run(file)
    declared = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(declared):
        raise _RefusedError("the storages it lists are not those its tensors need")
    length = len(file.getbuffer())
    storages: dict[str, bytes] = {}
    for key in keys:
        storage = declared[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count or storage.nbytes > length - file.tell():
            raise _RefusedError(f"storage {key} has not the {storage.nbytes} bytes declared")
        storages[key] = file.read(storage.nbytes)
    return _arrays(tensors, storages)


def _state(value: object) -> dict[str, _Tensor]:
    if not isinstance(value, dict) or not value:
        raise _RefusedError("it holds no table of tensors")
    sizes: dict[str, _Storage] = {}
    for name, tensor in value.items():
        if not isinstance(tensor, _Tensor):
            raise _RefusedError(f"its entry {name!r} is no tensor")
        if sizes.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise _RefusedError(f"storage {tensor.storage.key} is declared twice, differently")
    return value


def _arrays(tensors: Mapping[str, _Tensor], storages: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    return {name: tensor.array(storages[tensor.storage.key]) for name, tensor in tensors.items()}


class _Machine:
    """The part of the pickle machine that state dicts use. It builds containers and looks nothing up."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> Any:
        """The value of the one pickle at the file's position."""
        try:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except (IndexError, KeyError) as error:
            raise ValueError("its pickle is malformed") from error
        raise ValueError("its pickle has no end")

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode]())
        elif opcode in _SMALL_TUPLES:
            items = [self._stack.pop() for _ in range(_SMALL_TUPLES[opcode])]
            self._stack.append(tuple(reversed(items)))
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        elif opcode != "PROTO":
            raise _RefusedError(f"its pickle uses {opcode}, which no table of weights needs")

    def _mark(self, _: object) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _tuple(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append(tuple(items))

    def _append(self, _: object) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: object) -> None:
        self._extend(self._to_mark())

    def _extend(self, items: list[Any]) -> None:
        match self._stack[-1]:
            case list() as row:
                row.extend(items)
            case _:
                raise ValueError("its pickle is malformed")

    def _set_item(self, _: object) -> None:
        value = self._stack.pop()
        self._update([self._stack.pop(), value])

    def _set_items(self, _: object) -> None:
        self._update(self._to_mark())

    def _update(self, items: list[Any]) -> None:
        table, keys = self._stack[-1], items[::2]
        if not isinstance(table, dict) or len(items) % 2 or not all(isinstance(key, str) for key in keys):
            raise ValueError("its pickle is malformed")
        table.update(zip(keys, items[1::2], strict=True))

    def _put(self, slot: int) -> None:
        self._memo[slot] = self._stack[-1]

    def _get(self, slot: int) -> None:
        self._stack.append(self._memo[slot])

    def _global(self, name: str) -> None:
        if name not in _NAMES:
            raise _RefusedError(f"its pickle asks for {name.replace(' ', '.')}, which no table of weights needs")
        self._stack.append(_Name(name))

    def _persistent(self, _: object) -> None:
        match self._stack.pop():
            case ("storage", _Name(kind), str(key), str(), int(count), *rest) if (
                kind in _DTYPES and count >= 0 and rest in ([], [None])
            ):
                self._stack.append(_Storage(key, _DTYPES[kind], count))
            case _:
                raise _RefusedError("a storage is declared in a way not known here")

    def _reduce(self, _: object) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        match name, arguments:
            case _Name("collections OrderedDict"), ():
                self._stack.append({})
            case _Name("torch._utils _rebuild_tensor_v2"), (_Storage() as storage, int(offset), tuple(), tuple(), *_):
                self._stack.append(_tensor(storage, offset, arguments[2], arguments[3]))
            case _Name("torch._utils _rebuild_parameter"), (_Tensor() as tensor, bool(), *_):
                self._stack.append(tensor)
            case _:
                raise _RefusedError("its pickle makes a call not known here")

    def _build(self, _: object) -> None:
        # The attributes of a state dict are version numbers of its layers: of no use here.
        self._stack.pop()
        if not isinstance(self._stack[-1], dict):
            raise _RefusedError("its pickle sets attributes of something that is no dictionary")


def _tensor(storage: _Storage, offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> _Tensor:
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise _RefusedError("a tensor's shape and strides do not fit together")
    count = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if offset > storage.count or count > storage.count or (count and last >= storage.count):
        raise _RefusedError(f"a tensor reaches beyond its storage of {storage.count} numbers")
    return _Tensor(storage, offset, shape, strides)


_LITERALS: Final = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"})
_CONSTANTS: Final[Mapping[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_SMALL_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ACTIONS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    "MARK": _Machine._mark,
    "TUPLE": _Machine._tuple,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "GLOBAL": _Machine._global,
    "BINPERSID": _Machine._persistent,
    "REDUCE": _Machine._reduce,
    "BUILD": _Machine._build,
}
