"""Structured logs: one line an event, in both forms, for our own loggers and for those of libraries."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from uuid import UUID

import pytest
import structlog

from app import log
from app.settings import LogFormat, LogLevel, Settings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _configured(form: LogFormat = LogFormat.JSON, level: LogLevel = LogLevel.INFO) -> io.StringIO:
    stream = io.StringIO()
    log.configure(Settings(log_format=form, log_level=level), stream)
    return stream


def test_an_event_is_one_json_object_with_its_fields_and_the_request_id() -> None:
    stream = _configured()
    bound = log.REQUEST_ID.set("r1")
    structlog.get_logger("fleetgraph.http").info("request", path="/x\n", id=UUID(int=1))
    log.REQUEST_ID.reset(bound)
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "request",
        "level": "info",
        "logger": "fleetgraph.http",
        "request_id": "r1",
        "path": "/x\n",
        "id": str(UUID(int=1)),
    }


def test_what_cannot_be_written_as_json_does_not_lose_the_line() -> None:
    stream = _configured()
    structlog.get_logger("fleetgraph").info("odd", value=object(), keys={1: "one"})
    found = json.loads(stream.getvalue())
    assert found["value"].startswith("<object")
    assert found["keys"] == {"1": "one"}


def test_libraries_come_out_in_the_same_form() -> None:
    stream = _configured()
    logging.getLogger("some.library").warning("%d bytes", 5)
    found = json.loads(stream.getvalue())
    assert (found["event"], found["level"], found["logger"]) == ("5 bytes", "warning", "some.library")


def test_the_level_holds_and_talkative_libraries_are_quiet() -> None:
    stream = _configured(level=LogLevel.WARNING)
    structlog.get_logger("fleetgraph").info("not said")
    logging.getLogger("some.library").info("not said")
    assert stream.getvalue() == ""
    stream = _configured()
    logging.getLogger("uvicorn.error").info("not said")
    assert stream.getvalue() == ""
    logging.getLogger("uvicorn.error").error("said")
    assert json.loads(stream.getvalue())["event"] == "said"
    stream = _configured(level=LogLevel.DEBUG)
    logging.getLogger("uvicorn.error").debug("said")
    assert json.loads(stream.getvalue())["event"] == "said"


@pytest.mark.parametrize("form", list(LogFormat))
def test_an_error_comes_with_its_traceback(form: LogFormat) -> None:
    stream = _configured(form)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        structlog.get_logger("fleetgraph").exception("fault")
        logging.getLogger("some.library").exception("foreign fault")
    text = stream.getvalue()
    assert text.count("RuntimeError: broken") == 2
    if form is not LogFormat.TEXT:
        assert len(text.splitlines()) == 2, "a stream that is no terminal gets one line an event"


def test_a_reader_that_has_gone_does_not_break_requests() -> None:
    stream = _configured()
    stream.close()
    structlog.get_logger("fleetgraph").info("unheard")
    with log.together():
        log.info("fleetgraph.graph", "unheard")


def test_lines_of_a_block_go_out_together_and_none_is_lost() -> None:
    """Whatever their logger, in their order, also where the block fails; and none waits for another block."""

    class Counting(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    stream = Counting()
    log.configure(Settings(log_format=LogFormat.JSON), stream)
    said = structlog.get_logger("fleetgraph.http")

    def answer() -> None:
        with log.together():
            log.info("fleetgraph.graph", "first")
            with log.together():
                said.warning("second")
            assert stream.getvalue() == ""
            said.info("third", share=1 / 0)

    with pytest.raises(ZeroDivisionError):
        answer()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["first", "second"]
    assert stream.flushes == 1
    said.info("fourth")
    with log.together():
        pass
    assert (len(stream.getvalue().splitlines()), stream.flushes) == (3, 2)
