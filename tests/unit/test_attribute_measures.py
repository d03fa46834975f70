"""Ages and words on people few enough to judge by hand."""

from __future__ import annotations

import numpy as np
import pytest

from embedding_calculator.evaluation.attributes import confusion, report_ages


def test_ages_by_decade() -> None:
    years = np.array([5.0, 25, 29, 60])
    report = report_ages(years, np.array([4.0, 20, 30, 50]), np.array([6.0, 30, 34, 60]), np.full(4, 0.5))
    # The middles are 5, 25, 32 and 55.
    assert report.error == pytest.approx(2)
    assert report.bias == pytest.approx(-0.5)
    assert report.inside == pytest.approx(0.75)
    assert report.claimed == pytest.approx(0.5)
    assert [(decade.first, decade.people, decade.error) for decade in report.decades] == [
        (0, 1, 0),
        (20, 2, 1.5),
        (60, 1, 5),
    ]


def test_who_is_taken_for_whom() -> None:
    known, told = ["male", "male", "male", "female"], ["male", "female", "male", "female"]
    counts = confusion(known, told)
    assert counts.labels == ("female", "male")
    assert counts.counts.tolist() == [[1, 0], [1, 2]]
    assert counts.accuracy == 0.75
    assert counts.recalls == {"female": 1, "male": pytest.approx(2 / 3)}
    assert counts.balanced_accuracy == pytest.approx(5 / 6)
