"""Logs: one JSON object a line for machines, coloured lines for people at a terminal."""

from __future__ import annotations

import logging
import math
import sys
import time
from typing import Any

import structlog

from embedding_calculator.settings import Settings

_QUIET = 600  # Seconds.


def configure(settings: Settings) -> None:
    """Send every log of the process, the server's included, through one handler to standard error."""
    human = sys.stderr.isatty() or settings.flask_env == "development"
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        _plain_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
    ]
    for_people: list[Any] = [
        structlog.stdlib.add_log_level,
        _one_line_request,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
    ]
    for_machines: list[Any] = [
        structlog.processors.format_exc_info,
        _original_names(settings.app_version_string),
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(),
    ]
    handler = logging.StreamHandler()
    handler.addFilter(_Sparing())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=for_people if human else for_machines)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.logging_level_name)
    # It warns of bad grammar in what strangers send; the line of the refused request tells that already.
    logging.getLogger("python_multipart").setLevel(max(logging.ERROR, root.level))
    # So do decoders, by Python's warnings; only who debugs wants to know which of their bytes are odd.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.NOTSET if root.level <= logging.DEBUG else logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.logging_level_name)),
        cache_logger_on_first_use=True,
    )


class _Sparing(logging.Filter):
    """A collector of traces that is away is told once in ten minutes, not with every attempt to reach it."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is worth a line; what matters is its template, not the numbers in it."""
        if not record.name.startswith("opentelemetry."):
            return True
        now, template = time.monotonic(), str(record.msg)
        if now - self._told.get(template, -math.inf) < _QUIET:
            return False
        self._told[template] = now
        return True


def _plain_name(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Uvicorn calls the logger of all that it has to say "uvicorn.error", even where all is well."""
    if event["logger"] == "uvicorn.error":
        event["logger"] = "server"
    return event


def _one_line_request(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """At a terminal the request is its method and path; ids and addresses are for machines."""
    request = event.pop("request", None)
    event.pop("request_id", None)
    if request:
        event["event"] = f"{request['method']} {request['path']} {event['event']}"
    return event


def _original_names(build_version: str) -> Any:
    """The names that the original's log lines had, so that dashboards built on them go on working."""

    def rename(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        record: logging.LogRecord = event["_record"]
        event["severity"] = record.levelname
        event["message"] = event.pop("event")
        event["module"] = record.module
        event["build_version"] = build_version
        if "exception" in event:
            event["traceback"] = event.pop("exception")
        return event

    return rename
