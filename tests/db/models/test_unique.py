"""What there is once: in its tenant, where the rule says so, and never across tenants."""

from __future__ import annotations

from typing import Any, Final

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.db.models.rows import OF_TENANTS, TABLES, Row, Sample, insert, refusal, undone

_NAMES: Final = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
_INDEXES: Final = [index for name in OF_TENANTS for index in TABLES[name].indexes if index.unique]
UNIQUE: Final = dict(sorted((str(_NAMES.format_index(one)), one) for one in _INDEXES))
"""Unique indexes by the names that Postgres knows them by."""

# The rows that a partial index is about, and one with the same key that it is not about.
PARTIAL: Final[dict[str, tuple[Row, Row]]] = {
    "policy_envelopes(name)": ({"active": True}, {"active": False}),
    "deployments(template_id, environment_id)": ({"status": "ACTIVE"}, {"status": "RETIRED"}),
    "evaluation_runs(version_id, suite_id)": ({"status": "RUNNING"}, {"status": "FAILED"}),
    "alerts(topic)": ({"status": "OPEN"}, {"status": "RESOLVED"}),
    "org_assignments(project_id)": ({"org_position": "CEO"}, {"org_position": "LEAD"}),
    "agent_identities(template_id)": ({}, {"instance_id": "agent_instances"}),
    "agent_identities(instance_id)": ({}, {"instance_id": None}),
    "notifications(event_id, operator_id, channel)": ({}, {"operator_id": None, "instance_id": "agent_instances"}),
    "notifications(event_id, instance_id, channel)": (
        {"operator_id": None},
        {"operator_id": "operators", "instance_id": None},
    ),
}


def columns(index: sa.Index) -> list[sa.Column[Any]]:
    """The index's columns behind the tenant."""
    return [column for column in index.columns if column.name != "tenant_id"]


def _condition(index: sa.Index) -> Any:
    return index.dialect_options["postgresql"]["where"]


def told(index: sa.Index) -> str:
    """Table and columns, as a person says it."""
    assert index.table is not None
    return f"{index.table.name}({', '.join(column.name for column in columns(index))})"


def key(index: sa.Index, sample: Sample) -> Row:
    """A value in each of the index's columns."""
    assert index.table is not None
    row = sample.row(index.table)
    return {one.name: sample.value(one) if row.get(one.name) is None else row[one.name] for one in columns(index)}


@pytest.mark.parametrize("name", UNIQUE)
async def test_it_is_there_once_in_a_tenant(name: str, connection: AsyncConnection, own: Sample, other: Sample) -> None:
    """The second row with the same key is refused by the index; the same row of another tenant is taken."""
    index = UNIQUE[name]
    table = index.table
    assert table is not None
    about, _ = PARTIAL.get(told(index), ({}, {}))
    first = key(index, own) | about
    # Another tenant's references are its own; all else is equal.
    theirs = key(index, other)
    same = first | {c.name: theirs[c.name] for c in columns(index) if "references" in c.info and first[c.name]}
    async with undone(connection):
        await insert(connection, table, own.row(table, **first))
        assert await refusal(connection, table, own.row(table, **first)) == name
        assert await refusal(connection, table, other.row(table, **same)) is None
        for column in columns(index):
            changed = {column.name: own.value(column)}
            if "references" in column.info or changed.items() <= first.items():
                continue  # the sample has no second value: a reference, or an enum
            row = own.row(table, **first | changed)
            assert await refusal(connection, table, row) is None, f"{column.name} is no part of the key"


@pytest.mark.parametrize("name", [name for name, index in UNIQUE.items() if _condition(index) is not None])
async def test_what_the_rule_is_not_about_may_be_there_twice(
    name: str, connection: AsyncConnection, own: Sample
) -> None:
    """History beside the one in force, and rows without the key."""
    index = UNIQUE[name]
    table = index.table
    assert table is not None
    if told(index) in PARTIAL:
        about, aside = PARTIAL[told(index)]
        first = key(index, own) | about
        second = first | {name: own.ids.get(value, value) for name, value in aside.items()}
    else:
        (column,) = columns(index)
        assert str(_condition(index)) == f"{column.name} IS NOT NULL"
        first = second = {column.name: None}
    async with undone(connection):
        await insert(connection, table, own.row(table, **first))
        assert await refusal(connection, table, own.row(table, **second)) is None


@pytest.mark.parametrize(
    ("table", "absent"),
    [("role_assignments", ["project_id", "environment_id"]), ("org_assignments", ["scope_ref"])],
)
async def test_absent_parts_of_a_key_are_equal(
    table: str, absent: list[str], connection: AsyncConnection, own: Sample
) -> None:
    """RBAC-6, ORG-1: a grant in the whole tenant, or a position without a scope, is there once too."""
    one = TABLES[table]
    nothing = dict.fromkeys(absent)
    async with undone(connection):
        await insert(connection, one, own.row(one, **nothing))
        found = await refusal(connection, one, own.row(one, **nothing))
    assert found in UNIQUE


@pytest.mark.parametrize("name", [name for name in OF_TENANTS if "id" in TABLES[name].columns])
async def test_an_id_is_there_once_in_a_tenant_and_another_tenant_may_have_it(
    name: str, connection: AsyncConnection, own: Sample, other: Sample
) -> None:
    """Keys are (tenant_id, id): two tenants may import the same snapshot, whose ids come from its times."""
    table = TABLES[name]
    row = own.row(table)
    async with undone(connection):
        await insert(connection, table, row)
        found = await refusal(connection, table, own.row(table, id=row["id"]))
        assert found is not None
        assert found.endswith("_pkey") or found == f"pk_{name}"
        assert await refusal(connection, table, other.row(table, id=row["id"])) is None


async def test_a_slug_names_one_tenant_of_all(connection: AsyncConnection, own: Sample) -> None:
    """Tokens and commands name tenants by slug before any tenant is known."""
    tenants = TABLES["tenants"]
    row = own.row(tenants)
    async with undone(connection):
        await insert(connection, tenants, row)
        assert await refusal(connection, tenants, own.row(tenants, slug=row["slug"])) == "uq_tenants_slug"
        assert await refusal(connection, tenants, own.row(tenants, slug=row["slug"].upper())) is None
