"""What travels between a client and a service: one question and its answer, and what a refusal means."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import numpy as np
import orjson

from embedding_calculator.errors import EmbeddingCalculatorError, InputError
from embedding_calculator.results import Age, Box, Face, Gender, Mask, Pose

Photo: TypeAlias = str | Path | bytes

_NO_FACE = "No face is found"
_BUSY = frozenset({429, 503})
_NO_ROUTE = frozenset({404, 405})
_NO_ENTRY = frozenset({401, 403, 407})


class ServiceError(EmbeddingCalculatorError):
    """The service cannot be reached, or failed."""


class NoServiceError(ServiceError):
    """Nothing answers there, or what does will not have us: no other photo will fare better."""


class NoRouteError(NoServiceError):
    """What answers there does not know this question."""


class ServiceBusyError(ServiceError):
    """The service has no room now; ``retry_after`` seconds later it may have."""

    def __init__(self, text: str, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Wire:
    """Connections to one service. Safe to use from several threads."""

    def __init__(self, url: str, timeout: float, api_key: str | None) -> None:
        headers = {"x-api-key": api_key} if api_key else {}
        self._client = httpx.Client(base_url=url, timeout=timeout, headers=headers)

    def close(self) -> None:
        """Close them."""
        self._client.close()

    def status(self) -> dict[str, Any]:
        """What runs there.

        Raises:
            ServiceError: no service answers there.
        """
        with self._reaching():
            response = self._client.get("/status")
        return _understood(response)

    def ask(self, photo: bytes, fields: Mapping[str, str]) -> list[Face]:
        """The faces in one encoded picture.

        Raises:
            InputError: the picture is refused.
            ServiceError: the service cannot be reached, or failed; the kind says how.
        """
        with self._reaching():
            response = self._client.post("/find_faces", data=fields, files={"file": ("photo", photo)})
        try:
            return faces_of(_understood(response))
        except InputError as error:
            if _NO_FACE in str(error):
                return []
            raise

    @contextmanager
    def asking(self, photos: Sequence[bytes], fields: Mapping[str, str]) -> Iterator[Iterator[dict[str, Any]]]:
        """Send a batch; inside, its answers as they come: ``index``, and what ``faces_of`` reads or ``status``.

        Raises:
            InputError, ServiceError: as ``ask``, of the batch as a whole.
        """
        files = [("file", (str(number), photo)) for number, photo in enumerate(photos)]
        with self._reaching(), self._client.stream("POST", "/batch/find_faces", data=fields, files=files) as response:
            if not response.is_success:
                response.read()
                raise _refusal(response)
            yield _objects(response)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoServiceError(f"no service answers at {self._client.base_url}: {error}") from error


def bytes_of(photo: Photo) -> bytes:
    """The encoded picture itself.

    Raises:
        OSError: the file cannot be read.
    """
    return photo if isinstance(photo, bytes) else Path(photo).read_bytes()


def faces_of(answer: Mapping[str, Any]) -> list[Face]:
    """From the answer to one picture, alone or of a batch.

    Raises:
        InputError, ServiceError: it says that there are none, and why; no face at all is no error.
    """
    if "status" not in answer:
        return [_face(face) for face in answer["result"]]
    message, status = str(answer.get("message")), answer["status"]
    if _NO_FACE in message:
        return []
    if status in _BUSY:
        raise ServiceBusyError(message, 1)
    raise InputError(message) if status < 500 else ServiceError(message)


def _understood(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise _refusal(response)
    if (answer := _object(response)) is None:
        raise NoServiceError(f"{_told(response)}, which no service of this kind does")
    return answer


def _refusal(response: httpx.Response) -> EmbeddingCalculatorError:
    status, answer = response.status_code, _object(response) or {}
    text = str(answer.get("message") or _told(response))
    if status in _BUSY:
        pause = response.headers.get("retry-after", "")
        return ServiceBusyError(text, int(pause) if pause.isdecimal() else 1)
    if status in _NO_ROUTE:
        return NoRouteError(text)
    if status in _NO_ENTRY:
        return NoServiceError(text)
    return InputError(text) if response.is_client_error else ServiceError(text)


def _told(response: httpx.Response) -> str:
    """For who answers otherwise than a service would: a proxy before it, or another web site."""
    kind = response.headers.get("content-type", "nothing").partition(";")[0]
    return f"{response.url} answers {response.status_code} {response.reason_phrase} with {kind}"


def _object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _objects(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """One of each whole line; httpx would also break lines where Unicode does, which JSON may hold."""
    rest, stranger = b"", NoServiceError(f"{_told(response)}, which no service of this kind does")
    for chunk in response.iter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise stranger from error
    if rest:
        raise stranger


_TYPES: dict[str, Any] = {"age": Age, "gender": Gender, "mask": Mask, "pose": Pose}


def _face(answer: dict[str, Any]) -> Face:
    known: dict[str, Any] = {name: kind(**answer.pop(name)) for name, kind in _TYPES.items() if name in answer}
    box = Box(**answer.pop("box"))
    answer.pop("execution_time", None)
    if "embedding" in answer:
        numbers = answer.pop("embedding")
        little_endian = np.frombuffer(b64decode(numbers), "<f4") if isinstance(numbers, str) else numbers
        known["embedding"] = np.array(little_endian, np.float32)
    if "landmarks" in answer:
        known["landmarks"] = tuple((x, y) for x, y in answer.pop("landmarks"))
    return Face(box, **known, extra=answer)
