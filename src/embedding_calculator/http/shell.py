"""What surrounds every request: its id, its log line, the headers of every answer, and the last net for errors."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedding_calculator.errors import BusyError
from embedding_calculator.http.errors import busy_response, error_response
from embedding_calculator.http.metrics import Metrics
from embedding_calculator.http.tracing import QUIET_PATHS, Tracing

_CACHE = "max-age=0, no-cache, no-store, must-revalidate, proxy-revalidate"
_HEADERS = {
    "Cache-Control": _CACHE,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_HONEST_ID = re.compile(r"[\w.:/+=-]{1,128}")

log = structlog.get_logger(__name__)


class Shell:
    """ASGI middleware; pure, so that bodies stream through it untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _HONEST_ID.fullmatch(given) else uuid.uuid4().hex
        path: str = scope["path"]
        start = time.perf_counter()
        status: int | None = None

        async def send_decorated(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer.update(_HEADERS)
                answer["X-Request-Id"] = request_id
                trace.answered(status, answer.get("x-reason"))
            await send(message)

        inner = _without_trailing_slash(scope)
        with (
            self._tracing.request(inner) as trace,
            structlog.contextvars.bound_contextvars(
                request_id=request_id,
                request={
                    "method": scope["method"],
                    "path": path,
                    "remote_addr": scope["client"][0] if scope.get("client") else None,
                },
                **trace.ids,
            ),
        ):
            try:
                await self._app(inner, receive, send_decorated)
            except ClientDisconnect:
                log.info("the client left before its request was complete")
            except asyncio.CancelledError:
                log.warning("cut off: the grace period is over")
                if status is None:
                    over = BusyError("shutting_down", "the service is shutting down")
                    await busy_response(over)(scope, receive, send_decorated)
            except Exception as error:
                log.exception("request failed")
                trace.failed(error)
                if status is None:
                    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                    await error_response(500, text)(scope, receive, send_decorated)
            seconds = time.perf_counter() - start
            self._metrics.answered(getattr(inner.get("route"), "path", "other"), status, seconds)
            line = log.debug if path in QUIET_PATHS else log.info
            line("request", status=status, milliseconds=round(seconds * 1000, 1))


def _without_trailing_slash(scope: Scope) -> Scope:
    """The original answered ``/status/`` like ``/status``; a redirect would lose the body of a POST."""
    path: str = scope["path"]
    return {**scope, "path": path.rstrip("/")} if path.rstrip("/") and path.endswith("/") else scope
