"""Every endpoint of the contract: what comes in, what goes out, nothing in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from embedding_calculator.engine.admission import Ticket
from embedding_calculator.engine.timing import Stopwatch
from embedding_calculator.errors import AbandonedError, BusyError, InputError, ParameterError
from embedding_calculator.http import openapi
from embedding_calculator.http.base64 import read_embedded
from embedding_calculator.http.body import chunks, declared_bytes
from embedding_calculator.http.forms import Form, read_form
from embedding_calculator.http.parameters import Parameters
from embedding_calculator.http.responses import JSONResponse, encoder, server_timing
from embedding_calculator.http.service import Service, service_of

router = APIRouter()

Answer = Callable[[bytes, Parameters, Ticket], dict[str, Any]]


@router.head("/healthcheck", include_in_schema=False)
@router.head("/livez", include_in_schema=False)
@router.get("/healthcheck", operation_id="healthcheck", **openapi.HEALTHCHECK)
@router.get("/livez", operation_id="livez", **openapi.LIVEZ)
async def healthy() -> Response:
    """Every model is open and warm before the port is bound: whoever can be asked is alive."""
    return JSONResponse({"status": "OK"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", **openapi.READYZ)
async def ready(request: Request) -> Response:
    """Alive, and not about to stop; of several worker processes it also tells how many are there to answer.

    A worker that has lost its siblings can serve, so that it stays 200: sending its clients away would help nobody.
    """
    service = service_of(request)
    if service.admission.draining:
        raise BusyError("shutting_down", "the service is shutting down")
    alive = service.metrics.workers()
    if alive is None:
        return JSONResponse({"status": "OK"})
    return JSONResponse({"status": "OK", "workers": {"alive": alive, "expected": service.settings.uwsgi_processes}})


@router.head("/status", include_in_schema=False)
@router.get("/status", **openapi.STATUS)
async def status(request: Request) -> Response:
    """What runs here."""
    return JSONResponse(service_of(request).status(Parameters(request.query_params.multi_items(), {})))


@router.get("/metrics", **openapi.METRICS)
async def metrics(request: Request) -> Response:
    """What Prometheus reads."""
    return Response(service_of(request).metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})


@router.post("/find_faces", **openapi.FIND_FACES)
async def find_faces(request: Request) -> Response:
    """Every face in an uploaded picture."""
    return await _uploaded(request, service_of(request).find_faces)


@router.post("/scan_faces", **openapi.SCAN_FACES)
async def scan_faces(request: Request) -> Response:
    """Every face and its embedding, in the legacy shape."""
    return await _uploaded(request, service_of(request).scan_faces)


@router.post("/find_faces_base64", **openapi.FIND_FACES_BASE64)
async def find_faces_base64(request: Request) -> Response:
    """Every face in a picture inside JSON."""
    service = service_of(request)
    with service.admission.open(declared_bytes(request), Stopwatch()) as ticket:
        with ticket.stopwatch.stage("receive"):
            received = [
                chunk async for chunk in chunks(request, ticket, service.settings.max_image_bytes, overhead=4 / 3)
            ]
        parameters = Parameters(request.query_params.multi_items(), {})
        return await _compute(request, ticket, service.find_faces, lambda: _embedded(request, received), parameters)


@router.get("/apidocs/index.html", include_in_schema=False)
async def apidocs_index() -> Response:
    """Where the original's documentation lay."""
    return RedirectResponse("/apidocs", status_code=302)


async def _uploaded(request: Request, answer: Answer) -> Response:
    service = service_of(request)
    with service.admission.open(declared_bytes(request), Stopwatch()) as ticket:
        with ticket.stopwatch.stage("receive"):
            body = chunks(request, ticket, service.settings.max_image_bytes)
            form = await read_form(request.headers.get("content-type"), body)
        parameters = Parameters(request.query_params.multi_items(), form.texts)
        return await _compute(request, ticket, answer, lambda: _picture(form), parameters)


async def _compute(
    request: Request, ticket: Ticket, answer: Answer, data: Callable[[], bytes], parameters: Parameters
) -> Response:
    """Work in a thread, reading base64 and writing JSON included: the event loop only ever carries bytes."""
    service: Service = service_of(request)
    media_type, write = encoder(request.headers.get("accept", ""))
    stopwatch = ticket.stopwatch

    def work() -> bytes:
        content = answer(data(), parameters, ticket)
        with stopwatch.stage("write"):
            return write(content)

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    service.admission.seat(ticket)
    try:
        with service.tracing.photo(stopwatch):
            content = await service.admission.compute(ticket, work, left)
    except AbandonedError as error:
        raise ClientDisconnect from error
    finally:
        service.metrics.computed(stopwatch)
    return Response(content, media_type=media_type, headers={"Server-Timing": server_timing(stopwatch.seconds)})


def _picture(form: Form) -> bytes:
    uploads = form.files.get("file")
    if not uploads:
        raise ParameterError("No file is attached")
    if not uploads[0].filename:
        raise ParameterError("No file is selected")
    return uploads[0].data


def _embedded(request: Request, received: list[bytes]) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise InputError(f"the body is {kind or 'of no declared type'}, not JSON")
    body = b"".join(received)
    received.clear()
    return read_embedded(body)
