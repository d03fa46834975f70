"""Many photos to a service: in batches, two under way, what was not answered asked again."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Generic, TypeVar

from embedding_calculator.client.wire import (
    NoRouteError,
    NoServiceError,
    Photo,
    ServiceBusyError,
    ServiceError,
    Wire,
    bytes_of,
    faces_of,
)
from embedding_calculator.engine.many import side_by_side
from embedding_calculator.errors import EmbeddingCalculatorError, InputError
from embedding_calculator.results import Found

P = TypeVar("P", bound=Photo)

_PHOTOS, _BYTES = 16, 16 * 2**20
"""Most of a batch: enough that the way costs little, and far below what services take. A larger photo goes alone."""
_AT_ONCE = 2  # While one batch is computed the next one travels.


@dataclass(frozen=True, slots=True)
class _Sent(Generic[P]):
    index: int
    photo: P
    data: bytes


class Sending(Generic[P]):
    """One run of photos; it learns what the service takes, and ``patience`` is in seconds without any answer."""

    def __init__(self, wire: Wire, fields: Mapping[str, str], patience: float) -> None:
        self._wire = wire
        self._fields = fields
        self._patience = patience
        self._most = _PHOTOS
        self._stopped = Event()

    def answers(self, photos: Iterable[P]) -> Iterator[Found[P]]:
        """See ``ServiceClient.find_faces_in``."""
        try:
            yield from side_by_side(self._batches(photos), self._answers_to, threads=_AT_ONCE, ahead=0)
        finally:
            self._stopped.set()

    def _batches(self, photos: Iterable[P]) -> Iterator[list[_Sent[P] | Found[P]]]:
        batch: list[_Sent[P] | Found[P]] = []
        size = 0
        for index, photo in enumerate(photos):
            one: _Sent[P] | Found[P]
            try:
                one = _Sent(index, photo, bytes_of(photo))
            except OSError as error:
                one = Found(index, photo, error=error)
            more = len(one.data) if isinstance(one, _Sent) else 0
            if batch and (len(batch) >= self._most or size + more > _BYTES):
                yield batch
                batch, size = [], 0
            batch.append(one)
            size += more
        if batch:
            yield batch

    def _answers_to(self, batch: Sequence[_Sent[P] | Found[P]]) -> Iterator[Found[P]]:
        yield from (one for one in batch if isinstance(one, Found))
        yield from self._patiently([one for one in batch if isinstance(one, _Sent)])

    def _patiently(self, left: Sequence[_Sent[P]]) -> Iterator[Found[P]]:
        """Ask until each has its answer, or nothing was answered for too long."""
        end = time.monotonic() + self._patience
        while left and not self._stopped.is_set():
            answered: set[int] = set()
            together = self._most > 1 and len(left) > 1
            trouble = yield from self._round(left, answered, together=together)
            left = [one for one in left if one.index not in answered]
            if answered:
                end = time.monotonic() + self._patience
            if isinstance(trouble, ServiceBusyError):
                if (remaining := end - time.monotonic()) <= 0:
                    yield from (Found(one.index, one.photo, error=trouble) for one in left)
                    return
                self._stopped.wait(min(trouble.retry_after, remaining))
            elif isinstance(trouble, NoRouteError) and together:
                self._most = 1  # It knows no batches.
            elif left and not answered:
                yield from self._halved(left, trouble)
                return

    def _halved(self, left: Sequence[_Sent[P]], trouble: Exception | None) -> Iterator[Found[P]]:
        """A batch refused as a whole may be more than this service takes, and its parts not."""
        if trouble is None or isinstance(trouble, NoServiceError):
            raise trouble or NoServiceError("the service answered a batch without its photos")
        half = len(left) // 2
        self._most = min(self._most, half)
        yield from self._patiently(left[:half])
        yield from self._patiently(left[half:])

    def _round(
        self, left: Sequence[_Sent[P]], answered: set[int], *, together: bool
    ) -> Generator[Found[P], None, EmbeddingCalculatorError | None]:
        """Ask once; returns what kept some from being answered."""
        trouble = None
        try:
            for found in self._together(left) if together else self._one_by_one(left):
                if isinstance(found.error, ServiceBusyError):
                    trouble = found.error
                else:
                    answered.add(found.index)
                    yield found
        except EmbeddingCalculatorError as error:
            return error
        return trouble

    def _together(self, left: Sequence[_Sent[P]]) -> Iterator[Found[P]]:
        with self._wire.asking([one.data for one in left], self._fields) as answers:
            for answer in answers:
                one = left[answer["index"]]
                try:
                    yield Found(one.index, one.photo, faces_of(answer))
                except (InputError, ServiceError) as error:
                    yield Found(one.index, one.photo, error=error)

    def _one_by_one(self, left: Sequence[_Sent[P]]) -> Iterator[Found[P]]:
        """As far as the service has room; the only way for one photo, for a batch of one might be an archive."""
        for one in left:
            try:
                yield Found(one.index, one.photo, self._wire.ask(one.data, self._fields))
            except (NoServiceError, ServiceBusyError):
                raise
            except (InputError, ServiceError) as error:
                yield Found(one.index, one.photo, error=error)
