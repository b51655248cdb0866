"""JSON as it goes into JSONB columns."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import orjson


def dump_json(value: Any) -> str:
    """The JSON text of a value.

    Whole numbers keep every digit, however many; read again, those of more than 64 bits become the double next to them.
    Raises ValueError for NaN and the infinities, and TypeError for whatever else JSON has no form for.
    """
    try:
        written = orjson.dumps(value).decode()
    except TypeError as error:
        # orjson stops at 64 bits; JSON does not. The slow way would also take keys that are no text, so they are
        # looked for here.
        if "64-bit" not in str(error) or not all(isinstance(key, str) for key in _keys(value)):
            raise
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    # orjson writes NaN and the infinities as null; without a null in the text there was none.
    if "null" in written and not all(map(math.isfinite, _floats(value))):
        raise ValueError("JSON has no NaN and no infinite number; leave the value out or make it null.")
    return written


def _keys(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
    for one in _inside(value):
        yield from _keys(one)


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    for one in _inside(value):
        yield from _floats(one)


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
