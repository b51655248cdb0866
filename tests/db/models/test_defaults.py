"""Values that nobody gave: the same from Python and from Postgres, so that COPY and plain SQL may leave them out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from db import models
from db.base import EnumText
from db.ids import created_at, new_id
from tests.conftest import TenantUnderTest
from tests.db.models.rows import TABLES, Sample, plain, undone

# What Python makes of the row's own id. Whoever inserts without the models gives them, as the id itself.
MADE_WITH_ID = {"id", "created_at", "updated_at"}
DEFAULTS = [
    f"{name}.{column.name}" for name, table in TABLES.items() for column in table.columns if column.server_default
]


def pythons(column: sa.Column[Any]) -> Any:
    """What the models put in where a row leaves the column out; None for the time, which each clock tells itself."""
    default: Any = column.default
    if default is None or default.is_clause_element:
        return None
    return default.arg(None) if default.is_callable else default.arg


@pytest.mark.parametrize("name", DEFAULTS)
async def test_postgres_puts_in_what_the_models_would(name: str, connection: AsyncConnection, own: Sample) -> None:
    """A row that is inserted without the column has the same value in it."""
    table_name, _, column_name = name.partition(".")
    table = TABLES[table_name]
    column = table.c[column_name]
    async with undone(connection):
        found = await _stored(connection, table, own, column)
    if isinstance(column.type, sa.TIMESTAMP):
        assert abs(datetime.now(UTC) - found) < timedelta(minutes=5)
    else:
        assert found == pythons(column)
        assert type(found) is type(pythons(column)) or isinstance(column.type, EnumText)


async def _stored(connection: AsyncConnection, table: sa.Table, own: Sample, column: sa.Column[Any]) -> Any:
    if table.name == "tenant_counters":  # comes with its tenant
        await connection.execute(sa.insert(plain(TABLES["tenants"])).values(fresh := own.row(TABLES["tenants"])))
        return await connection.scalar(sa.select(column).where(table.c.tenant_id == fresh["id"]))
    row = {name: value for name, value in own.row(table).items() if name != column.name}
    return await connection.scalar(sa.insert(plain(table)).values(row).returning(sa.column(column.name, column.type)))


def test_what_python_puts_in_postgres_would_too() -> None:
    """No column but those that follow from the id has a default in Python alone."""
    alone = {
        f"{name}.{column.name}"
        for name, table in TABLES.items()
        for column in table.columns
        if column.default is not None and column.server_default is None and column.name not in MADE_WITH_ID
    }
    assert alone == set()


async def test_a_row_is_as_old_as_its_id(tenant: TenantUnderTest) -> None:
    """Keys sort by creation: `created_at` and at first `updated_at` are the id's own time, to the millisecond."""
    long_ago = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
    rows = [models.Role(id=new_id(at), name=f"at {at}", permissions=[]) for at in (None, long_ago)]
    await tenant.add(*rows)
    async with tenant.database.read(tenant.actor()) as reading:
        stored = await reading.rows(sa.select(models.Role.id, models.Role.created_at, models.Role.updated_at))
    for row in stored:
        assert row.created_at == row.updated_at == created_at(row.id)
    assert long_ago.replace(microsecond=999_000) in [row.created_at for row in stored]


async def test_a_row_says_when_it_last_changed(tenant: TenantUnderTest) -> None:
    """Decision 15: `updated_at` moves with every change that is made through the models; `created_at` never."""
    async with tenant.database.transaction(tenant.actor()) as session:
        project = await session.get_one(models.Project, (tenant.id, tenant.project.id))
        before = project.updated_at
        project.name = "Renamed"
        await session.flush()
        await session.refresh(project)
        assert project.updated_at > before
        assert project.created_at == created_at(project.id)
