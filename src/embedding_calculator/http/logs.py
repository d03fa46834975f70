"""Logs: one JSON object a line for machines, coloured lines for people at a terminal."""

from __future__ import annotations

import logging
import math
import multiprocessing
import sys
import time
from typing import Any

import structlog

from embedding_calculator.settings import Settings

_QUIET = 600  # Seconds.

_UVICORN = "uvicorn.error"  # All that it has to say, even where all is well.
_WORTH_A_LINE = "Child process"  # One died, and another takes its place.
_STARTED = "Uvicorn running on "
_ENDED = ("Finished server process", "Stopping parent process")


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
    if root.level > logging.DEBUG:
        handler.addFilter(_told_of_life)
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


def _told_of_life(record: logging.LogRecord) -> bool:
    """Of what uvicorn tells of its life two lines stay, once for all processes: where it listens, that it stopped."""
    if record.name != _UVICORN or record.levelno != logging.INFO:
        return True
    text = record.getMessage()
    if text.startswith(_WORTH_A_LINE):
        return True
    if multiprocessing.parent_process():
        return False
    if text.startswith(_STARTED):
        record.msg, record.args = f"listening on {text.removeprefix(_STARTED).split()[0]}", ()
    elif text.startswith(_ENDED):
        record.msg, record.args = "stopped", ()
    else:
        return False
    return True


def _plain_name(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Uvicorn's is plainly the server."""
    if event["logger"] == _UVICORN:
        event["logger"] = "server"
    return event


def _one_line_request(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """At a terminal the request is its method and path; addresses are for machines."""
    request = event.pop("request", None)
    if request:
        event["event"] = f"{request['method']} {request['path']} {event['event']}"
    return event


def _original_names(build_version: str) -> Any:
    """The names that the original's log lines had, for dashboards built on them; what people read comes first."""

    def rename(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        record: logging.LogRecord = event["_record"]
        first = {"timestamp": event.pop("timestamp"), "severity": record.levelname, "message": event.pop("event")}
        event["module"] = record.module
        event["build_version"] = build_version
        if "exception" in event:
            event["traceback"] = event.pop("exception")
        return first | event

    return rename
