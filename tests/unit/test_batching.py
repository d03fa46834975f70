"""Callers who ask at once share runs: in order, by shape, each with its own answer or its own failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_calculator.arrays import Floats
from embedding_calculator.models.runtime import Running
from embedding_calculator.models.runtime.batching import Batcher, joined
from embedding_calculator.models.runtime.network import Outputs

GUILTY = -1.0


class Sums:
    """A network that adds up each picture and fails on ``GUILTY`` numbers; while ``gate`` is shut it does not answer.

    ``runs`` has the pictures and the thread of every run.
    """

    running = Running("onnxruntime", "made", "f32", 1)

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.runs: list[tuple[Floats, int]] = []

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch, _ in self.runs]

    def run(self, batch: Floats) -> Outputs:
        self.runs.append((batch, threading.get_ident()))
        assert self.gate.wait(30)
        if (batch == GUILTY).any():
            raise ZeroDivisionError(f"{len(batch)} pictures, and one is bad")
        return {"sum": batch.sum(axis=(1, 2, 3))[:, None], "corner": batch[:, :, 0, 0]}


def pictures(count: int, side: int = 2, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).random((count, 3, side, side), np.float32)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def all_at_once(batcher: Batcher, network: Sums, batches: Sequence[Floats]) -> list[Outputs | BaseException]:
    """What the callers get of whom the first finds the network idle, and the others come in this order meanwhile."""
    network.gate.clear()
    with ThreadPoolExecutor(len(batches)) as pool:
        answers = []
        for batch in batches:
            answers.append(pool.submit(batcher.run, batch))
            wait_for(lambda: len(network.runs) == 1 and len(batcher._waiting) == len(answers) - 1)
        network.gate.set()
        return [answer.exception() or answer.result() for answer in answers]


def test_who_finds_it_idle_runs_at_once_and_alone() -> None:
    network = Sums()
    batcher = Batcher(network)
    for count in (1, 3):
        batch = pictures(count)
        assert batcher.run(batch)["sum"].shape == (count, 1)
        assert network.runs.pop() == (batch, threading.get_ident())
    assert batcher.running is network.running


def test_who_comes_meanwhile_shares_the_next_run() -> None:
    network = Sums()
    batches = [pictures(count, seed=count) for count in (1, 2, 5, 3)]
    answers = all_at_once(Batcher(network), network, batches)
    assert network.sizes == [1, 10]
    for batch, answer in zip(batches, answers, strict=True):
        assert not isinstance(answer, BaseException)
        np.testing.assert_array_equal(answer["sum"], Sums().run(batch)["sum"])
        np.testing.assert_array_equal(answer["corner"], batch[:, :, 0, 0])


def test_other_shapes_and_kinds_of_numbers_have_runs_of_their_own() -> None:
    network = Sums()
    double: Any = pictures(1).astype(np.float64)
    batches = [pictures(1), pictures(1, 4), pictures(2), pictures(3, 4), double, pictures(4)]
    all_at_once(Batcher(network), network, batches)
    assert [batch.shape[0] for batch, _ in network.runs] == [1, 4, 6, 1]
    assert network.runs[3][0].dtype == np.float64


def test_runs_are_filled_to_a_number_of_elements_and_no_caller_is_cut() -> None:
    network = Sums()
    batcher = Batcher(network, most_elements=3 * pictures(1).size)
    all_at_once(batcher, network, [pictures(count) for count in (1, 1, 2, 1, 7, 1)])
    assert network.sizes == [1, 3, 1, 7, 1]


def test_only_the_guilty_one_fails() -> None:
    network = Sums()
    bad = np.full((2, 3, 2, 2), GUILTY, np.float32)
    good = pictures(1)
    answers = all_at_once(Batcher(network), network, [good, good, bad, good])
    assert network.sizes == [1, 4, 1, 2, 1]
    assert [str(answer) for answer in answers if isinstance(answer, Exception)] == ["2 pictures, and one is bad"]
    assert isinstance(answers[2], ZeroDivisionError)


def test_rows_that_are_not_pictures_are_dealt_to_nobody() -> None:
    class Candidates(Sums):
        def run(self, batch: Floats) -> Outputs:
            return {"candidates": np.repeat(super().run(batch)["sum"], 1 + (len(batch) > 1), axis=0)}

    network = Candidates()
    answers = all_at_once(Batcher(network), network, [pictures(1, seed=seed) for seed in range(3)])
    assert network.sizes == [1, 2, 1, 1]
    for seed, answer in enumerate(answers):
        assert not isinstance(answer, BaseException)
        np.testing.assert_array_equal(answer["candidates"], Sums().run(pictures(1, seed=seed))["sum"])


CALLS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from((1, 2)), st.booleans()), min_size=1, max_size=8)


@given(calls=CALLS, most=st.sampled_from((1, 20, 100)), ordered=st.booleans())
def test_everybody_gets_what_would_have_come_alone(
    calls: list[tuple[int, int, bool]], most: int, ordered: bool
) -> None:
    network = Sums()
    batcher = Batcher(network, most)
    batches = [pictures(count, side, seed) for seed, (count, side, _) in enumerate(calls)]
    for batch, (_, _, guilty) in zip(batches, calls, strict=True):
        batch[-1, -1, -1, -1] = GUILTY if guilty else 0.5
    if ordered:
        answers = all_at_once(batcher, network, batches)
    else:
        with ThreadPoolExecutor(len(batches)) as pool:
            running = [pool.submit(batcher.run, batch) for batch in batches]
            answers = [answer.exception() or answer.result() for answer in running]
    for batch, answer, (_, _, guilty) in zip(batches, answers, calls, strict=True):
        assert isinstance(answer, ZeroDivisionError) == guilty
        if not isinstance(answer, BaseException):
            np.testing.assert_array_equal(answer["corner"], batch[:, :, 0, 0])
    assert all(batch.size <= most or any(batch.shape == one.shape for one in batches) for batch, _ in network.runs)


def test_ctrl_c_while_waiting_strikes_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Sums()
    batcher = Batcher(network)

    def struck(_: object) -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        network.gate.clear()
        first = pool.submit(batcher.run, pictures(1))
        wait_for(lambda: bool(network.runs))
        with monkeypatch.context() as patch:
            patch.setattr(batcher._changed, "wait_for", struck)
            with pytest.raises(KeyboardInterrupt):
                batcher.run(pictures(2))
        network.gate.set()
        assert len(first.result()["sum"]) == 1
    assert network.sizes == [1]
    assert not batcher._waiting


def test_ctrl_c_while_running_for_others_leaves_them_to_each_other() -> None:
    class Struck(Sums):
        def run(self, batch: Floats) -> Outputs:
            answer = super().run(batch)
            if len(self.runs) == 2:
                raise KeyboardInterrupt
            return answer

    network = Struck()
    answers = all_at_once(Batcher(network), network, [pictures(1), pictures(2), pictures(3)])
    assert sorted(isinstance(answer, KeyboardInterrupt) for answer in answers) == [False, False, True]
    for answer, count in zip(answers, (1, 2, 3), strict=True):
        assert isinstance(answer, BaseException) or len(answer["sum"]) == count
    assert network.sizes[:2] == [1, 5]
    assert len(network.runs) == 3


class FixedBatch(Sums):
    def run(self, batch: Floats) -> Outputs:
        assert len(batch) == 1
        return super().run(batch)


class Listed(Sums):
    """Two anchors a picture, all pictures' first anchors first."""

    def run(self, batch: Floats) -> Outputs:
        return {"scores": np.concatenate([batch[:, 0, 0, :1], batch[:, 1, 0, :1]])}


class Mixed(Sums):
    """Each answer depends on all pictures."""

    def run(self, batch: Floats) -> Outputs:
        return {"sum": super().run(batch)["sum"] / batch.mean()}


class Found(Sums):
    """As many rows as there are bright pictures: none in noise."""

    def run(self, batch: Floats) -> Outputs:
        return {"found": batch[batch.min(axis=(1, 2, 3)) > 250]}


def test_pictures_share_a_run_only_where_they_do_not_share_an_answer() -> None:
    assert isinstance(joined(Sums(), (2, 3, 8, 8)), Batcher)
    for network, batch in ((FixedBatch(), 1), (Listed(), 2), (Mixed(), 2), (Found(), 2)):
        assert joined(network, (batch, 3, 8, 8)) is network
