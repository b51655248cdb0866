"""Root fields: two lines a table, and `node`/`nodes` over all of them."""

from typing import Any, Final
from uuid import UUID

import strawberry

from app.auth.actor import Actor
from app.auth.permissions import READ_PERMISSION
from app.graph.connection import Connected, connection_field, max_page
from app.graph.context import Info, context_of
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import GraphField, RootOf, argument, graph_field, list_of, optional
from app.graph.ids import parse_global_id, parse_id_of
from app.graph.loaders import Once
from app.graph.registry import ENTITIES, PREFIXES, EntityType, Named

MAX_NODES: Final = 200
"""Most ids of one `nodes`."""


def rows(entity: type, description: str) -> GraphField:
    """The list of an entity, under its table's name."""
    found = ENTITIES[entity.__name__]

    def resolve(_root: Any, info: Info, **arguments: Any) -> Connected:
        loaders = context_of(info).loaders
        page = loaders.fetcher.reader.page(found, arguments, max_page(found), is_root=True)
        return Connected(page, Once(loaders.fetcher, page), lambda: loaders.fetcher.count(page))

    return _rooted(RootOf(found.name, True), connection_field(found.table.name, found.name, description, resolve))


def row(entity: type, description: str) -> GraphField:
    """One row of an entity by its id; null where the caller's tenant has none."""
    found = ENTITIES[entity.__name__]

    def resolve(_root: Any, info: Info, id: str) -> Any:
        return context_of(info).loaders.row(found, scoped=True).load(parse_id_of(found.prefix, found.name, id, "id"))

    made = graph_field(
        found.singular,
        optional(Named(found.name)),
        description,
        resolve,
        [argument("id", strawberry.ID, f"Global id of the {found.name}, `{found.prefix}_…`.")],
    )
    return _rooted(RootOf(found.name, False), made)


def _rooted(root: RootOf, made: GraphField) -> GraphField:
    made.root = root
    return made


def entity_of(actor: Actor, text: str, name: str) -> tuple[EntityType, UUID]:
    """The type and the row id of a global id of any type that the actor may read; `name` is the argument's.

    Raises BadUserInput for what is no global id, Forbidden for a type that the actor may not read.
    """
    prefix, row_id = parse_global_id(text, name)
    entity = PREFIXES.get(prefix)
    if entity is None:
        raise BadUserInput(f"`{name}` begins with `{prefix}_`, which no type of this API has.", name)
    if not actor.may_read(entity.name):
        raise Forbidden(READ_PERMISSION[entity.name])
    return entity, row_id


def _resolve_node(_root: Any, info: Info, id: str) -> Any:
    entity, row_id = entity_of(context_of(info).actor, id, "id")
    return context_of(info).loaders.row(entity, scoped=True).load(row_id)


def _resolve_nodes(_root: Any, info: Info, ids: list[str]) -> Any:
    if len(ids) > MAX_NODES:
        raise BadUserInput(f"`ids` has {len(ids)} ids, at most {MAX_NODES} are taken.", "ids")
    actor = context_of(info).actor
    found = [entity_of(actor, text, f"ids[{i}]") for i, text in enumerate(ids)]
    return [context_of(info).loaders.row(entity, scoped=True).load(row_id) for entity, row_id in found]


node: Final = _rooted(
    RootOf(None, False),
    graph_field(
        "node",
        optional(Named("Node")),
        "Any row by its global id; null where the caller's tenant has none.",
        _resolve_node,
        [argument("id", strawberry.ID, "Global id of a row of any type.")],
    ),
)
nodes: Final = _rooted(
    RootOf(None, True),
    graph_field(
        "nodes",
        list_of(optional(Named("Node"))),
        "Rows of any types by their global ids, in the order of the ids, with null for an id that finds none.",
        _resolve_nodes,
        [argument("ids", list[strawberry.ID], f"Global ids, at most {MAX_NODES}.")],
    ),
)
