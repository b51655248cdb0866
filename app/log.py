"""Structured logs: one line an event, with the request id of whatever it belongs to; to the error output.

Modules log through ``structlog.get_logger("fleetgraph.…")``. What libraries log through the standard library comes out
in the same form. Values are fields, never part of the event's name, so that lines can be counted and searched.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from typing import Any, Final, TextIO

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

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("fleetgraph_request_id", default=None)
"""The id of the request that is being answered, for every line that is written meanwhile."""

# These tell of each step of their own; the gateway's lines say what matters of it.
_QUIET_LIBRARIES = ("uvicorn", "uvicorn.error", "alembic", "httpx", "httpcore", "asyncio")


class _Output:
    """Where finished lines go, each at once, or those of a `together` block at its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held: list[str] | None = None

    def write(self, line: str) -> None:
        if self._held is not None:
            self._held.append(line)
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            # Whoever read the log has gone; requests go on.
            pass

    @contextmanager
    def together(self) -> Iterator[None]:
        if self._held is not None:
            yield
            return
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            if held:
                self.write("\n".join(held))


class _Line:
    """A logger's lines, with the logger's name for them."""

    def __init__(self, output: _Output, name: str) -> None:
        self.name = name
        self.msg = self.debug = self.info = self.warning = output.write
        self.error = self.critical = self.exception = output.write


_direct: _Direct | None = None
_output: _Output | None = None


def together() -> AbstractContextManager[None]:
    """The lines that a block writes go out with one write, which costs as much as a line's does; no await in it."""
    return nullcontext() if _output is None else _output.together()


def info(logger: str, event: str, **fields: Any) -> None:
    """`structlog.get_logger(logger).info(event, **fields)`, for lines that every operation writes: where they are JSON
    it leaves out structlog's own steps, which take three times as long as the line."""
    direct = _direct
    if direct is None or structlog.get_config()["processors"] is not direct.processors:
        structlog.get_logger(logger).info(event, **fields)
    elif direct.is_wanted:
        line = direct.line(logger)
        line.msg(_json(line, "info", _completed(line, "info", {**fields, "event": event})))


class _Direct:
    """What structlog was configured with, where its lines are JSON."""

    def __init__(self, processors: list[Processor], output: _Output, level: int) -> None:
        self.processors = processors
        self.is_wanted = level <= logging.INFO
        self.line = cache(partial(_Line, output))
        """A logger's line by its name."""


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Sets logging up for this process; the last call wins. `stream` is the error output unless given."""
    stream = stream or sys.stderr
    level = _LEVELS[settings.log_level]
    as_text = settings.log_format is LogFormat.TEXT or (settings.log_format is LogFormat.AUTO and stream.isatty())
    render: Processor = _json
    if as_text:
        render = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=_plain_traceback)
    global _direct, _output
    processors: list[Processor] = [_completed, render]
    output = _output = _Output(stream)
    _direct = None if as_text else _Direct(processors, output, level)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Line(output, names[0] if names else "fleetgraph"),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                _completed,
                structlog.processors.StackInfoRenderer(),
                structlog.stdlib.PositionalArgumentsFormatter(),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
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


def _completed(logger: Any, method: str, event: EventDict) -> EventDict:
    """The event with what every line has. One step instead of structlog's five, for each operation writes one."""
    identity = REQUEST_ID.get()
    if identity is not None:
        event.setdefault("request_id", identity)
    record: logging.LogRecord | None = event.get("_record")
    event["level"] = "error" if method == "exception" else method
    event["logger"] = logger.name if record is None else record.name
    now = time.time()
    event["timestamp"] = f"{_second(int(now))}.{int(now % 1 * 1_000_000):06d}Z"
    return event


@lru_cache(maxsize=1)
def _second(number: int) -> str:
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(logger: Any, method: str, event: EventDict) -> str:
    """One JSON object; what JSON has no form for is written as text rather than losing the line."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain_traceback(stream: TextIO, info: Any) -> None:
    structlog.dev.plain_traceback(stream, info)
