"""What the tests of the import share: import a few documents, and look at the rows that they became."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Table, func, select, text

from app.legacy.importer import import_snapshot
from app.legacy.mapping import table_of
from app.legacy.report import Report
from db import models
from db.base import Model
from db.ids import new_id
from db.session import Database
from tests.app.legacy.zips import Rows, row, write_snapshot

DEMO = Path(__file__).parents[2] / "data" / "mission-control-demo-snapshot.zip"
"""What Mission Control's own seed script wrote."""

NOW = 1_795_396_922_000
"""2026-11-23T01:22:02Z: when the documents of the tests were made."""
DAY = 86_400_000


def some_slug() -> str:
    """A slug that no other test has."""
    return f"i-{new_id().hex[-12:]}"


@dataclass
class Landed:
    """An import with its report, and the tenant that it went into."""

    database: Database
    slug: str
    path: Path
    report: Report

    async def again(self, path: Path | None = None, **options: Any) -> Report:
        """Import once more into the same tenant."""
        return await import_snapshot(self.database, path or self.path, self.slug, **options)

    async def tenant_id(self) -> UUID:
        """The tenant."""
        tenants = table_of(models.Tenant)
        async with self.database.platform() as connection:
            return UUID(str(await connection.scalar(select(tenants.c.id).where(tenants.c.slug == self.slug))))

    async def rows(self, model: type[Model], **where: Any) -> list[dict[str, Any]]:
        """The tenant's rows of a table, in the order of their ids."""
        table = table_of(model)
        statement = select(table).where(*(table.c[name] == value for name, value in where.items()))
        if model is not models.Tenant:
            statement = statement.where(table.c.tenant_id == await self.tenant_id())
        async with self.database.platform() as connection:
            found = await connection.execute(statement.order_by(*table.primary_key.columns))
            return [dict(one._mapping) for one in found]

    async def row(self, model: type[Model], **where: Any) -> dict[str, Any]:
        """The only such row."""
        found = await self.rows(model, **where)
        assert len(found) == 1, f"{len(found)} rows of {model.__name__} with {where}"
        return found[0]

    async def of(self, model: type[Model], legacy_id: str) -> dict[str, Any]:
        """The row that continues a document, by its metadata."""
        found = [one for one in await self.rows(model) if (one["metadata"] or {}).get("legacyId") == legacy_id]
        assert len(found) == 1, f"{len(found)} rows of {model.__name__} continue {legacy_id}"
        return found[0]

    async def fingerprint(self) -> dict[str, tuple[int, str]]:
        """Number and checksum of the tenant's rows in every table, the gateway's own among them."""
        own = await self.tenant_id()
        tables = [table for table in Model.metadata.tables.values() if _is_owned(table)]
        return {str(table): await self._print_of(table, own) for table in tables}

    async def _print_of(self, table: Table, own: UUID) -> tuple[int, str]:
        key = table.c.id if table.name == "tenants" else table.c.tenant_id
        order = [column.name for column in table.primary_key.columns]
        statement = text(f"SELECT to_jsonb(t) FROM {table} t WHERE {key.name} = :own ORDER BY {', '.join(order)}")
        async with self.database.platform() as connection:
            rows = [one[0] for one in await connection.execute(statement, {"own": own})]
        return len(rows), hashlib.sha256(orjson.dumps(rows, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _is_owned(table: Table) -> bool:
    return table.name == "tenants" or "tenant_id" in table.columns


async def land(
    database: Database,
    directory: Path,
    tables: Mapping[str, Rows],
    *,
    slug: str | None = None,
    extra: Mapping[str, str | bytes] | None = None,
    as_of: datetime | None = None,
    **options: Any,
) -> Landed:
    """Import these documents into a tenant of their own."""
    name = slug or some_slug()
    path = write_snapshot(directory / f"{name}.zip", tables, extra)
    report = await import_snapshot(database, path, name, as_of, **options)
    return Landed(database, name, path, report)


async def count_tenants(database: Database, slug: str) -> int:
    """How many tenants have this slug."""
    tenants = table_of(models.Tenant)
    async with database.platform() as connection:
        return await connection.scalar(select(func.count()).where(tenants.c.slug == slug)) or 0


def fleet(**tables: Rows) -> dict[str, Rows]:
    """A small fleet to build on: a tenant, a project, an environment, one agent and one task, and `tables` besides."""
    base: dict[str, Rows] = {
        "tenants": [row("tenant", NOW - DAY, name="Acme", slug="acme", active=True)],
        "projects": [row("project", NOW - DAY, tenantId="tenant", name="Core", slug="core")],
        "environments": [row("prod", NOW - DAY, tenantId="tenant", name="Production", type="prod")],
        "agents": [agent("atlas")],
        "tasks": [task("task")],
    }
    return {**base, **tables}


def agent(legacy_id: str, **fields: Any) -> dict[str, Any]:
    """An agent of Mission Control."""
    given = {
        "tenantId": "tenant",
        "projectId": "project",
        "name": legacy_id.title(),
        "role": "SPECIALIST",
        "status": "ACTIVE",
        "workspacePath": f"/agents/{legacy_id}",
        "allowedTaskTypes": ["OPS"],
        "allowedTools": ["read", "shell"],
        "budgetDaily": 5,
        "budgetPerRun": 0.75,
        "spendToday": 1.25,
        "spendResetAt": NOW + DAY,
        "canSpawn": False,
        "maxSubAgents": 0,
        **fields,
    }
    return row(legacy_id, NOW - DAY, **{name: value for name, value in given.items() if value is not None})


def task(legacy_id: str, **fields: Any) -> dict[str, Any]:
    """A task of Mission Control."""
    given = {
        "tenantId": "tenant",
        "projectId": "project",
        "title": f"Task {legacy_id}",
        "type": "OPS",
        "status": "INBOX",
        "priority": 3,
        "assigneeIds": [],
        "reviewCycles": 0,
        "actualCost": 0.5,
        **fields,
    }
    return row(legacy_id, NOW - DAY, **{name: value for name, value in given.items() if value is not None})


def run(legacy_id: str, **fields: Any) -> dict[str, Any]:
    """A run of the agent `atlas`."""
    given = {
        "tenantId": "tenant",
        "projectId": "project",
        "agentId": "atlas",
        "taskId": "task",
        "idempotencyKey": f"run:{legacy_id}",
        "sessionKey": "session",
        "startedAt": NOW - 5_000,
        "model": "gpt-5",
        "inputTokens": 10,
        "outputTokens": 20,
        "costUsd": 0.17,
        "status": "COMPLETED",
        **fields,
    }
    return row(legacy_id, NOW - 4_000, **{name: value for name, value in given.items() if value is not None})


def rejected(report: Report, table: str) -> list[tuple[str, str, bool]]:
    """Id, field and whether the row was kept, of the table's entries in the reject report."""
    return [(one.id, one.field, one.row_kept) for one in report.rejects if one.table == table]
