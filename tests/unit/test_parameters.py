"""Parameters are read as the original read them."""

from __future__ import annotations

import pytest

from embedding_calculator.errors import ParameterError
from embedding_calculator.http.parameters import Parameters


def parameters(**form: str) -> Parameters:
    return Parameters([], form)


@pytest.mark.parametrize(
    ("text", "limit"), [("", None), ("0", None), ("3", 3), (" 7 ", 7), ("99999999999999999999", 99999999999999999999)]
)
def test_limit(text: str, limit: int | None) -> None:
    assert parameters(limit=text).limit() == limit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "Limit format is invalid (limit >= 0)"),
        ("1.5", "Limit format is invalid (limit >= 0)"),
        ("9" * 5000, "Limit format is invalid (limit >= 0)"),
        ("-1", "Limit value is invalid (limit >= 0)"),
    ],
)
def test_wrong_limit(text: str, message: str) -> None:
    with pytest.raises(ParameterError) as error:
        parameters(limit=text).limit()
    assert str(error.value) == message


@pytest.mark.parametrize(("text", "threshold"), [("0", 0.0), ("1", 1.0), (" 0.5 ", 0.5), ("1e-1", 0.1)])
def test_threshold(text: str, threshold: float) -> None:
    assert parameters(det_prob_threshold=text).threshold() == threshold


@pytest.mark.parametrize("text", ["", "abc", "-0.1", "1.1", "nan", "inf", "-inf"])
def test_wrong_threshold(text: str) -> None:
    with pytest.raises(ParameterError, match=r"Detection threshold incorrect"):
        parameters(det_prob_threshold=text).threshold()


def test_absent_parameters_mean_the_defaults() -> None:
    nothing = parameters()
    assert nothing.limit() is None
    assert nothing.threshold() is None
    assert nothing.face_plugins == frozenset()
    assert nothing.detect_faces


@pytest.mark.parametrize("text", ["False", "0", "no", "", "FALSE", " false"])
def test_only_the_exact_word_switches_detection_off(text: str) -> None:
    assert parameters(detect_faces=text).detect_faces
    assert not parameters(detect_faces="false").detect_faces


def test_slugs_are_separated_by_commas_and_blanks() -> None:
    assert parameters(face_plugins=" age,,gender \n pose,").face_plugins == {"age", "gender", "pose"}


def test_the_query_wins_over_the_form_and_the_first_value_over_later_ones() -> None:
    both = Parameters([("limit", "2"), ("limit", "3")], {"limit": "9", "det_prob_threshold": "0.25"})
    assert both.limit() == 2
    assert both.threshold() == 0.25
