"""What senders send: the form of an event, and what is said of one that cannot be taken."""

from __future__ import annotations

import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import orjson

from app.commands import Refusal
from db.enums import OpEventType

MOST_EVENTS: Final = 50_000
"""Events of one request to `/v1/op-events`."""
LARGEST_PAYLOAD: Final = 32_768
"""Bytes of an event's `payload` as JSON."""
LONGEST_EVENT_ID: Final = 200
LARGEST_EVENT: Final = LARGEST_PAYLOAD + 4_096
"""Bytes of an event's whole text; what is longer is not even kept in memory."""
_LONGEST_NUMBER: Final = 400
_NULL: Final = (b"", b"null")


class Why(StrEnum):
    """Why an event was refused."""

    MALFORMED = "MALFORMED"
    NOT_FOUND = "NOT_FOUND"
    MISMATCH = "MISMATCH"
    FORBIDDEN = "FORBIDDEN"
    TIMESTAMP_REQUIRED = "TIMESTAMP_REQUIRED"
    TOO_OLD = "TOO_OLD"
    AHEAD_OF_TIME = "AHEAD_OF_TIME"
    TOO_LARGE = "TOO_LARGE"
    STATE_FORBIDS = "STATE_FORBIDS"
    ELSEWHERE = "ELSEWHERE"


MEANINGS: Final = {
    Why.MALFORMED: "The event is no JSON object of the documented form.",
    Why.NOT_FOUND: "It names a row that the tenant does not have.",
    Why.MISMATCH: "The rows that it names do not belong together.",
    Why.FORBIDDEN: "The caller may not write events of this agent or project (RBAC-7, RBAC-11).",
    Why.TIMESTAMP_REQUIRED: "An event with an `eventId` needs its `timestamp`: both make it known again (decision 5).",
    Why.TOO_OLD: "It happened longer ago than the tenant keeps events (RET).",
    Why.AHEAD_OF_TIME: "It is dated more than 5 minutes ahead: a clock is wrong.",
    Why.TOO_LARGE: "It is larger than an event may be.",
    Why.STATE_FORBIDS: "The agent's state records no such event (INS-4).",
    Why.ELSEWHERE: "What it reports counts only where it is reported; the message names the mutation (COST-1).",
}
REFUSALS: Final = {
    Why.NOT_FOUND: Refusal.NOT_FOUND,
    Why.MISMATCH: Refusal.CONFLICT,
    Why.STATE_FORBIDS: Refusal.INVALID_STATE_TRANSITION,
}
"""As `userErrors` say it; every other one is a VALIDATION_ERROR."""


class Declined(Exception):
    """An event cannot be taken: why, in words, and the field that is to blame."""

    def __init__(self, why: Why, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.message = message
        self.field = field


class SentEvent(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False, kw_only=True):
    """An op event as its sender has it. Ids are global ids, or UUIDs where the API has parsed them already.

    Version and project are filled in from the instance, so they are no fields here (OPE-1).
    """

    type: OpEventType
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_EVENT_ID)] | None = None
    instance_id: Any = None
    run_id: Any = None
    task_id: Any = None
    tool_call_id: Any = None
    workflow_run_id: Any = None
    project_id: Any = None
    payload: msgspec.Raw = msgspec.Raw()


_decoder: Final = msgspec.json.Decoder(SentEvent)
_lines: Final = msgspec.json.Decoder(SentEvent)
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_FIELD: Final = re.compile(r"at `\$\.(\w+)")
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `([^`]{1,80})`")


def decode_event(text: bytes | msgspec.Raw) -> SentEvent | Declined:
    """One event, or what is wrong with its text."""
    if len(memoryview(text)) > LARGEST_EVENT:
        return too_large()
    try:
        return _decoder.decode(text)
    except UnicodeDecodeError:
        return Declined(Why.MALFORMED, "The event is not UTF-8.")
    except RecursionError:
        return Declined(Why.MALFORMED, "The event is nested too deeply.", "payload")
    except msgspec.ValidationError as error:
        message = str(error)
        found = _FIELD.search(message) or _UNKNOWN_FIELD.search(message)
        return Declined(Why.MALFORMED, f"The event does not fit: {message}.", found[1] if found else None)
    except msgspec.DecodeError as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        return Declined(Why.MALFORMED, f"The event is not JSON: {reason}.")


def decode_lines(lines: list[bytes]) -> list[SentEvent | Declined]:
    """Events, one a line; a line that is none costs the others nothing but time."""
    try:
        if max(map(len, lines)) <= LARGEST_EVENT:
            return list(_lines.decode_lines(b"\n".join(lines)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # one by one, then, to find out which
    return [decode_event(line) for line in lines]


def decode_array(body: bytes) -> list[msgspec.Raw]:
    """The texts of the events of a JSON array. Raises Declined for what is no array."""
    try:
        return _array.decode(body)
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except RecursionError:
        reason = "it is nested too deeply"
    except msgspec.DecodeError as error:
        reason = str(error).removeprefix("JSON is malformed: ")
    raise Declined(Why.MALFORMED, f"The body is no JSON array of events: {reason}.")


def too_large() -> Declined:
    """The answer for an event that is longer than any may be."""
    return Declined(Why.TOO_LARGE, f"The event is longer than {LARGEST_EVENT} bytes.")


# What JSON allows and Postgres cannot store: NUL, and numbers far outside of what a double holds. Large exponents are
# none, orjson has refused those. Whoever has one of these marks is looked at closely; nearly nobody has.
_SMALL: Final = re.compile(rb"[eE]-\d{3}")
_LONG: Final = re.compile(rb"\d{%d}" % _LONGEST_NUMBER)


def _is_suspicious(view: bytes) -> bool:
    return (
        b"\\u0000" in view
        or ((b"e-" in view or b"E-" in view) and _SMALL.search(view) is not None)
        or (len(view) > _LONGEST_NUMBER and _LONG.search(view) is not None)
    )


def payload_text(raw: msgspec.Raw) -> str | None:
    """A payload as it goes into its column: its own text, checked. None where there is none. Raises Declined."""
    view = bytes(raw)
    if view in _NULL:
        return None
    if len(view) > LARGEST_PAYLOAD:
        raise Declined(
            Why.TOO_LARGE, f"The payload has {len(view)} bytes, at most {LARGEST_PAYLOAD} are taken.", "payload"
        )
    if view[:1] != b"{":
        raise Declined(Why.MALFORMED, "`payload` is a JSON object.", "payload")
    try:
        orjson.loads(view)
        if _is_suspicious(view):
            _look_closely(view)
        return view.decode()
    except (ValueError, RecursionError) as error:  # orjson's error is a ValueError
        raise Declined(Why.MALFORMED, f"`payload` cannot be stored: {_reason(error)}.", "payload") from None


def _look_closely(view: bytes) -> None:
    def number(text: str) -> float:
        mantissa, _, exponent = text.lower().partition("e")
        if len(mantissa) > _LONGEST_NUMBER or abs(int(exponent or 0)) > _LONGEST_NUMBER:
            raise ValueError("a number is too large or has too many digits")
        return 0.0

    pending: list[Any] = [json.loads(view, parse_float=number, parse_int=number)]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += (*value, *value.values())
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and "\0" in value:
            raise ValueError("it has a NUL character")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).split(": line")[0]


class RowIds(dict[Any, UUID]):
    """Row ids by the global ids of one type, each parsed once. Raises Declined for what is no such id."""

    def __init__(self, prefix: str, field: str) -> None:
        super().__init__()
        self._prefix = f"{prefix}_"
        self._field = field

    def __missing__(self, given: Any) -> UUID:
        if isinstance(given, UUID):
            return given
        if isinstance(given, str) and given.startswith(self._prefix) and _DIGITS.fullmatch(given, len(self._prefix)):
            found = self[given] = UUID(hex=given[len(self._prefix) :])
            return found
        raise Declined(
            Why.MALFORMED, f"`{self._field}` is no id of the form `{self._prefix}` and 32 hex digits.", self._field
        )


_DIGITS: Final = re.compile(r"[0-9a-f]{32}")
