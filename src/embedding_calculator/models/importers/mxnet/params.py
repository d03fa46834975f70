"""A reader of ``.params`` files: the named arrays that MXNet's ``nd.save`` writes.

The layout, little-endian throughout: ``u64`` magic 0x112, ``u64`` reserved, ``u64`` count and as many arrays, then
``u64`` count and as many names (``u64`` length, UTF-8). Facts from MXNet's ``NDArray::Save`` and its legacy loaders.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedding_calculator.errors import ModelError

Array: TypeAlias = NDArray[Any]

_LIST_MAGIC = 0x112
_SHAPE_64 = 0xF993FAC8  # dimensions in 64 bits, no storage type
_STORAGE_TYPE = 0xF993FAC9  # storage type before the shape
_NUMPY_SHAPE = 0xF993FACA  # as before; a shape without dimensions is a scalar, -1 dimensions is no array
_MAX_DIMENSIONS = 32
_DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}


def read_params(path: Path) -> dict[str, Array]:
    """Every array of the file by its name, without the ``arg:`` and ``aux:`` prefixes, in the dtype it was saved in.

    Nothing is allocated on the word of the file: every array is a view of bytes that are there.

    Raises:
        ModelError: the file is not such a list, is cut short, or holds something other than dense arrays.
    """
    content = _Cursor(path.name, path.read_bytes())
    if content.unsigned64() != _LIST_MAGIC:
        raise content.error("it does not begin as an MXNet list of arrays does")
    content.unsigned64()
    arrays = [_read_array(content) for _ in range(content.count(smallest=4))]
    names = [content.text() for _ in range(content.count(smallest=8))]
    if len(names) != len(arrays):
        raise content.error(f"it holds {len(arrays)} arrays but {len(names)} names")
    if not content.exhausted:
        raise content.error("bytes follow after the last name")
    params: dict[str, Array] = {}
    for name, array in zip(names, arrays, strict=True):
        kind, colon, rest = name.partition(":")
        plain = rest if colon and kind in ("arg", "aux") else name
        if plain in params:
            raise content.error(f"the name {plain!r} appears twice")
        if array is not None:
            params[plain] = array
    return params


def _read_array(content: _Cursor) -> Array | None:
    """One array, or None where the list has a gap."""
    magic = content.unsigned32()
    if magic in (_STORAGE_TYPE, _NUMPY_SHAPE):
        storage = content.signed32()
        if storage != 0:
            raise content.error(f"storage type {storage} is not a dense array")
        dimensions, width = content.signed32(), 8
    elif magic == _SHAPE_64:
        dimensions, width = content.signed32(), 8
    else:
        dimensions, width = magic, 4  # the oldest layout begins with the number of dimensions
    if dimensions == (-1 if magic == _NUMPY_SHAPE else 0):
        return None
    if not 0 <= dimensions <= _MAX_DIMENSIONS:
        raise content.error(f"an array of {dimensions} dimensions")
    shape = content.dimensions(dimensions, width)
    content.take(8)  # the device it lived on, and which one of them
    return content.array(shape, content.signed32())


@dataclass(slots=True)
class _Cursor:
    """Reads on through bytes that may be hostile."""

    filename: str
    content: bytes
    position: int = field(default=0)

    def error(self, reason: str) -> ModelError:
        return ModelError(f"{self.filename} is not a usable MXNet params file: {reason}")

    @property
    def exhausted(self) -> bool:
        return self.position == len(self.content)

    def take(self, length: int) -> bytes:
        start = self._advance(length)
        return self.content[start : start + length]

    def unsigned32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def signed32(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def unsigned64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def count(self, smallest: int) -> int:
        """How many items follow, each of at least ``smallest`` bytes."""
        count = self.unsigned64()
        if count * smallest > len(self.content) - self.position:
            raise self.error(f"it promises {count} items and is too short for them")
        return count

    def text(self) -> str:
        try:
            return self.take(self.unsigned64()).decode()
        except UnicodeDecodeError as cause:
            raise self.error("a name is not text") from cause

    def dimensions(self, count: int, width: int) -> tuple[int, ...]:
        shape = struct.unpack(f"<{count}{'q' if width == 8 else 'I'}", self.take(count * width))
        if any(length < 0 for length in shape):
            raise self.error(f"an array of shape {shape}")
        return shape

    def array(self, shape: tuple[int, ...], type_flag: int) -> Array:
        if type_flag not in _DTYPES:
            raise self.error(f"an array of unknown type {type_flag}")
        dtype = np.dtype(_DTYPES[type_flag])
        size = math.prod(shape)
        start = self._advance(size * dtype.itemsize)
        try:
            return np.frombuffer(self.content, dtype, size, start).reshape(shape)
        except ValueError as cause:  # Without a number in it, but of dimensions that no array has.
            raise self.error(f"an array of shape {shape}") from cause

    def _advance(self, length: int) -> int:
        start = self.position
        if length > len(self.content) - start:
            raise self.error(f"it ends early: {length} bytes wanted at offset {start} of {len(self.content)}")
        self.position = start + length
        return start
