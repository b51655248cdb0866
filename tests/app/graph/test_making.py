"""Types that the kit makes: shapes without instances (app/graph/making.py)."""

from __future__ import annotations

import pytest

from app.graph.registry import ENTITIES, TYPES
from app.schema import schema


def _is_generated(method: object) -> bool:
    return getattr(getattr(method, "__code__", None), "co_filename", "") == "<string>"


def test_types_of_the_kit_carry_no_generated_methods() -> None:
    """Issue 6, memory: there are some 700 of them, and nobody makes an instance of any."""
    schema()
    generated = {name for name, made in TYPES.items() if any(map(_is_generated, vars(made).values()))}
    assert len(TYPES) > 700
    assert generated == {"Node", "TaskTimelineEntry"}, "which are written by hand"


def test_who_makes_an_instance_all_the_same_is_told() -> None:
    with pytest.raises(TypeError, match="Operator is a type of the graph alone"):
        ENTITIES["Operator"].cls(id="x")
