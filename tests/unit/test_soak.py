"""What the soak demands, on records made up: it must see a leak in three minutes, and only a leak."""

from __future__ import annotations

import pytest
from benchmarks.soak import Answer, File, Record, findings

from embedding_calculator.evaluation.load import Body

TURN = 14.0  # Seconds: that many a turn takes on two processors with other work beside it.
PHOTO = File("JPEG 500", Body(b"", ""), 1.0)


def record(minutes: float, leak: float = 0.0, warm_up: float = 0.0, noise: float = 0.0) -> Record:
    """350 MB at rest, ``leak`` MB more a minute, ``warm_up`` MB more after the first turns, every other ``noise``."""
    times = [TURN * turn for turn in range(1, int(minutes * 60 / TURN) + 1)]
    rests = [
        (time, 350 + leak * time / 60 + (warm_up if time > 2 * TURN else 0) + noise * (turn % 2))
        for turn, time in enumerate(times)
    ]
    answers = [Answer(PHOTO, 200, 0.1), Answer(PHOTO, 503, 0.1)]
    return Record({PHOTO.name: 200}, answers, memory=rests, rests=rests, counted=3)


def good(record: Record) -> dict[str, bool]:
    return {demand: met for demand, _, met in findings(record)}


@pytest.mark.parametrize("minutes", [3, 30])
def test_a_flat_service_passes(minutes: float) -> None:
    assert all(good(record(minutes)).values())


def test_warming_up_and_swinging_are_no_leak() -> None:
    assert all(good(record(3, warm_up=40)).values())
    assert all(good(record(3, noise=9)).values())


@pytest.mark.parametrize(("minutes", "leak"), [(3, 10), (30, 1)])
def test_a_leak_is_seen(minutes: float, leak: float) -> None:
    found = good(record(minutes, leak=leak))
    assert not found.pop("resident at rest grows by at most 3 %")
    assert all(found.values())


def test_a_run_too_short_to_judge_memory_does_not_pass() -> None:
    assert not all(good(record(1)).values())


@pytest.mark.parametrize(
    ("status", "demand"), [(500, "no 5xx but 503"), (None, "no request is lost"), (400, "answers are those in calm")]
)
def test_a_wrong_answer_is_seen(status: int | None, demand: str) -> None:
    seen = record(3)
    seen.answers.append(Answer(PHOTO, status, 0.1))
    seen.counted += 1
    assert not good(seen)[demand]


def test_an_answer_that_came_too_late_is_seen() -> None:
    seen = record(3)
    seen.answers.append(Answer(PHOTO, 200, 60.0))
    seen.counted += 1
    assert not good(seen)["who is accepted waits at most 15 s"]
