"""Statements that are text with `:names`, as the driver takes them: without SQLAlchemy's compiler at each execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from db.json_text import dump_json

DIALECT: Final = PGDialect_asyncpg(json_serializer=dump_json)  # type: ignore[no-untyped-call]
"""The driver as SQLAlchemy sees it, for texts and values that are made without a connection."""


class DriverText:
    """A statement, made once. Where Postgres cannot tell what kind of value a name stands for, the text says so by a
    CAST; the driver's values come back as they are, with JSON as text."""

    def __init__(self, sql: str) -> None:
        compiled = text(sql).compile(dialect=DIALECT)
        self.sql: Final = str(compiled)
        """With $1, $2 … in place of the names."""
        self.names: Final = tuple(compiled.positiontup or ())
        """Of $1, $2 …"""

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of their numbers. Raises KeyError where one is missing."""
        return [values[name] for name in self.names]
