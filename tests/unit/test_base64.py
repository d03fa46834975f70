"""Base64 in every dress it is sent in, and junk."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_calculator.errors import ImageUnreadableError
from embedding_calculator.http.base64 import decode_base64

DATA = bytes(range(256)) * 3 + b"\xfb\xff"
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        base64.encodebytes(DATA).decode(),
        base64.encodebytes(DATA).decode().replace("\n", "\r\n"),
        base64.urlsafe_b64encode(DATA).decode(),
        base64.urlsafe_b64encode(DATA).decode().rstrip("="),
        f"data:image/jpeg;base64,{TEXT}",
        f"DATA:image/png;name=a%20face.png;base64,\n{TEXT}",
        f"  {TEXT}\n",
    ],
)
def test_every_dress(text: str) -> None:
    assert decode_base64(text) == DATA


@pytest.mark.parametrize(
    "text", ["abcde", "@@@@", "grüße", "ab=cd", TEXT + "!", "data:image/png;base64", "\0" * 8, "\ud800"]
)
def test_junk(text: str) -> None:
    with pytest.raises(ImageUnreadableError, match="base64"):
        decode_base64(text)


@given(st.binary(max_size=100))
def test_there_and_back(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data
    assert decode_base64(base64.urlsafe_b64encode(data).decode().rstrip("=")) == data


@given(st.text(max_size=60))
def test_any_text_is_bytes_or_the_one_error(text: str) -> None:
    with contextlib.suppress(ImageUnreadableError):
        assert isinstance(decode_base64(text), bytes)
