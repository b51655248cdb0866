"""What was imported can be read: every type, every field, through the graph (decision 18, api.md)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)

from app.auth.actor import Actor, ActorKind
from app.auth.permissions import SYSTEM_ROLES
from app.auth.scope import Grants
from app.legacy.importer import import_snapshot
from app.schema import schema
from db.session import Database
from tests.app.legacy.importing import DEMO, Landed, some_slug
from tests.asking import ask

PAGE = 50


def built() -> GraphQLSchema:
    """The schema as graphql-core has it."""
    return schema()._schema


def lists() -> Iterator[tuple[str, GraphQLObjectType]]:
    """The root fields that are connections, with the type of their nodes."""
    query = built().query_type
    assert query is not None
    for name, field in query.fields.items():
        kind = get_named_type(field.type)
        if (
            isinstance(kind, GraphQLObjectType)
            and {"edges", "pageInfo"} <= kind.fields.keys()
            and "first" in field.args
        ):
            edge = get_named_type(kind.fields["edges"].type)
            assert isinstance(edge, GraphQLObjectType)
            node = get_named_type(edge.fields["node"].type)
            assert isinstance(node, GraphQLObjectType)
            yield name, node


def selection(kind: GraphQLObjectType, depth: int) -> str:
    """Every field without required arguments: scalars, objects out of JSON, and `depth` steps along relations."""
    parts = []
    for name, field in kind.fields.items():
        if any(is_required_argument(argument) for argument in field.args.values()):
            continue
        target = get_named_type(field.type)
        if is_leaf_type(target):
            parts.append(name)
        elif isinstance(target, GraphQLInterfaceType | GraphQLUnionType):
            parts.append(f"{name} {{ __typename }}")
        elif isinstance(target, GraphQLObjectType) and "raw" in target.fields:
            parts.append(f"{name} {{ {selection(target, depth)} }}")
        elif isinstance(target, GraphQLObjectType) and depth and "edges" not in target.fields:
            parts.append(f"{name} {{ {selection(target, depth - 1)} }}")
    return " ".join(parts) or "__typename"


async def test_every_field_of_every_imported_row_can_be_read(database: Database) -> None:
    """No row of the demo snapshot breaks a promise of the schema: no null where there is none, no value of the wrong
    kind, also inside JSON that the graph shows as types."""
    slug = some_slug()
    report = await import_snapshot(database, DEMO, slug)
    landed = Landed(database, slug, DEMO, report)
    tenant_id = await landed.tenant_id()
    async with database.platform() as connection:
        most = await connection.exec_driver_sql(
            "SELECT coalesce(operator_id, instance_id), count(*) FROM notifications WHERE tenant_id = $1"
            " GROUP BY 1 ORDER BY 2 DESC LIMIT 1",
            (tenant_id,),
        )
        recipient, told = tuple(most.one())
    actor = Actor(
        kind=ActorKind.OPERATOR,
        tenant_id=tenant_id,
        tenant_slug=slug,
        id=recipient,  # what one is told nobody else can read (NOT-6)
        name="Ada",
        permissions=Grants.everywhere(SYSTEM_ROLES["Admin"].permissions),
        token_expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    found: dict[str, int] = {}
    for name, node in lists():
        since = ', filter: {timestamp: {gte: "2026-01-01T00:00:00Z"}}' if name == "opEvents" else ""
        answer = await ask(
            database,
            actor,
            f"{{ {name}(first: {PAGE}{since}) {{ nodes: edges {{ node {{ {selection(node, 1)} }} }} }} }}",
        )
        assert answer.errors == [], f"{name}: {answer.errors[:3]}"
        found[node.name] = len(answer.data[name]["nodes"])
    for entity, made in {**report.created, "Notification": told}.items():
        assert found[entity] == min(made, PAGE), entity
