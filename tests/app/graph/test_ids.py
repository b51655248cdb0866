"""Ids as texts: the quick reading takes what the other takes, and refuses what it refuses."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from app.graph.errors import BadUserInput
from app.graph.ids import global_id, key_of, parse_id_of
from db.ids import new_id

_TEXTS = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"(tsk|ins)_[0-9a-fA-F_{} -]{30,34}", fullmatch=True),
    st.from_regex(r"tsk_[0-9a-f]{32}\n?", fullmatch=True),
    st.from_regex(r"tsk_\d{32}"),
)


def test_a_key_is_the_bytes_of_the_id() -> None:
    row_id = new_id()
    assert key_of("tsk", "Task", global_id("tsk", row_id), "id") == row_id.bytes


@given(_TEXTS)
def test_a_key_is_read_as_its_uuid_would_be(text: str) -> None:
    found, expected = (_read(reading, text) for reading in (key_of, lambda *given: parse_id_of(*given).bytes))
    assert found == expected


def _read(reading: Callable[..., bytes], text: str) -> bytes | str:
    try:
        return reading("tsk", "Task", text, "id")
    except BadUserInput as refusal:
        return refusal.message
