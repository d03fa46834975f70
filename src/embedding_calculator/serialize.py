"""JSON as the original wrote it: compact, keys sorted, a newline at the end; and the same content as MessagePack."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson
import ormsgpack

_OPTIONS = (
    orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATACLASS
)


_MSGPACK_OPTIONS = ormsgpack.OPT_SORT_KEYS | ormsgpack.OPT_SERIALIZE_NUMPY | ormsgpack.OPT_PASSTHROUGH_DATACLASS


def to_json(content: Any) -> bytes:
    """Dataclasses and numpy arrays included; float32 numbers get as many digits as tell them apart."""
    return orjson.dumps(content, default=_as_dict, option=_OPTIONS)


def to_msgpack(content: Any) -> bytes:
    """The same, as MessagePack; arrays are lists of numbers."""
    return ormsgpack.packb(content, default=_as_dict, option=_MSGPACK_OPTIONS)


def _as_dict(value: Any) -> dict[str, Any]:
    """The encoders write a dataclass in the order of its fields; as a dict its keys are sorted like all others."""
    return {field.name: getattr(value, field.name) for field in fields(value)}
