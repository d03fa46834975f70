"""Responses whose content is JSON of the contract's form."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response

from embedding_calculator.serialize import to_json


class JSONResponse(Response):
    """A response from anything that ``to_json`` takes, or from bytes that it made."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Bytes are sent as they are."""
        return content if isinstance(content, bytes) else to_json(content)
