"""Responses whose content is JSON of the contract's form, or MessagePack for those who ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi.responses import Response

from embedding_calculator.serialize import to_json, to_msgpack

MSGPACK = "application/msgpack"


class JSONResponse(Response):
    """A response from anything that ``to_json`` takes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """As JSON."""
        return to_json(content)


def encoder(accept: str) -> tuple[str, Callable[[Any], bytes]]:
    """The media type and the writer for a request's ``Accept`` header: JSON unless MessagePack is named."""
    named = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return (MSGPACK, to_msgpack) if MSGPACK in named else ("application/json", to_json)


def server_timing(seconds: dict[str, float]) -> str:
    """The ``Server-Timing`` header: stages and their milliseconds."""
    return ", ".join(f"{stage};dur={value * 1000:.1f}" for stage, value in seconds.items())
