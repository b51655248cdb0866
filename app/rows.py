"""Rows as plain JSON, and changes of rows as the journals tell them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import inspect

from app.graph.registry import camel
from app.graph.scalars import format_datetime
from db.base import JsonObject, Model

_METADATA: Final = "metadata"


def plain(value: Any) -> Any:
    """A column's value as JSON has it: ids, times and money as text."""
    match value:
        case enum.Enum():
            return value.value
        case UUID() | Decimal():
            return str(value)
        case datetime():
            return format_datetime(value)
        case list() | tuple():
            return [plain(one) for one in value]
    return value


def as_json(row: Model) -> JsonObject:
    """All columns of a row but its tenant, under the names that the API gives them."""
    columns = inspect(type(row)).column_attrs
    return {
        camel(one.columns[0].name): plain(getattr(row, one.key))
        for one in columns
        if one.columns[0].name != "tenant_id"
    }


def edit(row: Model, changes: Mapping[str, Any], secret: frozenset[str] = frozenset()) -> tuple[JsonObject, JsonObject]:
    """Set columns, and give what really changed before and after, under the API's names.

    `changes` goes by column name, `metadata` included. The values of `secret` columns are told as set or not.
    """
    before: JsonObject = {}
    after: JsonObject = {}
    for name, value in changes.items():
        attribute = "metadata_" if name == _METADATA else name
        old = getattr(row, attribute)
        if old == value:
            continue
        setattr(row, attribute, value)
        if name in secret:
            old, value = old and "set", value and "set again"
        before[camel(name)], after[camel(name)] = plain(old), plain(value)
    return before, after
