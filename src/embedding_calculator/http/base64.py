"""Base64 as people really send it, and pictures in JSON.

Both are read in a thread, and piece by piece: the functions that do it hold the interpreter meanwhile, and on 60 MB at
once that is a fifth of a second in which nobody else, health checks included, is answered.
"""

from __future__ import annotations

import binascii
import re
import uuid
from collections.abc import Iterator
from typing import Any

import orjson

from embedding_calculator.errors import ImageUnreadableError, InputError, ParameterError

_PREFIX = re.compile(r"\s*data:[^,]{0,256},", re.IGNORECASE)
_PREFIX_REACH = 4096
_STANDARD = bytes.maketrans(b"-_", b"+/")
_BLANK = b" \t\r\n\v\f"
_PIECE = 1 << 20

_FILE = b'"file"'
_TEXT_FOLLOWS = re.compile(rb'\s*:\s*"')


def decode_base64(text: str | memoryview) -> bytes:
    """The bytes of base64 text, or of a view of the bytes that spell it.

    Line breaks and blanks, the URL-safe alphabet, a ``data:...;base64,`` prefix and missing padding are all fine.

    Raises:
        ImageUnreadableError: anything else: other characters, or a length that no number of bytes has.
    """
    try:
        return b"".join(_decoded(text))
    except ValueError as error:  # binascii.Error and UnicodeError are both.
        raise ImageUnreadableError("The picture's base64 text is damaged: it cannot be turned into bytes.") from error


def _decoded(text: str | memoryview) -> Iterator[bytes]:
    prefix = _PREFIX.match(_ascii(text[:_PREFIX_REACH]).decode())
    rest, ended = b"", False
    for start in range(prefix.end() if prefix else 0, len(text), _PIECE):
        padded = _ascii(text[start : start + _PIECE]).translate(_STANDARD, _BLANK)
        digits = padded.rstrip(b"=")
        if digits and ended:
            raise ValueError("padding in the middle")
        ended = ended or len(digits) < len(padded)
        digits = rest + digits
        fours = len(digits) // 4 * 4
        yield binascii.a2b_base64(digits[:fours], strict_mode=True)
        rest = digits[fours:]
    yield binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True)


def read_embedded(body: bytes) -> bytes:
    """The picture in a JSON object's ``file``.

    Its text is passed over by the reader of JSON, which would take longer for it than everything else here and hold
    the memory once more: a mark that nobody can guess stands in for it.

    Raises:
        InputError: the body is not JSON.
        ParameterError: it is no object, or has no text there.
        ImageUnreadableError: the text is not base64.
    """
    start = body.find(_FILE)
    begins = _TEXT_FOLLOWS.match(body, start + len(_FILE)) if start >= 0 else None
    end = body.find(b'"', begins.end()) if begins else -1
    if begins and end >= 0 and body.find(b"\\", begins.end(), end) < 0:
        mark = uuid.uuid4().hex
        if _file(body[: begins.end()] + mark.encode() + body[end:]) == mark:
            return decode_base64(memoryview(body)[begins.end() : end])
    text = _file(body)  # Spelled in some other way.
    if not isinstance(text, str):
        raise ParameterError("No file is attached")
    return decode_base64(text)


def _file(body: bytes) -> Any:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError(f"the body is not JSON: {error}") from error
    return content.get("file") if isinstance(content, dict) else None


def _ascii(piece: str | memoryview) -> bytes:
    return piece.encode("ascii") if isinstance(piece, str) else bytes(piece)
