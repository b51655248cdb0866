"""Values at the ends of what a filter takes: an answer or a clear refusal, never a fault (trap 8, decision 15)."""

from __future__ import annotations

import itertools
from typing import Any, Final
from uuid import UUID

import pytest
from graphql import GraphQLInputObjectType, GraphQLList, GraphQLSchema, get_named_type

from app.graph.ids import global_id
from app.graph.registry import ENTITIES, EntityType, camel
from app.schema import schema
from tests.asking import ask
from tests.conftest import TenantUnderTest

TEXTS: Final = ("", "\0", "a\0b", "%", "_", "\\", "'", "\U0010ffff", "\U0010ffff\U0010ffff", "😀" * 5_000)
VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "String": TEXTS,
    "ID": TEXTS,
    "Int": (0, -1, 2**31 - 1, -(2**31), 2**31, 2**63, 2**64, 10**400),
    "Float": (0, -0.0, 1e9, 1e10, -1e10, 1e308, -1e308, 5e-324, 1e-11, 2**53 + 1, 10**400),
    "Boolean": (True, False),
    "Seq": ("0", "9223372036854775807", "9223372036854775808", "-1", "", "1.5", "\u0661", 0, 2**63 - 1, 2**63, 2**64),
    "DateTime": (
        *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999Z", "4000-02-29T00:00:00Z"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-09T12:00:00", "2026-03-09", "\0", ""),
    ),
}


def kind_of(entity: EntityType, field: str) -> GraphQLInputObjectType | None:
    """The comparisons that a filter has for a column of its own, other than an enum's."""
    filters = graph().type_map[f"{entity.name}Filter"]
    assert isinstance(filters, GraphQLInputObjectType)
    kind = get_named_type(filters.fields[field].type) if field in filters.fields else None
    if not isinstance(kind, GraphQLInputObjectType) or "and" in kind.fields:
        return None
    compared = {get_named_type(one.type).name for one in kind.fields.values()}
    return kind if compared <= VALUES.keys() else None


def cases() -> list[tuple[str, str, str]]:
    """Type, field and operator, for a field of each kind of column."""
    found: dict[tuple[str, str, bool], list[tuple[str, str, str]]] = {}
    for entity in ENTITIES.values():
        for column in entity.table.columns:
            kind = kind_of(entity, camel(column.name))
            if kind is not None:
                # The clock becomes a range of ids; each type of Postgres has limits of its own.
                key = (kind.name, str(column.type), column.name == entity.clock)
                found.setdefault(key, [(entity.name, camel(column.name), operator) for operator in kind.fields])
    return list(itertools.chain.from_iterable(found.values()))


def graph() -> GraphQLSchema:
    """The schema as graphql-core has it."""
    return schema()._schema


@pytest.mark.parametrize(("name", "field", "operator"), cases())
async def test_a_filter_answers_or_says_what_is_wrong(
    name: str, field: str, operator: str, tenant: TenantUnderTest
) -> None:
    """Every comparison of every kind of column, with each value there may be trouble with."""
    entity = ENTITIES[name]
    kind = kind_of(entity, field)
    assert kind is not None
    wanted = kind.fields[operator].type
    scalar = get_named_type(wanted).name
    values = VALUES[scalar]
    if scalar == "ID":
        values = (*values, *(global_id(entity.prefix, UUID(int=number)) for number in (0, 2**128 - 1)))
    condition = f"{{{field}: {{{operator}: $v}}}}"
    query = f"query ($v: {wanted}) {{ {entity.plural}(first: 1, filter: {condition}) {{ totalCount }} }}"
    for value in values:
        answer = await ask(
            tenant.database, tenant.actor(), query, v=[value] if isinstance(wanted, GraphQLList) else value
        )
        assert answer.code in (None, "BAD_USER_INPUT"), (value, answer.errors)
        if scalar == "String" and "\0" in value:
            assert answer.code == "BAD_USER_INPUT"
            assert "NUL" in answer.errors[0]["message"]
