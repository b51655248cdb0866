"""Structured logs: one line an event, with the request id of whatever it belongs to; to the error output.

Modules log through ``structlog.get_logger("fleetgraph.…")``. What libraries log through the standard library comes out
in the same form. Values are fields, never part of the event's name, so that lines can be counted and searched.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

from app.settings import LogFormat, LogLevel, Settings

_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}

# These tell of each step of their own; the gateway's lines say what matters of it.
_QUIET_LIBRARIES = ("uvicorn", "uvicorn.error", "alembic", "httpx", "httpcore", "asyncio")


class _Line:
    """Where a logger's finished line goes; carries the logger's name for the line."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            # Whoever read the log has gone; requests go on.
            pass

    debug = info = warning = error = critical = exception = msg


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Sets logging up for this process; the last call wins. `stream` is the error output unless given."""
    stream = stream or sys.stderr
    level = _LEVELS[settings.log_level]
    as_text = settings.log_format is LogFormat.TEXT or (settings.log_format is LogFormat.AUTO and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    render: list[Processor]
    if as_text:
        render = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=_plain_traceback)]
    else:
        render = [structlog.processors.format_exc_info, _json]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Line(stream, names[0] if names else "fleetgraph"),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET_LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(level, logging.WARNING) if level > logging.DEBUG else level)


def _json(_logger: Any, _name: str, event: EventDict) -> str:
    """One JSON object; what JSON has no form for is written as text rather than losing the line."""
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain_traceback(stream: TextIO, info: Any) -> None:
    structlog.dev.plain_traceback(stream, info)
