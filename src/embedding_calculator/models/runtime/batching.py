"""One run for all who ask at once: on accelerators a batch of pictures costs little more than one.

Never on a processor, where it costs as many times more (see ``network.run_in_pieces``).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate
from threading import Condition

import numpy as np

from embedding_calculator.arrays import Floats
from embedding_calculator.models.runtime.network import Opened, Outputs

_log = logging.getLogger(__name__)

MOST_ELEMENTS = 1 << 23
"""Numbers in the input of a joined run, 32 MiB: 222 faces of 112x112, or 6 canvases of 640x640."""

_TOLERANCE = 1e-2
"""Of an output's largest number: accelerators may shorten factors to ten bits, and choose algorithms by the batch."""


@dataclass(eq=False, slots=True)
class _Call:
    """What one caller wants, and what came of it."""

    batch: Floats
    answer: Future[Outputs] = field(default_factory=Future)


class Batcher:
    """A network that runs for one caller at a time, and for all who came meanwhile together the next time.

    Who finds it idle runs at once; nobody waits for company. When a run ends, one of those who wait runs the next: for
    whoever came first, and for all others whose inputs have the same shape, in order, up to ``most_elements`` numbers.
    One caller's own batch is never cut. There is no thread but the callers'.

    Where a joined run fails, its callers are served one by one, so that only the guilty one fails. A caller cannot take
    its input back: ``Network.run`` knows nothing of requests that were abandoned, so what waits here is computed.
    """

    def __init__(self, network: Opened, most_elements: int = MOST_ELEMENTS) -> None:
        self.running = network.running
        self._network = network
        self._most_elements = most_elements
        self._changed = Condition()
        self._busy = False
        self._waiting: deque[_Call] = deque()

    def run(self, batch: Floats) -> Outputs:
        """See ``Network``; outputs may be parts of larger arrays."""
        call = _Call(batch)
        with self._changed:
            self._waiting.append(call)
        try:
            while together := self._turn(call):
                self._serve(together, call)
        finally:
            self._leave(call)
        return call.answer.result()

    def _turn(self, call: _Call) -> list[_Call]:
        """Wait until the call is answered, then nothing; or until its caller is to run: for these."""
        with self._changed:
            self._changed.wait_for(lambda: call.answer.done() or not self._busy)
            if call.answer.done():
                return []
            self._busy = True
            return self._next()

    def _next(self) -> list[_Call]:
        """Take the oldest call, and those that fit together with it, out of the line."""
        first = self._waiting[0].batch
        together: list[_Call] = []
        elements = 0
        for call in self._waiting:
            if call.batch.shape[1:] == first.shape[1:] and call.batch.dtype == first.dtype:
                elements += call.batch.size
                if together and elements > self._most_elements:
                    break
                together.append(call)
        for call in together:
            self._waiting.remove(call)
        return together

    def _serve(self, together: list[_Call], own: _Call) -> None:
        try:
            self._answer(together)
        finally:
            with self._changed:
                self._busy = False
                # Others have no answer only where Ctrl-C struck this caller; one of them runs next.
                unserved = [call for call in together if not call.answer.done() and call is not own]
                self._waiting.extendleft(reversed(unserved))
                self._changed.notify_all()

    def _answer(self, together: list[_Call]) -> None:
        if len(together) > 1:
            try:
                answers = self._run_joined([call.batch for call in together])
            except Exception as error:  # noqa: BLE001 -- engines have errors of their own
                _log.warning("A run for %d callers at once failed, each is served alone: %s", len(together), error)
            else:
                for call, answer in zip(together, answers, strict=True):
                    call.answer.set_result(answer)
                return
        for call in together:
            try:
                call.answer.set_result(self._network.run(call.batch))
            except Exception as error:  # noqa: BLE001 -- raised by its own caller
                call.answer.set_exception(error)

    def _run_joined(self, batches: Sequence[Floats]) -> list[Outputs]:
        ends = list(accumulate(map(len, batches)))
        outputs = self._network.run(np.concatenate(batches))
        if strange := [name for name, output in outputs.items() if len(output) != ends[-1]]:
            raise ValueError(f"{strange[0]} has {len(outputs[strange[0]])} rows for {ends[-1]} pictures")
        return [
            {name: output[end - len(batch) : end] for name, output in outputs.items()}
            for batch, end in zip(batches, ends, strict=True)
        ]

    def _leave(self, call: _Call) -> None:
        """Ctrl-C may strike who waits."""
        with self._changed:
            if call in self._waiting:
                self._waiting.remove(call)


def joined(network: Opened, probed: tuple[int, ...]) -> Opened:
    """The network with a ``Batcher`` around it; as it is where its inputs cannot share a run.

    Whether they can is tried with two pictures of the shape ``probed``, ``(N, 3, H, W)``, which the network is known to
    take: its answers to both together must be its answers to each, one row of every output a picture. Detectors that
    list the anchors of all pictures one below the other do not pass, nor do networks with a fixed batch.
    """
    if probed[0] > 1 and _separable(network, probed):
        return Batcher(network)
    _log.info("Callers of a network that takes %s do not share runs", "x".join(map(str, probed)))
    return network


def _separable(network: Opened, probed: tuple[int, ...]) -> bool:
    pictures = np.random.default_rng(0).random((2, *probed[1:]), np.float32) * 255
    pictures[1] /= 4
    together = network.run(pictures)
    for index in range(2):
        for name, right in network.run(pictures[index : index + 1]).items():
            rows = together[name]
            if len(right) != 1 or rows.shape != (2, *right.shape[1:]):
                return False
            if not np.allclose(rows[index], right[0], rtol=0, atol=_TOLERANCE * float(np.abs(right).max(initial=0))):
                return False
    return True
