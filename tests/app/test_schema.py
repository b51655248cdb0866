"""The schema against the models and against its committed text (architecture, section 9)."""

from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
)

from app.auth.permissions import READ_PERMISSION
from app.graph.registry import ENTITIES, EntityType, PointsTo, Through, ToMany, ToOne, camel
from app.schema import print_schema, schema
from db.base import ENTITY_NAMES, Model

ROOT = Path(__file__).parents[2]
GRAPH = schema()._schema
IMPLICIT = {"tenant_id", "id"}


def test_schema_graphql_is_the_printed_schema() -> None:
    """The contract is committed and reviewed like code: `fleetgraph schema > schema.graphql` after a change."""
    assert (ROOT / "schema.graphql").read_text() == print_schema()


def test_every_table_has_its_type_and_every_type_its_permission() -> None:
    """55 tables, 55 types, 55 read permissions (decision 28)."""
    assert set(ENTITIES) == set(ENTITY_NAMES) == set(READ_PERMISSION)
    tables = {name for name, table in Model.metadata.tables.items() if "id" in table.c and table.schema is None}
    assert {entity.table.name for entity in ENTITIES.values()} == tables
    assert len(ENTITIES) == 55


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=list(ENTITIES))
def test_each_column_is_shown_or_behind_a_relation_or_hidden(entity: EntityType) -> None:
    """Nothing is public until someone writes it down, and nothing is forgotten either."""
    shown = {column.name for column in entity.columns.values()}
    keys: set[str] = set()
    for relation in entity.relations.values():
        if isinstance(relation, ToOne):
            keys.add(relation.column)
        elif isinstance(relation, PointsTo):
            keys |= {relation.entity_column, relation.id_column}
    columns = {column.name for column in entity.table.columns} - IMPLICIT
    assert columns == shown | keys - IMPLICIT | entity.hidden, entity.name
    assert not entity.hidden & (shown | keys)


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=list(ENTITIES))
def test_a_key_column_never_appears_alone(entity: EntityType) -> None:
    """api.md: `versionId` in the table is `version` in the type."""
    references = {column.name for column in entity.table.columns if column.info.get("references")}
    assert not references & {column.name for column in entity.columns.values()}


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=list(ENTITIES))
def test_nullability_agrees(entity: EntityType) -> None:
    """A field may be null exactly when its column may."""
    fields = _object(entity.name).fields
    for name, column in entity.columns.items():
        assert isinstance(fields[camel(name)].type, GraphQLNonNull) is not column.nullable, f"{entity.name}.{name}"
    for name, relation in entity.relations.items():
        if isinstance(relation, ToOne):
            nullable = entity.table.c[relation.column].nullable
            assert isinstance(fields[camel(name)].type, GraphQLNonNull) is not nullable, f"{entity.name}.{name}"


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=list(ENTITIES))
def test_both_ends_of_a_relation_exist(entity: EntityType) -> None:
    """Each key can be walked back: `AgentInstance.version`, `AgentVersion.instances`."""
    for name, relation in entity.relations.items():
        if not isinstance(relation, ToOne):
            continue
        back = [
            other
            for other in ENTITIES[relation.target].relations.values()
            if isinstance(other, ToMany) and other.target == entity.name and other.key == relation.column
        ]
        assert back, f"{relation.target} has no list for {entity.name}.{name}"


def test_root_fields_of_each_table() -> None:
    """The list under the table's own name, one row under its singular (api.md, Names)."""
    assert GRAPH.query_type is not None
    fields = GRAPH.query_type.fields
    for entity in ENTITIES.values():
        assert str(fields[entity.plural].type) == f"{entity.name}Connection!"
        assert str(fields[entity.singular].type) == entity.name
        assert list(fields[entity.singular].args) == ["id"]
    assert {"node", "nodes", "viewer"} <= set(fields)
    assert "agentPerformanceById" in fields


def test_everything_is_described() -> None:
    """Every type, field, argument, input field and enum has a description that is not its name."""
    missing = []
    for name, kind in GRAPH.type_map.items():
        if name.startswith("__") or name in ("Boolean", "Float", "ID", "Int", "String"):
            continue
        if not kind.description:
            missing.append(name)
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field_name, one in kind.fields.items():
                if not one.description or len(one.description) < 8:
                    missing.append(f"{name}.{field_name}")
                for argument_name, argument in getattr(one, "args", {}).items():
                    if not argument.description:
                        missing.append(f"{name}.{field_name}({argument_name}:)")
    assert not missing


def test_enums_are_in_lifecycle_order() -> None:
    """The order of values is the order of the enum in code, which is the lifecycle's."""
    kind = GRAPH.type_map["LifecycleState"]
    assert isinstance(kind, GraphQLEnumType)
    assert list(kind.values) == ["DRAFT", "TESTING", "CANDIDATE", "APPROVED", "DEPRECATED", "RETIRED"]


def test_nothing_without_an_index_is_offered() -> None:
    """PostGraphile's lesson: a filter that no index answers is a slow query waiting for its table to grow."""
    kind = GRAPH.type_map["TaskFilter"]
    assert isinstance(kind, GraphQLInputObjectType)
    assert "status" in kind.fields
    assert "description" not in kind.fields
    for entity in ENTITIES.values():
        leading = {next((c.name for c in one.columns if c.name != "tenant_id"), "") for one in entity.table.indexes} | {
            "id",
            entity.clock,
        }
        fields = GRAPH.type_map[f"{entity.name}Filter"]
        assert isinstance(fields, GraphQLInputObjectType)
        for name, column in entity.columns.items():
            if camel(name) in fields.fields:
                assert column.name in leading, f"{entity.name}.{name}"


def test_short_lists_are_plain_lists() -> None:
    """A task's assignees are a list of objects, never of keys (decision 12)."""
    relation = ENTITIES["Task"].relations["assignees"]
    assert isinstance(relation, Through)
    assert relation.as_list
    assert str(_object("Task").fields["assignees"].type) == "[AgentInstance!]!"


def _object(name: str) -> GraphQLObjectType:
    kind = GRAPH.type_map[name]
    assert isinstance(kind, GraphQLObjectType)
    return kind
