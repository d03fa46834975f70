"""Many jobs side by side in threads: as many as there are threads, a few read ahead, answers as each is ready.

The library and the client for a running service go through here, and so do the commands. The service's own batches
(``http.batch``) do not: there a photo is a task of the event loop, with a ticket, a deadline and a place in the queue
that all clients share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")


def side_by_side(
    jobs: Iterable[Job], work: Callable[[Job], Iterable[Answer]], *, threads: int, ahead: int
) -> Iterator[Answer]:
    """The answers of all jobs, in the order in which they are ready; a job may give several.

    ``jobs`` is read by the caller's thread, never further than ``threads + ahead`` beyond the jobs whose answers it
    has taken: endless ones may be given, and whoever takes no answers has nothing computed.

    Raises:
        Exception: what ``work`` or ``jobs`` raised; nothing else is begun then, nor where the caller stops listening.
    """
    coming = iter(jobs)
    ready: SimpleQueue[Answer | Future[None]] = SimpleQueue()
    listening = True

    def run(job: Job) -> None:
        for answer in work(job):
            if not listening:
                break
            ready.put(answer)

    pool = ThreadPoolExecutor(threads, "side-by-side")
    under_way, more = 0, True
    try:
        while True:
            while more and under_way < threads + ahead:
                try:
                    job = next(coming)
                except StopIteration:
                    more = False
                else:
                    pool.submit(run, job).add_done_callback(ready.put)
                    under_way += 1
            if not under_way:
                return
            answer = ready.get()
            if isinstance(answer, Future):
                answer.result()
                under_way -= 1
            else:
                yield answer
    finally:
        listening = False
        pool.shutdown(wait=False, cancel_futures=True)
