"""Whatever bytes come in: an event, or a reason; and what is taken can be stored (traps 4 and 5)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.telemetry.wire import (
    LARGEST_PAYLOAD,
    Declined,
    SentEvent,
    decode_array,
    decode_event,
    decode_lines,
    payload_text,
)

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=400))
def test_any_bytes_are_an_event_or_a_reason(text: bytes) -> None:
    """Nothing else is raised; alone and among others alike."""
    alone = decode_event(text)
    assert isinstance(alone, SentEvent | Declined)
    if b"\n" not in text and text.strip():
        among = decode_lines([b'{"type": "RUN_STEP"}', text])
        assert isinstance(among[0], SentEvent)
        assert type(among[1]) is type(alone)
    with contextlib.suppress(Declined):
        assert all(isinstance(one, msgspec.Raw) for one in decode_array(text))


@given(JSON)
def test_any_payload_is_kept_to_the_letter_or_refused(value: Any) -> None:
    """An object that Postgres can store is its own text; the rest is refused with a reason."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, UnicodeEncodeError):
        return
    kept: Any = "declined"
    with contextlib.suppress(Declined):
        kept = payload_text(msgspec.Raw(text))
    if value is None:
        assert kept is None
    elif isinstance(value, dict) and "\\u0000" not in json.dumps(value) and _all_fit(value):
        assert kept == text.decode()
    else:
        assert kept in ("declined", text.decode())


def _all_fit(value: Any) -> bool:
    """Whether all numbers are those of a double, in few enough digits."""
    if isinstance(value, dict):
        return all(map(_all_fit, value.values()))
    if isinstance(value, list):
        return all(map(_all_fit, value))
    return not isinstance(value, int | float) or abs(value) < 1e300


@pytest.mark.parametrize(
    ("payload", "is_taken"),
    [
        ('{"a": 1e-400}', True),
        ('{"a": 1e-401}', False),
        ('{"a": -1E-999999999999999999999}', False),
        ('{"a": "1e-999"}', True),
        ('{"a": ' + "9" * 308 + "}", True),
        ('{"a": "' + "9" * 401 + '"}', True),
        ('{"a": 1.' + "9" * 401 + "}", False),
        ('{"a": "\\\\u0000"}', True),
        ('{"a": "\\u0000"}', False),
        ('{"\\u0000": 1}', False),
        ('{"a": "' + "x" * (LARGEST_PAYLOAD - 9) + '"}', True),
        ('{"a": "' + "x" * (LARGEST_PAYLOAD - 8) + '"}', False),
        ('{"a": "\\ud800"}', False),
        ("[]", False),
    ],
)
def test_what_postgres_cannot_store_is_refused(payload: str, is_taken: bool) -> None:
    raw = msgspec.Raw(payload.encode())
    if is_taken:
        assert payload_text(raw) == payload
        orjson.loads(payload)
    else:
        with pytest.raises(Declined):
            payload_text(raw)
