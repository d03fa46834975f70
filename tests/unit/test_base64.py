"""Base64 in every dress it is sent in, and junk."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_calculator.errors import ImageUnreadableError, ParameterError
from embedding_calculator.http.base64 import decode_base64, read_embedded

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


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1 << 20, (3 << 20) + 1])
def test_pieces_are_put_together(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    for text in (base64.b64encode(data).decode(), base64.encodebytes(data).decode()):
        assert decode_base64(text) == data
        assert read_embedded(json.dumps({"name": "a", "file": text}).encode()) == data


def test_padding_ends_the_text_wherever_pieces_end() -> None:
    text = "A" * ((1 << 20) - 2) + "=="
    decode_base64(text + "\n=")
    with pytest.raises(ImageUnreadableError):
        decode_base64(text + "AAAA")


@pytest.mark.parametrize(
    "body",
    [
        b'{"file" :\n"%s"}',
        b'{"inner": {"file": "AAAA"}, "file": "%s"}',
        b'{"file": "AAAA", "file": "%s"}',
        b'{"a\\"file": "AAAA", "file": "%s"}',
        b'{"\\u0066ile": "%s"}',
        b'{"inner": {"file": "AAAA"}, "\\u0066ile": "%s"}',
        b'{"note": "\\"file\\": ", "file": "%s"}',
        b'{"note": "file", "file": "\\u0041AAA%s"}',
    ],
)
def test_the_file_of_the_object_is_meant_and_no_other(body: bytes) -> None:
    expected = json.loads(body % TEXT.encode())["file"]
    assert read_embedded(body % TEXT.encode()) == decode_base64(expected)


def test_a_file_elsewhere_is_none() -> None:
    with pytest.raises(ParameterError):
        read_embedded(b'{"inner": {"file": "AAAA"}}')
