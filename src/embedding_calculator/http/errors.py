"""The one place where errors become status codes and messages."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from embedding_calculator.errors import (
    BusyError,
    EmbeddingCalculatorError,
    ImageTooLargeError,
    ImageUnreadableError,
    InputError,
    NoFaceFoundError,
    ParameterError,
)
from embedding_calculator.http.metrics import Metrics
from embedding_calculator.http.responses import JSONResponse

_DESCRIPTIONS = {
    404: (
        "404 Not Found: The requested URL was not found on the server. If you entered the URL manually please check"
        " your spelling and try again."
    ),
    405: "405 Method Not Allowed: The method is not allowed for the requested URL.",
}

log = structlog.get_logger(__name__)

MALFORMED = "The browser (or proxy) sent a request that this server could not understand."


def client_error(error: InputError) -> tuple[int, str]:
    """Status and message of a mistake of the client's; messages are the original's, to the letter."""
    match error:
        case ImageTooLargeError():
            return 413, f"413 Request Entity Too Large: {error}"
        case ImageUnreadableError():
            return 400, "400 Bad Request: Image has incorrect format or is broken"
        case NoFaceFoundError():
            return 400, "400 Bad Request: No face is found in the given image"
        case ParameterError():
            return 400, f"400 Bad Request: {error}"
        case _:
            return 400, f"400 Bad Request: {MALFORMED}"


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """``{"message": ...}``, the body of every error."""
    return JSONResponse({"message": message}, status_code=status, headers=headers)


def busy_response(error: BusyError) -> Response:
    """503, when to come again, and why in a word that programs can compare."""
    headers = {"Retry-After": str(error.retry_after), "X-Reason": error.reason}
    return error_response(503, f"503 Service Unavailable: {error}", headers)


def install(app: FastAPI, metrics: Metrics) -> None:
    """Teach the application to answer errors as the original did."""

    @app.exception_handler(InputError)
    async def on_input_error(_: Request, error: InputError) -> Response:
        status, message = client_error(error)
        log.info("refused", status=status, reason=str(error) or type(error).__name__)
        return error_response(status, message)

    @app.exception_handler(BusyError)
    async def on_busy(_: Request, error: BusyError) -> Response:
        metrics.refused(error.reason)
        log.info("refused", status=503, reason=error.reason)
        return busy_response(error)

    @app.exception_handler(EmbeddingCalculatorError)
    async def on_own_error(_: Request, error: EmbeddingCalculatorError) -> Response:
        log.error("failed", exc_info=error)
        return error_response(500, f"{type(error).__name__}: {error}")

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405 and request.method == "OPTIONS":
            return Response(media_type="text/html", headers=error.headers)
        message = _DESCRIPTIONS.get(error.status_code, f"{error.status_code} {error.detail}")
        return error_response(error.status_code, message, error.headers)
