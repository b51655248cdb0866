"""References: a row points at a row of its own tenant or at none (architecture section 7, decision 19)."""

from __future__ import annotations

from typing import Any, Final

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ids import new_id
from tests.db.models.rows import OF_TENANTS, TABLES, Sample, insert, refusal, undone

# References of which a row has only one at a time: what to leave out for the other's sake.
INSTEAD: Final[dict[str, dict[str, Any]]] = {
    "policy_envelopes.attached_to_template_id": {"attached_to_project_id": None},
    "policy_envelopes.attached_to_version_id": {"attached_to_project_id": None},
    "notifications.instance_id": {"operator_id": None},
}


def foreign_keys(table: sa.Table) -> dict[str, tuple[str, str]]:
    """Column and target table of each composite foreign key, by its name."""
    return {
        str(key.name): (key.column_keys[1], key.referred_table.name)
        for key in table.foreign_key_constraints
        if len(key.column_keys) == 2
    }


@pytest.mark.parametrize("name", [name for name in OF_TENANTS if foreign_keys(TABLES[name])])
async def test_a_row_points_at_rows_of_its_own_tenant(
    name: str, connection: AsyncConnection, own: Sample, other: Sample
) -> None:
    """For every reference: the row of another tenant is as good as none, one's own is taken."""
    table = TABLES[name]
    for key, (column, target) in foreign_keys(table).items():
        others, mine = other.ids[target], own.ids[target]
        if f"{name}.{column}" == "task_dependencies.depends_on_task_id":
            mine = own.ids["another task"]
        row = own.row(table, **INSTEAD.get(f"{name}.{column}", {}))
        assert await refusal(connection, table, row | {column: others}) == key
        assert await refusal(connection, table, row | {column: new_id()}) == key
        assert await refusal(connection, table, row | {column: mine}) is None


# Telemetry has no foreign keys (decision 5); notes of changed rows are written by the row itself, for minutes.
@pytest.mark.parametrize("name", [name for name in OF_TENANTS if name not in ("op_events", "row_changes")])
async def test_a_row_belongs_to_a_tenant_that_exists(name: str, connection: AsyncConnection, own: Sample) -> None:
    """Where the tenant is unknown, so is every row of it: some foreign key refuses."""
    row = own.row(TABLES[name]) | {"tenant_id": new_id()}
    found = await refusal(connection, TABLES[name], row)
    assert found is not None
    assert found.startswith(f"fk_{name}_tenant_id")


async def test_an_op_event_outlives_what_it_names(connection: AsyncConnection, own: Sample) -> None:
    """Decision 5: telemetry has no foreign keys; whoever writes a batch checks its ids."""
    table = TABLES["op_events"]
    assert not table.foreign_key_constraints
    row = own.row(table) | {column.name: new_id() for column in table.columns if "references" in column.info}
    assert await refusal(connection, table, row) is None


async def test_nothing_is_deleted_that_others_name(connection: AsyncConnection, own: Sample) -> None:
    """Decision 19: ON DELETE RESTRICT."""
    for name in ("operators", "projects", "agent_versions", "tasks"):
        table = TABLES[name]
        with pytest.raises(IntegrityError, match=r"violates (RESTRICT setting of )?foreign key constraint"):
            async with undone(connection):
                await connection.execute(
                    sa.delete(table).where(table.c.tenant_id == own.tenant_id, table.c.id == own.ids[name])
                )


async def test_lists_of_keys_and_subscriptions_go_with_their_row(connection: AsyncConnection, own: Sample) -> None:
    """Decision 19: CASCADE for associations, watches, preferences and thread subscriptions."""
    operator, task = (own.row(TABLES[name]) for name in ("operators", "tasks"))
    await insert(connection, TABLES["operators"], operator)
    await insert(connection, TABLES["tasks"], task)
    leaves = {
        "agent_template_owners": {"operator_id": operator["id"]},
        "watch_subscriptions": {"operator_id": operator["id"]},
        "notification_preferences": {"operator_id": operator["id"]},
        "task_assignees": {"task_id": task["id"]},
        "thread_subscriptions": {"task_id": task["id"]},
    }
    for name, key in leaves.items():
        await insert(connection, TABLES[name], own.row(TABLES[name], **key))
    # A cascade runs as the owner of the tables, whom the walls bind: so whoever deletes names the tenant.
    await connection.execute(sa.select(sa.func.set_config("app.tenant_id", str(own.tenant_id), True)))
    for name, row in (("operators", operator), ("tasks", task)):
        table = TABLES[name]
        gone = sa.delete(table).where(table.c.tenant_id == own.tenant_id, table.c.id == row["id"])
        assert (await connection.execute(gone)).rowcount == 1
    for name, key in leaves.items():
        ((column, value),) = key.items()
        table = TABLES[name]
        left = sa.select(sa.func.count()).select_from(table).where(table.c[column] == value)
        assert await connection.scalar(left) == 0, name
