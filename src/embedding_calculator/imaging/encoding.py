"""Base64 as people really send it."""

from __future__ import annotations

import binascii
import re

from embedding_calculator.errors import ImageUnreadableError

_PREFIX = re.compile(rb"\s*data:[^,]{0,256},", re.IGNORECASE)
_STANDARD = bytes.maketrans(b"-_", b"+/")
_BLANK = b" \t\r\n\v\f"


def decode_base64(text: str) -> bytes:
    """The bytes of base64 text.

    Line breaks and blanks, the URL-safe alphabet, a ``data:...;base64,`` prefix and missing padding are all fine.

    Raises:
        ImageUnreadableError: anything else: other characters, or a length that no number of bytes has.
    """
    try:
        encoded = text.encode("ascii")
        if prefix := _PREFIX.match(encoded):
            encoded = encoded[prefix.end() :]
        encoded = encoded.translate(_STANDARD, _BLANK).rstrip(b"=")
        return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are both.
        raise ImageUnreadableError("The picture's base64 text is damaged: it cannot be turned into bytes.") from error
