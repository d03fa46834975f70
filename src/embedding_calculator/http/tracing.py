"""What the service tells of its requests to whoever traces them; nothing, unless the environment names a collector."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from starlette.datastructures import Headers
from starlette.types import Scope

from embedding_calculator.engine.timing import Stopwatch
from embedding_calculator.errors import ConfigurationError, install_extra

QUIET_PATHS = frozenset({"/healthcheck", "/livez", "/readyz", "/metrics"})
"""Asked again and again by machines: no spans, and log lines only at DEBUG."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ADDRESS = re.compile(r"https?://[^/\s]+")
# W3C Trace Context: version, trace, parent, flags; whoever sends zeros has no trace.
_PARENT = re.compile(r"(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}(?:-.*)?")


class Trace:
    """One request, of which nothing is told; its log lines carry ``ids``, the trace of who sent it."""

    def __init__(self, ids: Mapping[str, str]) -> None:
        self.ids = ids

    def answered(self, status: int, reason: str | None) -> None:
        """The answer begins; ``reason`` is why it is a refusal."""

    def failed(self, error: BaseException) -> None:
        """It ends with an error that nobody expected."""


class Tracing(Protocol):
    """One for each application; as a context manager it tells at its end what it has not told yet."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    def request(self, scope: Scope) -> AbstractContextManager[Trace]:
        """Around everything that belongs to a request."""
        ...

    def photo(self, stopwatch: Stopwatch, index: int | None = None) -> AbstractContextManager[object]:
        """Around the computing of a photo; in a batch it has an ``index``."""
        ...


class Untraced(nullcontext[None]):
    """Nothing is told to anybody."""

    def request(self, scope: Scope) -> AbstractContextManager[Trace]:
        """See ``Tracing``."""
        found = _PARENT.fullmatch(Headers(scope=scope).get("traceparent", ""))
        return nullcontext(Trace({"trace_id": found[1], "parent_span_id": found[2]} if found else {}))

    def photo(self, stopwatch: Stopwatch, index: int | None = None) -> AbstractContextManager[object]:  # noqa: ARG002
        """See ``Tracing``."""
        return nullcontext()


def asked_for(environment: Mapping[str, str]) -> bool:
    """Whether the variables of OpenTelemetry's specification ask for spans.

    Raises:
        ConfigurationError: they do, in a way that cannot be had.
    """

    def told(*names: str) -> str:
        return next((value for name in names if (value := environment.get(name, "").strip())), "")

    exporter = told("OTEL_TRACES_EXPORTER").lower() or "otlp"
    endpoint, protocol = told(*_ENDPOINTS), told(*_PROTOCOLS) or "http/protobuf"
    if not endpoint or exporter == "none" or told("OTEL_SDK_DISABLED").lower() == "true":
        return False
    if exporter != "otlp":
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER: spans are exported by otlp or none, not {exporter!r}")
    if protocol != "http/protobuf":
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_PROTOCOL: spans are sent by http/protobuf, not {protocol!r}")
    if not _ADDRESS.match(endpoint):
        raise ConfigurationError(f"{_ENDPOINTS[1]}: {endpoint!r} is no address like http://collector:4318")
    return True


def require_tracing(environment: Mapping[str, str]) -> None:
    """Make sure that ``tracing_of`` will work in every worker.

    Raises:
        ConfigurationError: see ``tracing_of``.
    """
    if asked_for(environment):
        _spans()


def tracing_of(environment: Mapping[str, str]) -> Tracing:
    """Spans if they are asked for, otherwise nothing. Only then is OpenTelemetry's SDK loaded.

    Raises:
        ConfigurationError: they are asked for in a way that cannot be had, or the extra ``otlp`` is not installed.
    """
    return _spans()() if asked_for(environment) else Untraced()


def _spans() -> Callable[[], Tracing]:
    try:
        from embedding_calculator.http.spans import Spans
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, which need the package {error.name}; "
            f"the extra 'otlp' brings it: {install_extra('otlp')}"
        ) from error
    return Spans
