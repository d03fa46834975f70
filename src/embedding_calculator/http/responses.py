"""JSON as the original wrote it: compact, keys sorted, a newline at the end."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi.responses import Response

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


def to_json(content: Any) -> bytes:
    """Dataclasses and numpy arrays included; float32 numbers get as many digits as tell them apart."""
    return orjson.dumps(content, option=_OPTIONS)


class JSONResponse(Response):
    """A response from anything that ``to_json`` takes, or from bytes that it made."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Bytes are sent as they are."""
        return content if isinstance(content, bytes) else to_json(content)
