"""What holds for every table, whatever its domain: keys, references, kinds of column, descriptions."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapper, configure_mappers

from db.base import ENTITY_NAMES, Association, Model, TenantScoped
from tests.db.models.rows import OF_TENANTS, TABLES

GATEWAYS_OWN = [table.name for table in TABLES.values() if table.schema == "gateway"]
DOMAIN = [name for name in TABLES if name not in GATEWAYS_OWN]


def mappers() -> list[Mapper[Any]]:
    """Every mapped class, all of its relations resolved."""
    configure_mappers()
    return sorted(Model.registry.mappers, key=lambda mapper: mapper.class_.__name__)


def test_there_are_the_55_tables_and_three_lists_of_keys() -> None:
    """Issue point 2 and decision 12; the names of the types are those of the mapped classes."""
    own = {mapper.class_.__name__ for mapper in mappers() if not issubclass(mapper.class_, Association)}
    associations = {mapper.class_.__name__ for mapper in mappers() if issubclass(mapper.class_, Association)}
    ours = {"TenantCounters", "IdempotencyKey", "LegacyId", "Job", "RetentionMark", "RowChange"}
    assert own - ours == {*ENTITY_NAMES}
    assert len(ENTITY_NAMES) == 55
    assert associations == {"TaskAssignee", "AgentTemplateOwner", "AgentVersionApproval"}


@pytest.mark.parametrize("mapper", mappers(), ids=lambda mapper: mapper.class_.__name__)
def test_a_tenants_row_is_known_by_tenant_and_id(mapper: Mapper[Any]) -> None:
    """Architecture section 7: (tenant_id, id), the tenant first; lists of keys by the tenant and both keys."""
    key = [column.name for column in mapper.primary_key]
    if issubclass(mapper.class_, TenantScoped):
        assert key == ["tenant_id", "id"]
    elif issubclass(mapper.class_, Association):
        assert key[0] == "tenant_id"
        assert len(key) == 3
    elif mapper.class_.__name__ != "Job":
        assert key[0] in ("id", "tenant_id")


@pytest.mark.parametrize("name", OF_TENANTS)
def test_every_reference_carries_the_tenant(name: str) -> None:
    """No foreign key but (tenant_id, x_id) -> (tenant_id, id), and the one to the tenant itself."""
    for key in TABLES[name].foreign_key_constraints:
        targets = [element.target_fullname.rpartition(".")[2] for element in key.elements]
        if key.referred_table.name == "tenants":
            assert (key.column_keys, targets) == (["tenant_id"], ["id"])
        else:
            assert key.column_keys[0] == "tenant_id"
            assert targets == ["tenant_id", "id"]


@pytest.mark.parametrize("name", DOMAIN)
def test_every_key_of_a_row_is_a_reference(name: str) -> None:
    """A UUID that is no reference is the row itself, its tenant, or the key beside a type name (decision 13)."""
    columns = TABLES[name].columns
    for column in columns:
        if isinstance(column.type, sa.Uuid) and "references" not in column.info:
            beside = [column.name.removesuffix("_id") + end for end in ("_entity", "_type")]
            assert column.name in ("id", "tenant_id") or any(one in columns for one in beside), column


@pytest.mark.parametrize("name", OF_TENANTS)
def test_every_reference_has_an_index(name: str) -> None:
    """Both ends of a relation are walked, and deleting looks for who points here: an index begins (tenant, key)."""
    table = TABLES[name]
    keys: list[Any] = [table.primary_key, *table.indexes]
    beginnings = {tuple(column.name for column in key.columns)[:2] for key in keys}
    for column in table.columns:
        if "references" in column.info:
            assert ("tenant_id", column.name) in beginnings, column


def test_rows_go_with_another_only_where_the_rule_says_so() -> None:
    """Decision 19: CASCADE for associations, watches, preferences and thread subscriptions, RESTRICT elsewhere."""
    cascading = {name for name in DOMAIN for key in TABLES[name].foreign_key_constraints if key.ondelete != "RESTRICT"}
    associations = {"task_assignees", "agent_template_owners", "agent_version_approvals"}
    assert cascading == associations | {"watch_subscriptions", "notification_preferences", "thread_subscriptions"}
    assert all(key.ondelete for table in TABLES.values() for key in table.foreign_key_constraints)


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_of_the_kinds_that_were_decided(name: str) -> None:
    """Decision 15: timestamptz(3), and NUMERIC(20,10) for whatever is in dollars."""
    for column in TABLES[name].columns:
        kind = column.type
        if isinstance(kind, sa.DateTime):
            assert isinstance(kind, sa.TIMESTAMP), column
            assert (kind.timezone, kind.precision) == (True, 3), column  # type: ignore[attr-defined]
        if isinstance(kind, sa.Numeric) and kind.asdecimal:
            assert (kind.precision, kind.scale) == (20, 10), column
        if column.name.endswith(("_usd", "_cost", "budget_allocated", "budget_remaining")):
            assert isinstance(kind, sa.Numeric), column
            assert kind.asdecimal, column
        assert not isinstance(kind, sa.String) or isinstance(kind, sa.Text), f"{column} is cut at a length"


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("task_assignees", *GATEWAYS_OWN)])
def test_every_column_has_a_description(name: str) -> None:
    """The `doc` of a column is its description in the schema, and says more than its name."""
    lists = ("agent_template_owners", "agent_version_approvals")
    for column in TABLES[name].columns:
        if name in lists and column.name in ("tenant_id", "position"):
            continue  # no field of the graph
        assert column.doc, column
        assert column.doc.endswith((".", ")")), column
