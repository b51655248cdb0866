"""The quick way to a canonical text is the one of RFC 8785, to the byte."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from db.canonical import is_simple, serialized

keys = st.text(st.characters(max_codepoint=127), max_size=5) | st.text("aé\ufb33😀\ud800", max_size=3)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53 - 1, 2**53, -(2**53) + 1, -(2**53), 2**64])
    | st.floats()
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)


def written(write: Any, value: Any) -> bytes | type[Exception]:
    try:
        text: bytes = write(value)
        return text
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        return type(error)


@given(values)
@example('\x00\x08\x0c\x1f\x7f"\\/\u2028\u2029é😀')
@example({"b": [1, (2, 3)], "B": {}, "": [], "a": {"\x01": None, '"': True}})
@example({"😀": 1, "\ufb33": 2})
@example([1.0, 1e21, -0.0, 1e16])
@example("\udfff")
@example({"a": 2**53})
def test_both_ways_write_the_same_or_refuse_the_same(value: Any) -> None:
    """GEN-2, AUD-3: hashes are over these bytes."""
    assert written(serialized, value) == written(rfc8785.dumps, value)


def test_deep_values_are_written_too() -> None:
    """Deeper than the quick way goes."""
    deep: Any = 1
    for _ in range(300):
        deep = {"a": [deep]}
    assert serialized(deep) == b'{"a":[' * 300 + b"1" + b"]}" * 300


@pytest.mark.parametrize("value", [1.5, {"é": 1}, 2**53, ["a", {"b": 2.0}]])
def test_where_the_two_could_differ_the_library_decides(value: Any) -> None:
    assert not is_simple(value)


@given(st.recursive(st.none() | st.booleans() | st.integers(-100, 100) | st.text("aé"), st.lists, max_leaves=5))
def test_what_has_neither_fractions_nor_such_keys_goes_the_quick_way(value: Any) -> None:
    assert is_simple({"key": value})
