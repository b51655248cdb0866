"""Good rows of any table, made from its columns, and what Postgres says to a row."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.base import EnumText, Model
from db.ids import created_at, new_id

Row = dict[str, Any]
HASH: Final = "0123456789abcdef" * 4
TABLES: Final[Mapping[str, sa.Table]] = {table.name: table for table in Model.metadata.tables.values()}
OF_TENANTS: Final = [name for name, table in TABLES.items() if "tenant_id" in table.columns]

# What a row of the table needs beside a value of the right kind in each mandatory column.
_NEEDED: Final[Mapping[str, Row]] = {
    "agent_versions": {"genome_hash": HASH},
    "change_records": {"content_hash": HASH, "prev_hash": HASH, "hash": HASH},
    # A run that is over: only open ones stand in each other's way.
    "evaluation_runs": {"status": "PASSED"},
    # A project has one head.
    "org_assignments": {"org_position": "LEAD"},
    "retention_marks": {"log": "op_events"},
    "tenant_counters": {},
}
_count: Final = itertools.count(1)


@dataclass
class Sample:
    """A tenant with one row in each table that others point at, so that every reference can be set."""

    tenant_id: UUID = field(default_factory=new_id)
    ids: dict[str, UUID] = field(default_factory=dict)
    """Id of the row in each of these tables."""

    def row(self, table: sa.Table, /, **changes: Any) -> Row:
        """A row that the table takes: new, with mandatory columns alone and those of `changes`."""
        row: Row = {column.name: self.value(column) for column in table.columns if _mandatory(column)}
        row |= _NEEDED.get(table.name, {})
        match table.name:
            case "task_dependencies":
                row["depends_on_task_id"] = self.ids["another task"]
            case "policy_envelopes":
                row["attached_to_project_id"] = self.ids["projects"]
            case "notifications":
                row["operator_id"] = self.ids["operators"]
            case "org_assignments":
                row["scope_ref"] = self.value(table.c.scope_ref)
        if "created_at" in row and "id" in row:
            row["created_at"] = created_at(row["id"])
        return row | changes

    def value(self, column: sa.Column[Any]) -> Any:
        """A value that the column takes; texts and numbers are new ones each time."""
        target = column.info.get("references")
        if column.name == "tenant_id":
            return self.tenant_id
        if target is not None:
            return self.ids[target]
        if "one_of" in column.info:
            return column.info["one_of"][0]
        if "range" in column.info:
            return column.info["range"][0]
        match column.type:
            case EnumText():
                return next(iter(column.type.enumeration)).value
            case sa.Uuid():
                return new_id()
            case sa.Text():
                return f"text {new_id()}"  # slugs of tenants are unique among all workers of the run
            case sa.Boolean():
                return False
            case sa.Integer():
                return next(_count)
            case sa.Numeric() if column.type.asdecimal:
                return Decimal(next(_count))
            case sa.Float():
                return float(next(_count))
            case sa.TIMESTAMP():
                return datetime.now(UTC)
            case JSONB():
                return {}
            case sa.ARRAY():
                return []
        raise TypeError(f"No value for {column}, a {column.type!r}.")


def _mandatory(column: sa.Column[Any]) -> bool:
    return not column.nullable and column.server_default is None


def plain(table: sa.Table) -> sa.TableClause:
    """The table with nothing of Python's in between: no defaults, and no look at an enum's value before Postgres."""
    columns = []
    for column in table.columns:
        kind: Any = column.type
        if isinstance(kind, EnumText):
            kind = sa.Text()
        elif isinstance(kind, sa.ARRAY):
            kind = sa.ARRAY(sa.Text())
        columns.append(sa.column(column.name, kind))
    return sa.table(table.name, *columns, schema=table.schema)


async def insert(connection: AsyncConnection, table: sa.Table, row: Row) -> None:
    """Insert the row as it is."""
    await connection.execute(sa.insert(plain(table)).values(row))


async def refusal(connection: AsyncConnection, table: sa.Table, row: Row) -> str | None:
    """What Postgres has against the row: the name of the constraint, `NOT NULL column`, or None where it is taken.

    The row does not stay.
    """
    savepoint = await connection.begin_nested()
    try:
        await insert(connection, table, row)
    except DBAPIError as error:
        cause: Any = error.orig.__cause__ if error.orig else None
        if cause.sqlstate == "23502":
            return f"NOT NULL {cause.column_name}"
        return str(cause.constraint_name or cause)
    finally:
        await savepoint.rollback()
    return None


@asynccontextmanager
async def undone(connection: AsyncConnection) -> AsyncIterator[None]:
    """What the block does is undone at its end."""
    savepoint = await connection.begin_nested()
    try:
        yield
    finally:
        await savepoint.rollback()


async def make_sample(connection: AsyncConnection) -> Sample:
    """A tenant with its rows, inserted in an order that their references allow."""
    sample = Sample()
    await insert(connection, TABLES["tenants"], sample.row(TABLES["tenants"], id=sample.tenant_id))
    waiting = sorted({column.info["references"] for column in _references()})
    while waiting:
        ready = [name for name in waiting if all(_mandatory_target(name, sample.ids))]
        assert ready, f"the references of {waiting} go round in a circle"
        for name in ready:
            await _add(connection, sample, name, name)
        waiting = [name for name in waiting if name not in ready]
    await _add(connection, sample, "tasks", "another task")
    return sample


def _references() -> list[sa.Column[Any]]:
    return [column for table in TABLES.values() for column in table.columns if "references" in column.info]


def _mandatory_target(name: str, known: Mapping[str, UUID]) -> list[bool]:
    needed = [column for column in TABLES[name].columns if "references" in column.info and _mandatory(column)]
    if name == "policy_envelopes":
        needed.append(TABLES[name].c.attached_to_project_id)
    return [column.info["references"] in known for column in needed]


async def _add(connection: AsyncConnection, sample: Sample, table: str, key: str) -> None:
    row = sample.row(TABLES[table])
    await insert(connection, TABLES[table], row)
    sample.ids[key] = row["id"]
