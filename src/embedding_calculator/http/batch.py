"""Many photos in one request: read whole, computed side by side, answered in lines as each is ready.

What the library does for many photos (``engine.many``) is done here by tasks of the event loop: each photo waits among
those of all clients, has a deadline of its own, and is dropped when its client leaves.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from functools import partial

import orjson
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from embedding_calculator.engine.admission import Ticket
from embedding_calculator.engine.timing import Stopwatch
from embedding_calculator.errors import (
    BusyError,
    ImageTooLargeError,
    ImageUnreadableError,
    InputError,
    ParameterError,
)
from embedding_calculator.http import openapi
from embedding_calculator.http.base64 import decode_base64
from embedding_calculator.http.body import chunks, declared_bytes
from embedding_calculator.http.errors import client_error
from embedding_calculator.http.forms import Form, read_form
from embedding_calculator.http.parameters import Parameters
from embedding_calculator.http.service import Service, service_of
from embedding_calculator.serialize import to_json
from embedding_calculator.settings import Settings

router = APIRouter()
log = structlog.get_logger(__name__)

_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_ZIP = b"PK\x03\x04"
_OTHER_PARTS = 100  # Parameters and whatever else a form carries beside its photos.

_DIRECTORY_END, _DIRECTORY_END_BYTES = b"PK\x05\x06", 22
_LONG_DIRECTORY_END, _LONG_DIRECTORY_END_BYTES = b"PK\x06\x07", 20
_DIRECTORY_ENTRY_BYTES = 1024  # A generous name and its attributes.


@dataclass(frozen=True, slots=True)
class Item:
    """One photo of a batch; ``data`` unpacks or decodes it when its turn comes, or raises what is wrong with it.

    ``fresh_bytes`` is what that takes of memory, beside the batch itself.
    """

    name: str
    data: Callable[[], bytes]
    fresh_bytes: int = 0


@router.post("/batch/find_faces", **openapi.BATCH_FIND_FACES)
async def find_faces(request: Request) -> Response:
    """Every face in each of many pictures."""
    service = service_of(request)
    settings = service.settings
    batch = service.admission.open(declared_bytes(request), Stopwatch())
    try:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = chunks(request, batch, settings.max_batch_bytes)
        if kind == "application/zip" or kind in _LINES:
            form = Form()
            received = [chunk async for chunk in body]
            unpack = zipped if kind == "application/zip" else lines
            listing = partial(_listed, unpack, received, settings)
        else:
            most_parts = settings.max_batch_photos + _OTHER_PARTS
            form = await read_form(request.headers.get("content-type"), body, most_parts=most_parts)
            listing = partial(attached, form, settings)
        service.admission.seat(batch)
        items = await service.admission.compute(service.admission.part(), listing)
        # Room for as many of the largest as are unpacked at once. Taken before the first is answered: photos that
        # waited for it one by one could wait for each other.
        batch.grow(sum(sorted(item.fresh_bytes for item in items)[-service.admission.threads :]))
    except BaseException:
        batch.release()
        raise
    parameters = Parameters(request.query_params.multi_items(), form.texts)
    return _Lines(_results(service, items, parameters), batch)


def _listed(unpack: Callable[[bytes, Settings], list[Item]], received: list[bytes], settings: Settings) -> list[Item]:
    content = b"".join(received)
    received.clear()
    return unpack(content, settings)


def attached(form: Form, settings: Settings) -> list[Item]:
    """The parts named ``file``, or what is in the zip that is the only one of them.

    Raises:
        ParameterError: there is none, or there are too many.
        InputError: the zip cannot be used.
    """
    uploads = [upload for upload in form.files.get("file", []) if upload.filename]
    if not uploads:
        raise ParameterError("No file is attached")
    if len(uploads) == 1 and uploads[0].data.startswith(_ZIP):
        return zipped(uploads[0].data, settings)
    _require_few(len(uploads), settings)
    return [Item(upload.filename, partial(getattr, upload, "data")) for upload in uploads]


def lines(content: bytes, settings: Settings) -> list[Item]:
    """A JSON object a line, with ``file`` as base64 and a ``name``; blank lines do not count.

    Raises:
        ParameterError: there is none, or there are too many.
    """
    _require_few(content.count(b"\n") - 1, settings)
    items = [_line(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    if not items:
        raise ParameterError("No file is attached")
    _require_few(len(items), settings)
    return items


def _line(number: int, line: bytes) -> Item:
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _unusable(f"line {number}", InputError(f"line {number} is not JSON: {error}"))
    name = content.get("name") if isinstance(content, dict) else None
    name = name if isinstance(name, str) else f"line {number}"
    text = content.get("file") if isinstance(content, dict) else None
    if not isinstance(text, str):
        return _unusable(name, ParameterError("No file is attached"))
    return Item(name, lambda: decode_base64(text), len(text) * 3 // 4)


def zipped(content: bytes, settings: Settings) -> list[Item]:
    """The files in a zip, folders left out; each is unpacked when its turn comes.

    Raises:
        InputError: it is no zip, or one that unpacks to more than a batch may have.
    """
    _require_short_directory(content, settings)
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:
        raise InputError(f"the zip cannot be read: {error}") from error
    files = [info for info in archive.infolist() if not info.is_dir()]
    _require_few(len(files), settings)
    if not files:
        raise ParameterError("No file is attached")
    if sum(info.file_size for info in files) > settings.max_batch_bytes:
        raise ImageTooLargeError(f"the zip unpacks to more than {settings.max_batch_bytes} bytes")
    most = settings.max_image_bytes  # What is larger is refused and not unpacked.
    return [
        Item(info.filename, partial(_unpacked, archive, info, settings), min(info.file_size, most)) for info in files
    ]


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, settings: Settings) -> bytes:
    if info.file_size > settings.max_image_bytes:
        raise ImageTooLargeError(f"a picture may have at most {settings.max_image_bytes} bytes")
    try:
        with archive.open(info) as file:
            return file.read()  # Never more than the size that was declared and judged.
    except Exception as error:
        raise ImageUnreadableError(f"it cannot be unpacked: {error}") from error


def _require_short_directory(content: bytes, settings: Settings) -> None:
    """zipfile reads a zip's list of files as a whole; a hostile one has millions, in the long form of the format."""
    end = len(content) - _DIRECTORY_END_BYTES
    if not (content.startswith(_DIRECTORY_END, max(end, 0)) and content.endswith(b"\0\0")):
        end = content.rfind(_DIRECTORY_END, max(end - (1 << 16), 0))
    directory = int.from_bytes(content[end + 12 : end + 16], "little")
    long_form = content.startswith(_LONG_DIRECTORY_END, max(end - _LONG_DIRECTORY_END_BYTES, 0))
    if end < 0 or long_form or directory > (settings.max_batch_photos + _OTHER_PARTS) * _DIRECTORY_ENTRY_BYTES:
        raise InputError("the zip is damaged, or lists more than a batch may have")


def _require_few(photos: int, settings: Settings) -> None:
    if photos > settings.max_batch_photos:
        raise ParameterError(f"A batch may have at most {settings.max_batch_photos} photos")


def _unusable(name: str, error: InputError) -> Item:
    def data() -> bytes:
        raise error

    return Item(name, data)


async def _results(service: Service, items: list[Item], parameters: Parameters) -> AsyncGenerator[bytes]:
    """As many photos at once as there are threads: a batch gets all that is idle and no more than its turn."""
    coming: Iterator[tuple[int, Item]] = iter(enumerate(items))
    pending: set[asyncio.Task[bytes]] = set()
    try:
        while True:
            while len(pending) < service.admission.threads and (following := next(coming, None)):
                pending.add(asyncio.create_task(_result(service, *following, parameters)))
            if not pending:
                return
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in pending:
            task.cancel()


async def _result(service: Service, index: int, item: Item, parameters: Parameters) -> bytes:
    ticket = service.admission.part()

    def work() -> bytes:
        found = service.find_faces(item.data(), parameters, ticket)
        return to_json({"index": index, "name": item.name, **found})

    def failure(status: int, message: str) -> bytes:
        return to_json({"index": index, "name": item.name, "status": status, "message": message})

    try:
        with service.tracing.photo(ticket.stopwatch, index):
            return await service.admission.compute(ticket, work)
    except InputError as error:
        return failure(*client_error(error))
    except BusyError as error:
        return failure(503, f"503 Service Unavailable: {error}")
    except Exception as error:
        log.exception("failed")  # One photo's misfortune; the answers to the others go on.
        return failure(500, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    finally:
        service.metrics.computed(ticket.stopwatch)


class _Lines(StreamingResponse):
    """Lines of JSON; the batch's ticket is released when the last was sent or the client has gone."""

    media_type = "application/x-ndjson"

    def __init__(self, results: AsyncGenerator[bytes], batch: Ticket) -> None:
        super().__init__(results)
        self._results = results
        self._batch = batch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._results.aclose()
            self._batch.release()
