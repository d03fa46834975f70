"""Multipart bodies, read in memory within a limit.

Starlette's own reader writes parts over a megabyte to disk and ignores ``Content-Transfer-Encoding``, which clients of
the original use; the grammar itself is python-multipart's.
"""

from __future__ import annotations

import binascii
import quopri
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from embedding_calculator.errors import ImageUnreadableError, InputError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 1000
MAX_HEADER_BYTES = 16 * 1024
TEXT_LIMIT = 64 * 1024
_PIECE_BYTES = 8 << 20  # Of a file's content; copied at once, so that it must not take long.


class FormError(InputError):
    """The body is not the multipart message that its header announces."""


@dataclass(slots=True)
class Upload:
    """A part that came with a file name; ``pieces`` are its content as it travelled, in ``encoding``."""

    filename: str
    pieces: list[bytes]
    encoding: bytes = b""

    @property
    def data(self) -> bytes:
        """Its content. Put together and decoded when it is first asked for, because that takes too long for a loop.

        Raises:
            ImageUnreadableError: it says that it is base64 and is not.
        """
        if self.encoding or len(self.pieces) != 1:
            self.pieces, self.encoding = [_decoded(b"".join(self.pieces), self.encoding)], b""
        return self.pieces[0]


@dataclass(slots=True)
class Form:
    """Texts, the first part of each name; files, all parts of each name."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[Upload]] = field(default_factory=dict)


async def read_form(content_type: str | None, chunks: AsyncIterator[bytes], *, most_parts: int = MAX_PARTS) -> Form:
    """Read a multipart body to its end. A body of another type, or without a boundary, holds no parts.

    Raises:
        FormError: the body breaks off, breaks the grammar, or has more parts or headers than any honest client sends.
        ImageUnreadableError: a text that says it is base64 is not.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        async for _ in chunks:
            pass
        return Form()
    reader = _Reader(most_parts)
    try:
        parser = MultipartParser(boundary, reader.callbacks)
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise FormError(str(error)) from error
    finally:
        reader.callbacks = {}  # They refer to the reader and it to them: without this it would outlive the request.
    if not reader.complete:
        raise FormError("the body breaks off before its closing boundary")
    return reader.form


class _Reader:
    """Collects the parser's events into a form."""

    def __init__(self, most_parts: int) -> None:
        self.form = Form()
        self._most_parts = most_parts
        self.complete = False
        self._parts = 0
        self._name = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._data = bytearray()
        self._pieces: list[bytes] = []
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._most_parts:
            raise FormError(f"more than {self._most_parts} parts")
        self._headers, self._header_bytes, self._data, self._pieces = {}, 0, bytearray(), []

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise FormError(f"a part has more than {MAX_HEADER_BYTES} bytes of headers")

    def _on_header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]
        if len(self._data) >= _PIECE_BYTES:
            self._end_piece()

    def _end_piece(self) -> None:
        self._pieces.append(bytes(self._data))
        self._data = bytearray()

    def _on_part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        encoding = self._headers.get(b"content-transfer-encoding", b"").strip().lower()
        self._end_piece()
        if b"filename" in options:
            filename = options[b"filename"].decode("utf-8", "replace")
            self.form.files.setdefault(name, []).append(Upload(filename, self._pieces, encoding))
        else:
            text = _decoded(self._pieces[0][:TEXT_LIMIT], encoding).decode("utf-8", "replace")
            self.form.texts.setdefault(name, text)

    def _on_end(self) -> None:
        self.complete = True


def _decoded(data: bytes, encoding: bytes) -> bytes:
    if encoding == b"base64":
        try:
            return binascii.a2b_base64(data)
        except binascii.Error as error:
            raise ImageUnreadableError(f"a part says it is base64 and is not: {error}") from error
    return quopri.decodestring(data) if encoding == b"quoted-printable" else data
