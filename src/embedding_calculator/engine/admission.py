"""Who may come in, who waits and who is told to come back, so that time and memory stay bounded whatever arrives.

A request meets these, in this order: is there a seat (a thread, or a place in the bounded queue before the threads)?
Is there room for its bytes, as they arrive? When its turn comes, is there room for the pixels that its picture
declares, each counted by what it takes of memory?
Nothing but pixels is waited for without a place in the queue, and every wait ends at the request's deadline.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Condition
from traceback import clear_frames
from typing import Any, TypeVar

from embedding_calculator.engine.timing import Stopwatch
from embedding_calculator.errors import AbandonedError, BusyError
from embedding_calculator.settings import Settings, granted_memory

T = TypeVar("T")

_BYTES_SHARE = 16  # An upload lies in memory up to three times: as received, as its part, as base64.
_PIXEL_BYTES = 8  # What a pixel of most kinds of pictures takes, see ``imaging.cost``; dearer ones count for more.
_PIXELS_SHARE = 3 * _PIXEL_BYTES  # A third of the memory.
_GLANCE = 0.25  # Seconds after which who waits for pixels looks whether its client is still there.


def pixels_of(working_bytes: int) -> int:
    """What a picture counts for among the pixels in flight."""
    return -(-working_bytes // _PIXEL_BYTES)


class Budget:
    """So much of something for everybody at once, first come, first served. Safe to use from several threads."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.in_use = 0
        self._changed = Condition()
        self._line: deque[object] = deque()

    def fits(self, amount: int, held: int = 0) -> bool:
        """Whether there is room now. Who needs more than there is at all gets it when alone.

        ``held`` is what the one who asks has already.
        """
        return self.in_use == held or self.in_use + amount <= self.capacity

    def try_take(self, amount: int, held: int = 0) -> bool:
        """Take it if there is room now."""
        with self._changed:
            if not self.fits(amount, held):
                return False
            self.in_use += amount
            return True

    def take(self, amount: int, check: Callable[[], None]) -> None:
        """Wait until there is room; ``check`` is called now and then and ends the wait by raising."""
        me = object()
        with self._changed:
            self._line.append(me)
            try:
                while self._line[0] is not me or not self.fits(amount):
                    check()
                    self._changed.wait(_GLANCE)
                self.in_use += amount
            finally:
                self._line.remove(me)
                self._changed.notify_all()

    def give_back(self, amount: int) -> None:
        """It is free again."""
        with self._changed:
            self.in_use -= amount
            self._changed.notify_all()


def pixel_budget(settings: Settings) -> Budget:
    """Room for the pixels that one process decodes at once, by the settings or by the memory that it is granted."""
    share = granted_memory() // settings.uwsgi_processes // _PIXELS_SHARE
    return Budget(settings.max_pixels_in_flight or share)


class Ticket:
    """One request's permits and its deadline, and whether anybody still waits for its answer."""

    def __init__(self, admission: Admission, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch
        self._admission = admission
        self._bytes = 0
        self._pixels = 0
        self._deadline = math.inf
        self._abandoned = False
        self._handed_over = False

    def __enter__(self) -> Ticket:
        """Released at the end, unless ``compute`` has taken over and releases it when the work ends."""
        return self

    def __exit__(self, *_: object) -> None:
        if not self._handed_over:
            self.release()

    def hand_over(self) -> None:
        """From now on whoever computes releases it."""
        self._handed_over = True

    def grow(self, received: int) -> None:
        """So many more bytes have arrived.

        Raises:
            BusyError: there is no room for them.
        """
        if not self._admission.bytes.try_take(received, self._bytes):
            raise self._admission.busy("bytes_in_flight", "too many uploads are in memory")
        self._bytes += received

    def start_clock(self) -> None:
        """The upload is complete: from now on the client waits."""
        if self._admission.timeout:
            self._deadline = time.monotonic() + self._admission.timeout

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline; None if there is none."""
        return None if self._deadline == math.inf else max(0.0, self._deadline - time.monotonic())

    def abandon(self) -> None:
        """Nobody waits any more; whoever computes finds out at its next ``check``."""
        self._abandoned = True

    def check(self) -> None:
        """Called between the stages of the work.

        Raises:
            AbandonedError: nobody waits for the answer.
            BusyError: the deadline has passed.
        """
        if self._abandoned:
            raise AbandonedError("nobody waits for the answer")
        if time.monotonic() >= self._deadline:
            raise self._admission.too_late()

    def take_pixels(self, amount: int) -> None:
        """Room for a picture of so many pixels, waited for if need be, and held until the work ends.

        Raises:
            AbandonedError, BusyError: see ``check``.
        """
        with self.stopwatch.stage("memory"):
            self._admission.pixels.take(amount, self.check)
        self._pixels += amount

    def return_pixels(self) -> None:
        """The work has ended and its pictures are gone."""
        self._admission.pixels.give_back(self._pixels)
        self._pixels = 0

    def release(self) -> None:
        """Give everything back; harmless if that was done before."""
        self._admission.bytes.give_back(self._bytes)
        self._bytes = 0
        self._admission.leave(self)


class Admission:
    """The threads that compute, the queue before them, and what all requests may hold together."""

    def __init__(self, threads: int, queue_limit: int, *, timeout: float, max_bytes: int, max_pixels: int) -> None:
        self.threads = threads
        self.queue_limit = queue_limit
        self.timeout = timeout
        self.bytes = Budget(max_bytes)
        self.pixels = Budget(max_pixels)
        self.draining = False
        """The service has been told to stop: what is here is finished, nobody else should be sent here."""
        self._pool = ThreadPoolExecutor(threads, "compute")
        # Sets of tickets are changed by the event loop and by threads; adding and discarding are single steps.
        self._seated: set[Ticket] = set()
        self._waiting: set[Ticket] = set()
        self._running: set[Ticket] = set()
        self._typical = 0.1  # Seconds that a photo takes, by recent experience.

    @classmethod
    def of(cls, settings: Settings) -> Admission:
        """What the settings say; what they leave open is derived from the memory that the system grants."""
        memory = granted_memory() // settings.uwsgi_processes
        return cls(
            settings.uwsgi_threads,
            settings.queue_limit,
            timeout=settings.request_timeout,
            max_bytes=settings.max_bytes_in_flight or memory // _BYTES_SHARE,
            max_pixels=pixel_budget(settings).capacity,
        )

    @property
    def waiting(self) -> int:
        """Photos in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Photos being computed."""
        return len(self._running)

    def open(self, declared: int, stopwatch: Stopwatch) -> Ticket:
        """A ticket for a request whose headers have arrived and say that ``declared`` bytes (0: unknown) will follow.

        Raises:
            BusyError: it would be refused now, so that it need not send them.
        """
        self._require_seat()
        if not self.bytes.fits(declared):
            raise self.busy("bytes_in_flight", "too many uploads are in memory")
        return Ticket(self, stopwatch)

    def part(self) -> Ticket:
        """A ticket for one photo of a batch that has a seat itself; its clock runs from now."""
        ticket = Ticket(self, Stopwatch())
        ticket.start_clock()
        return ticket

    def seat(self, ticket: Ticket) -> None:
        """Give the request a thread or a place in the queue, until its ticket is released.

        Raises:
            BusyError: all are taken.
        """
        self._require_seat()
        self._seated.add(ticket)

    def leave(self, ticket: Ticket) -> None:
        """The ticket's seat is free again."""
        self._seated.discard(ticket)

    async def compute(
        self, ticket: Ticket, work: Callable[[], T], left: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> T:
        """Run ``work`` in one of the threads when its turn comes. ``left``, if given, returns once the client has gone.

        The ticket is released when the work ends, even if nobody waits for it by then.

        Raises:
            AbandonedError: the client has gone; what had not begun never will.
            BusyError: the deadline has passed.
        """
        start = time.perf_counter()

        def run() -> T:
            self._waiting.discard(ticket)
            self._running.add(ticket)
            begin = time.perf_counter()
            ticket.stopwatch.add("queue", start, begin)
            try:
                ticket.check()
                return work()
            except BaseException as error:
                clear_frames(error.__traceback__)  # They hold the picture for as long as the error lives.
                raise
            finally:
                ticket.return_pixels()
                self._running.discard(ticket)
                self._typical += (time.perf_counter() - begin - self._typical) / 16

        def end(_: object) -> None:
            self._waiting.discard(ticket)
            ticket.release()

        ticket.hand_over()
        self._waiting.add(ticket)
        job = self._pool.submit(copy_context().run, run)
        job.add_done_callback(end)
        answer = asyncio.wrap_future(job)
        gone = asyncio.ensure_future(left()) if left else None
        try:
            awaited: set[asyncio.Future[Any]] = {answer, gone} if gone else {answer}
            await asyncio.wait(awaited, timeout=ticket.remaining, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise (
                AbandonedError("the client left before its answer was computed")
                if gone and gone.done()
                else self.too_late()
            )
        finally:
            ticket.abandon()
            if gone:
                gone.cancel()
            answer.cancel()  # Takes what has not begun out of the queue.

    def busy(self, reason: str, text: str) -> BusyError:
        """The refusal, with a guess when it is worth to come again."""
        return BusyError(reason, text, max(1, math.ceil(self._typical * (1 + self.waiting) / self.threads)))

    def too_late(self) -> BusyError:
        """The refusal of what has waited too long."""
        return self.busy("deadline", f"no answer within {self.timeout:g} seconds")

    def _require_seat(self) -> None:
        if len(self._seated) >= self.threads + self.queue_limit:
            raise self.busy("queue_full", f"{len(self._seated)} photos are computed or waiting already")
