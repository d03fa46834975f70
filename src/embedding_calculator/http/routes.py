"""Every endpoint of the contract: what comes in, what goes out, nothing in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import orjson
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from embedding_calculator.errors import ImageTooLargeError, InputError, ParameterError
from embedding_calculator.http import openapi
from embedding_calculator.http.forms import Form, read_form
from embedding_calculator.http.parameters import Parameters
from embedding_calculator.http.responses import JSONResponse
from embedding_calculator.http.service import Service
from embedding_calculator.imaging.encoding import decode_base64
from embedding_calculator.serialize import to_json

# What a request may be longer than its picture: a form's other parts and boundaries, or JSON around base64.
_ENVELOPE_BYTES = 1 << 20

router = APIRouter()


@router.head("/healthcheck", include_in_schema=False)
@router.head("/livez", include_in_schema=False)
@router.head("/readyz", include_in_schema=False)
@router.get("/healthcheck", operation_id="healthcheck", **openapi.HEALTHCHECK)
@router.get("/livez", operation_id="livez", **openapi.LIVEZ)
@router.get("/readyz", operation_id="readyz", **openapi.READYZ)
async def healthy() -> Response:
    """Every model is open and warm before the port is bound: whoever can be asked is alive and ready."""
    return JSONResponse({"status": "OK"})


@router.head("/status", include_in_schema=False)
@router.get("/status", **openapi.STATUS)
async def status(request: Request) -> Response:
    """What runs here."""
    return JSONResponse(_service(request).status(Parameters(request.query_params.multi_items(), {})))


@router.post("/find_faces", **openapi.FIND_FACES)
async def find_faces(request: Request) -> Response:
    """Every face in an uploaded picture."""
    form = await _form(request)
    return await _compute(
        _service(request).find_faces,
        lambda: _uploaded(form),
        request,
        form,
    )


@router.post("/find_faces_base64", **openapi.FIND_FACES_BASE64)
async def find_faces_base64(request: Request) -> Response:
    """Every face in a picture inside JSON."""
    body = b"".join([chunk async for chunk in _chunks(request, overhead=4 / 3)])
    return await _compute(_service(request).find_faces, lambda: _embedded(request, body), request, Form())


@router.post("/scan_faces", **openapi.SCAN_FACES)
async def scan_faces(request: Request) -> Response:
    """Every face and its embedding, in the legacy shape."""
    form = await _form(request)
    return await _compute(_service(request).scan_faces, lambda: _uploaded(form), request, form)


@router.get("/apidocs/index.html", include_in_schema=False)
async def apidocs_index() -> Response:
    """Where the original's documentation lay."""
    return RedirectResponse("/apidocs", status_code=302)


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


async def _compute(
    answer: Callable[[bytes, Parameters], dict[str, Any]], data: Callable[[], bytes], request: Request, form: Form
) -> Response:
    """Work in a thread, reading base64 and writing JSON included: the event loop only ever carries bytes."""
    parameters = Parameters(request.query_params.multi_items(), form.texts)
    content = await to_thread.run_sync(lambda: to_json(answer(data(), parameters)), limiter=_service(request).threads)
    return JSONResponse(content)


async def _form(request: Request) -> Form:
    return await read_form(request.headers.get("content-type"), _chunks(request, overhead=1))


async def _chunks(request: Request, overhead: float) -> AsyncIterator[bytes]:
    """The body as it arrives, no further than a picture of the permitted size can reach."""
    limit = _service(request).settings.max_image_bytes
    most = int(limit * overhead) + _ENVELOPE_BYTES
    declared = request.headers.get("content-length", "")
    received = int(declared) if declared.isdecimal() else 0
    if received <= most:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > most:
                break
            yield chunk
    if received > most:
        raise ImageTooLargeError(f"a picture may have at most {limit} bytes")


def _uploaded(form: Form) -> bytes:
    upload = form.files.get("file")
    if upload is None:
        raise ParameterError("No file is attached")
    if not upload.filename:
        raise ParameterError("No file is selected")
    return upload.data


def _embedded(request: Request, body: bytes) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise InputError(f"the body is {kind or 'of no declared type'}, not JSON")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError(f"the body is not JSON: {error}") from error
    text = content.get("file") if isinstance(content, dict) else None
    if not isinstance(text, str):
        raise ParameterError("No file is attached")
    return decode_base64(text)
