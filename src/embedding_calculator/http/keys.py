"""Who may ask: whoever carries a key, where keys are configured; health checks always may."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from embedding_calculator.http.errors import error_response

_OPEN_PATHS = frozenset({"/healthcheck", "/livez", "/readyz"})


class Keys:
    """ASGI middleware. Digests are compared, all of one length and each of them, so that time tells nothing."""

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self._app = app
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it before its body is read."""
        if scope["type"] != "http" or scope["path"] in _OPEN_PATHS or self._known(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        response = error_response(401, "401 Unauthorized: x-api-key is missing or wrong", {"X-Reason": "api_key"})
        await response(scope, receive, send)

    def _known(self, headers: Headers) -> bool:
        given = sha256(headers.get("x-api-key", "").encode()).digest()
        known = False
        for digest in self._digests:
            known |= hmac.compare_digest(given, digest)
        return known
