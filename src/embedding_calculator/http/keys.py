"""Who may ask: whoever carries a key, where keys are configured; health checks and documentation are open to all."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from embedding_calculator.http.errors import error_response
from embedding_calculator.http.openapi import KEY_HEADER

OPEN_PATHS = frozenset(
    {"/healthcheck", "/livez", "/readyz", "/apidocs", "/apidocs/index.html", "/frs-core-api.json"}
)  # A browser cannot send a key with a page's address; the page itself asks for one.
_OPEN_FOLDER = "/static-offline-docs/"  # What the page is made of.


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(_OPEN_FOLDER)


class Keys:
    """ASGI middleware. Digests are compared, all of one length and each of them, so that time tells nothing."""

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self._app = app
        self._digests = tuple(sha256(key.encode()).digest() for key in keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it before its body is read."""
        if scope["type"] != "http" or _is_open(scope["path"]) or self._known(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        response = error_response(401, f"401 Unauthorized: {KEY_HEADER} is missing or wrong", {"X-Reason": "api_key"})
        await response(scope, receive, send)

    def _known(self, headers: Headers) -> bool:
        given = sha256(headers.get(KEY_HEADER, "").encode()).digest()
        known = False
        for digest in self._digests:
            known |= hmac.compare_digest(given, digest)
        return known
