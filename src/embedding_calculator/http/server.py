"""The server under the application: uvicorn, made patient only as far as an honest client needs it to be."""

from __future__ import annotations

import asyncio
import gc
import sys
from functools import partial
from typing import Any, cast

import cv2
import structlog
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from embedding_calculator.http.app import create_app
from embedding_calculator.http.memory import return_memory_promptly
from embedding_calculator.serialize import to_json
from embedding_calculator.settings import Settings

MAX_HEADER_BYTES = 64 * 1024
"""Of one request, its address included. Uvicorn itself bounds them only with its slower parser."""
PROGRESS_BYTES = 64 * 1024
"""What must arrive while the client is waited for, each time its patience is up; less only if that completes it."""

_HEADER_FRAME_BYTES = 3  # A colon and the end of the line, at least.

_TURN = 0.001
"""Seconds after which a busy thread lets others have the interpreter; Python's own 0.005 is what each step of an answer
to a health check may have to wait: 60 ms in ten steps beside two busy threads, 15 with this."""

log = structlog.get_logger(__name__)


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, which ends when the client sends headers, body, or takes its answer too slowly.

    An answer may be sent before its request has arrived, a refusal mostly. Then the rest is read and forgotten, because
    a client that is still sending when the connection closes may never see the answer; but no more than
    ``most_forgotten`` bytes of it.
    """

    def __init__(
        self, *arguments: Any, patience: float, most_connections: int, most_forgotten: int, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience
        self._most_connections = most_connections
        self._most_forgotten = most_forgotten
        self._in_body = False
        self._forgotten = 0
        self._parting = False  # To be closed as soon as the request has arrived.
        self._incomplete = True  # A request is being received; before the first byte of the first it is awaited.
        self._in_head = True
        self._head_bytes = 0
        self._header_bytes = 0
        self._since = 0.0
        self._received = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch its progress."""
        super().connection_made(transport)
        if len(self.connections) > self._most_connections:
            log.warning("too many connections", limit=self._most_connections)
            transport.abort()
            return
        self._restart()
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives, headers separately: the parser would collect them without end."""
        self._received += len(data)
        self._head_bytes += len(data) if self._in_head else 0
        if self._in_body and self.cycle.response_complete:
            self._forgotten += len(data)
            if self._forgotten > self._most_forgotten:
                log.info("a client was disconnected that went on sending", remote_addr=self._remote_address)
                self.transport.close()
                return
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("the headers are too long")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._incomplete = self._in_head = True
        self._head_bytes = self._header_bytes = self._forgotten = 0
        self._restart()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one of the trailers that may follow a body in chunks."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + _HEADER_FRAME_BYTES
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError("the headers are too long")

    def on_headers_complete(self) -> None:
        """The body begins."""
        self._in_head = False
        self._in_body = True
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, _Parting(self))

    def on_message_complete(self) -> None:
        """The request has been received."""
        self._incomplete = self._in_body = False
        super().on_message_complete()
        if self._parting:
            self.transport.close()

    def part(self) -> None:
        """Close the connection, but not on a client that is still sending."""
        self._parting = True
        if not self._in_body:
            self.transport.close()

    def on_response_complete(self) -> None:
        """The next request is awaited, unless it is here already."""
        if not self.pipeline:
            self._incomplete = True
            self._restart()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not take its answer."""
        super().pause_writing()
        self._restart()

    def send_400_response(self, msg: str) -> None:
        """The error's body has the contract's form."""
        self._refuse(b"400 Bad Request", msg)

    def _refuse(self, status: bytes, text: str) -> None:
        body = to_json({"message": f"{status.decode()}: {text}"})
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()

    @property
    def _remote_address(self) -> str | None:
        return self.client[0] if self.client else None

    def _restart(self) -> None:
        self._since, self._received = self.loop.time(), 0

    def _look_again(self) -> None:
        self._watch = self.loop.call_later(self._patience / 4, self._judge)

    def _judge(self) -> None:
        if self.transport.is_closing():
            return
        owes_bytes = self._incomplete and not self.flow.read_paused
        if not self.flow.write_paused and (not owes_bytes or self._received >= PROGRESS_BYTES):
            self._restart()
        elif self.loop.time() - self._since >= self._patience:
            log.info("a slow client was disconnected", remote_addr=self._remote_address)
            if self.flow.write_paused or (self.cycle is not None and self.cycle.response_started):
                self.transport.abort()
            else:
                self._refuse(b"408 Request Timeout", "the request arrives too slowly")
            return
        self._look_again()


class _Parting:
    """What uvicorn takes for the transport when it answers a request: closing it may have to wait."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()

    def close(self) -> None:
        self._connection.part()


def worker() -> FastAPI:
    """The application, in a process that is there for nothing else, so that it may set what holds for all of it."""
    return_memory_promptly()
    sys.setswitchinterval(_TURN)
    cv2.setNumThreads(1)  # As with networks: photos beside each other, not threads inside one of them.
    app = create_app()
    gc.collect()
    gc.freeze()  # What is here now stays; looking through it again and again costs 20 ms each time.
    return app


def options(settings: Settings) -> dict[str, Any]:
    """What ``uvicorn.run`` is told about connections, workers and its end."""
    connection = partial(
        Connection,
        patience=settings.client_timeout,
        most_connections=settings.max_connections,
        most_forgotten=settings.max_batch_bytes,  # A refused request costs no more than one that is read.
    )
    return {
        "http": cast(Any, connection),
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": settings.grace_period,
        # A worker that is busy loading models for a while is not a dead one; a killed one is seen at once.
        "timeout_worker_healthcheck": 30,
    }
