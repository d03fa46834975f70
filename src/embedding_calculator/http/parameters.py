"""The parameters of a request, read as the original read them; see docs/compatibility.md for what was mended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from embedding_calculator.errors import ParameterError

THRESHOLD = "Detection threshold incorrect (0 <= det_prob_threshold <= 1)"


class Parameters:
    """Values by name, from the query and the form; the query wins. Each is judged when it is asked for, not before:

    the order in which a request's mistakes are told is part of the contract.
    """

    def __init__(self, query: Sequence[tuple[str, str]], form: Mapping[str, str]) -> None:
        # Of a name given twice in the query the first counts: reversed, it is the last to be written.
        self._values = {**form, **dict(reversed(query))}

    @property
    def detect_faces(self) -> bool:
        """False only for the exact text ``false``."""
        return self._values.get("detect_faces") != "false"

    @property
    def face_plugins(self) -> frozenset[str]:
        """Slugs, separated by commas or blanks."""
        return frozenset(re.findall(r"[^,\s]+", self._values.get("face_plugins", "")))

    @property
    def models(self) -> frozenset[str]:
        """Names of a detector and a calculator other than the default ones, separated by commas or blanks."""
        return frozenset(re.findall(r"[^,\s]+", self._values.get("model", "")))

    def threshold(self) -> float | None:
        """``det_prob_threshold``, or None where the detector's own shall serve.

        Raises:
            ParameterError: not a number from 0 to 1.
        """
        text = self._values.get("det_prob_threshold")
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            raise ParameterError(THRESHOLD) from None
        if not 0 <= value <= 1:
            raise ParameterError(THRESHOLD)
        return value

    def embedding_format(self) -> str:
        """``float``, a list of numbers, or ``base64``: the little-endian float32 bytes as text.

        Raises:
            ParameterError: anything else.
        """
        value = self._values.get("embedding_format", "float")
        if value not in {"float", "base64"}:
            raise ParameterError("Embedding format is invalid (embedding_format: float or base64)")
        return value

    def limit(self) -> int | None:
        """How many of the largest faces are wanted, or None for all.

        Raises:
            ParameterError: not a whole number, or negative.
        """
        text = self._values.get("limit", "")
        try:
            value = int(text) if text else 0
        except ValueError:
            raise ParameterError("Limit format is invalid (limit >= 0)") from None
        if value < 0:
            raise ParameterError("Limit value is invalid (limit >= 0)")
        return value or None
