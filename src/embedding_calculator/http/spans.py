"""Requests as spans of OpenTelemetry, sent by OTLP in the background. Needs the extra ``otlp``.

Names and attributes are those of the stable semantic conventions for HTTP servers. Queries, addresses of clients, user
agents and names of files are left out: they may tell of persons.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context, propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import Headers
from starlette.types import Scope

from embedding_calculator.engine.timing import Stopwatch
from embedding_calculator.errors import AbandonedError, BusyError, InputError
from embedding_calculator.http.tracing import QUIET_PATHS, Trace, Untraced

_NAME = "embedding-calculator"
_PREFIX = "embedding_calculator"
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_PORTS = {"http": 80, "https": 443}
_WORTH_A_SPAN = 0.0001  # Seconds; what is looked at and found to be there already is no stage of its own.
_FLUSH_SECONDS = 3  # At the end of the process, for a collector that does not answer.
_EPOCH = context.create_key(_NAME)  # In a request's context: what turns its stopwatches' seconds into nanoseconds.


class Spans:
    """Tracing, see there. Its spans wait in a queue of bounded length; what finds no room in it is dropped."""

    def __init__(self) -> None:
        # What the environment says of the resource comes before what we say.
        ours = {"service.name": _NAME, "service.version": version(_NAME)}
        told = OTELResourceDetector().detect().attributes
        self._provider = TracerProvider(resource=Resource.create({**ours, **told}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_PREFIX, version(_NAME), _SCHEMA)
        self._untraced = Untraced()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        """Send what waits. The SDK would keep the process until its retries are over."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(_FLUSH_SECONDS)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Trace]:
        """A server's span, the child of the one that the request names."""
        if scope["path"] in QUIET_PATHS:
            with self._untraced.request(scope) as untraced:
                yield untraced
            return
        headers = Headers(scope=scope)
        parent = propagate.extract({name: headers.getlist(name) for name in headers})
        epoch = time.time_ns() - time.perf_counter_ns()
        method = scope["method"] if scope["method"] in _METHODS else "HTTP"
        span = self._tracer.start_span(
            method, parent, SpanKind.SERVER, _asked(scope, headers), start_time=epoch + time.perf_counter_ns()
        )
        token = context.attach(context.set_value(_EPOCH, epoch, trace.set_span_in_context(span, parent)))
        traced = _Traced(span)
        try:
            yield traced
        finally:
            context.detach(token)
            if route := getattr(scope.get("route"), "path", None):
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            if not traced.status:
                span.set_attribute(f"{_PREFIX}.abandoned", True)
            span.end(epoch + time.perf_counter_ns())

    @contextmanager
    def photo(self, stopwatch: Stopwatch, index: int | None = None) -> Iterator[None]:
        """What became of a photo, on the request's span, or in a batch on one of its own; its stages below that."""
        span, epoch = trace.get_current_span(), context.get_value(_EPOCH)
        if not span.is_recording() or not isinstance(epoch, int):
            yield
            return
        if index is not None:
            start = epoch + time.perf_counter_ns()
            span = self._tracer.start_span("photo", attributes={f"{_PREFIX}.index": index}, start_time=start)
        try:
            yield
        except (InputError, AbandonedError):  # As with a status of 4xx: not the service's fault.
            raise
        except BusyError as error:
            if index is not None:
                _fail(span, error.reason)
            raise
        except Exception as error:
            _fail(span, type(error).__qualname__, error)
            raise
        finally:
            span.set_attributes({f"{_PREFIX}.faces": stopwatch.faces, f"{_PREFIX}.pixels": stopwatch.pixels})
            self._stages(span, epoch, stopwatch)
            if index is not None:
                span.end(epoch + time.perf_counter_ns())

    def _stages(self, span: Span, epoch: int, stopwatch: Stopwatch) -> None:
        above = trace.set_span_in_context(span)
        for lap in stopwatch.laps.copy():
            if lap.end - lap.start >= _WORTH_A_SPAN:
                start, end = (epoch + int(moment * 1e9) for moment in (lap.start, lap.end))
                plugin = stopwatch.plugins.get(lap.stage)
                told = {f"{_PREFIX}.plugin": plugin} if plugin else None
                self._tracer.start_span(lap.stage, above, attributes=told, start_time=start).end(end)


class _Traced(Trace):
    """A request that has a span."""

    def __init__(self, span: Span) -> None:
        own = span.get_span_context()
        super().__init__(
            {"trace_id": trace.format_trace_id(own.trace_id), "span_id": trace.format_span_id(own.span_id)}
        )
        self.status: int | None = None
        self._span = span

    def answered(self, status: int, reason: str | None) -> None:
        """From 500 on an answer is an error, 4xx are the client's own."""
        self.status = status
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500 and not self._span_failed():
            _fail(self._span, reason or str(status))

    def failed(self, error: BaseException) -> None:
        """An error that reached nobody who knows it."""
        _fail(self._span, type(error).__qualname__, error)

    def _span_failed(self) -> bool:
        status = getattr(self._span, "status", None)
        return status is not None and status.status_code is StatusCode.ERROR


def _fail(span: Span, kind: str, error: BaseException | None = None) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
    if error is not None:
        span.record_exception(error)


def _asked(scope: Scope, headers: Headers) -> dict[str, Any]:
    """What is known of a request before it is served."""
    method, scheme = scope["method"], scope.get("scheme", "http")
    asked: dict[str, Any] = {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "network.protocol.version": scope.get("http_version", "1.1"),
        "url.path": scope["path"],
        "url.scheme": scheme,
    }
    if method not in _METHODS:
        asked["http.request.method_original"] = method
    try:
        host = urlsplit("//" + headers.get("host", ""))
        address, port = host.hostname, host.port or _PORTS.get(scheme)
    except ValueError:  # A header that no client means.
        return asked
    if address:
        asked["server.address"] = address
        asked |= {"server.port": port} if port else {}
    return asked
