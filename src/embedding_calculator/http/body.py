"""Bodies as they arrive: counted against the limits and against the room that all uploads share."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from embedding_calculator.engine.admission import Ticket
from embedding_calculator.errors import ImageTooLargeError

ENVELOPE_BYTES = 1 << 20
"""What a request may be longer than its picture: a form's other parts and boundaries, or JSON around base64."""


def declared_bytes(request: Request) -> int:
    """What ``Content-Length`` says, 0 if it says nothing."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


async def chunks(request: Request, ticket: Ticket, limit: int, *, overhead: float = 1) -> AsyncIterator[bytes]:
    """The body, no further than ``limit`` bytes of content can reach.

    ``overhead`` is how much longer the content is as it travels. When the body is complete the ticket's clock starts.

    Raises:
        ImageTooLargeError: it is longer.
        BusyError: there is no room for it now.
    """
    most = int(limit * overhead) + ENVELOPE_BYTES
    too_long = ImageTooLargeError(f"a picture may have at most {limit} bytes")
    if declared_bytes(request) > most:
        raise too_long
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            raise too_long
        ticket.grow(len(chunk))
        yield chunk
    ticket.start_clock()
