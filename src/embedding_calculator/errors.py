"""Everything that can go wrong, as types. ``http.errors`` alone turns them into status codes and messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class EmbeddingCalculatorError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(EmbeddingCalculatorError):
    """The caller sent something that cannot be served. Never the service's fault."""


class ImageUnreadableError(InputError):
    """The bytes are not a picture that any decoder here understands, or too little of one is left."""


class ImageTooLargeError(InputError):
    """The picture exceeds the limit on bytes or on declared pixels; told before it is decoded."""


class NoFaceFoundError(InputError):
    """No face in the picture is more probable than the threshold."""


class ParameterError(InputError):
    """A request parameter is malformed or out of range. The text is the message for the client."""


class ConfigurationError(EmbeddingCalculatorError):
    """The settings ask for something that does not exist or does not fit together. Told at start."""


class ModelError(EmbeddingCalculatorError):
    """A model is missing, damaged, or cannot be fetched or imported. The text names model, reason and remedy."""


class BusyError(EmbeddingCalculatorError):
    """There is no room for this now; later there is. ``reason`` is for machines, the text for people.

    ``retry_after`` is in whole seconds.
    """

    def __init__(self, reason: str, text: str, retry_after: int = 1) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after = retry_after


class AbandonedError(EmbeddingCalculatorError):
    """Nobody waits for the answer any more, so that it is not computed."""


class PluginError(EmbeddingCalculatorError):
    """A plugin failed on a picture that was readable."""

    def __init__(self, plugin: str, cause: BaseException) -> None:
        super().__init__(f"{plugin} error - {cause}")
        self.plugin = plugin


def install_extra(extra: str) -> str:
    """How to get an optional part of the installation: from the folder, for the package is on no index."""
    return f"in this project's folder, pip install '.[{extra}]'"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?``, or nothing where no name that is known resembles it."""
    alike = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" Did you mean {alike[0]!r}?" if alike else ""


def unknown_names(kind: str, unknown: Sequence[str], known: Sequence[str]) -> str:
    """``no plugin agge; there are: age, pose. Did you mean 'age'?``"""
    guess = did_you_mean(unknown[0], known)
    return f"no {kind} {', '.join(unknown)}; there are: {', '.join(known)}" + (f".{guess}" if guess else "")
