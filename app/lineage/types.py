"""Types of the picture: nodes, edges, and what they make together."""

from __future__ import annotations

import enum
from typing import Any

import strawberry

from app.graph.entity import Entity
from app.graph.ids import global_id
from app.graph.pricing import LIST_SIZE
from app.graph.registry import ENTITIES, camel
from app.lineage.rules import MAX_ANCESTORS, MAX_BRANCHES, MAX_NODES, label_of, state_of
from app.lineage.steps import Key
from app.lineage.walk import Picture


@strawberry.enum(description="Which way a picture of lineage goes from its row.")
class LineageDirection(enum.Enum):
    """A direction of the walk."""

    UPSTREAM = strawberry.enum_value(
        "upstream", description="To what the row came from: run, instance, version, template, approval."
    )
    DOWNSTREAM = strawberry.enum_value(
        "downstream", description="To what came from the row: version, instances, runs, tool calls."
    )
    BOTH = strawberry.enum_value(
        "both", description="Upstream and downstream, each from the row itself: not the other children of its parents."
    )


@strawberry.type(description="A row in a picture of lineage, with the few words that a picture has room for.")
class LineageNode:
    """One row."""

    id: strawberry.ID = strawberry.field(description="Global id of the row.")
    type: str = strawberry.field(description="Name of the row's type, such as `AgentVersion`.")
    label: str = strawberry.field(
        description="What the row is called, else what it is and of when (UTC); for people, and not unique."
    )
    state: str | None = strawberry.field(
        description="How the row stands, in the word of its own enum; null for types without states."
    )
    level: int = strawberry.field(
        description="Fewest steps from the row that was asked for: below 0 upstream, above 0 downstream, 0 for itself."
    )
    row: Entity = strawberry.field(description="The row itself.")


@strawberry.type(description="That one row of a picture came from another.")
class LineageEdge:
    """One link."""

    source: strawberry.ID = strawberry.field(
        name="from", description="Global id of the later row, whose field `relation` is."
    )
    target: strawberry.ID = strawberry.field(name="to", description="Global id of the row that it came from.")
    relation: str = strawberry.field(
        description="Field of the later row's type that leads to the other, such as `parentVersion`."
    )


@strawberry.type(description="What a row came from and what came from it, as nodes and edges; no row is in it twice.")
class LineageGraph:
    """A picture."""

    root: LineageNode = strawberry.field(description="The row that was asked for.")
    nodes: list[LineageNode] = strawberry.field(
        description=f"The rows, at most {MAX_NODES}, the row that was asked for first and the nearer ones before the"
        " farther ones in each direction. Types that the caller may not read are left out.",
        metadata={LIST_SIZE: MAX_NODES},
    )
    edges: list[LineageEdge] = strawberry.field(
        description="The links between the nodes.", metadata={LIST_SIZE: MAX_NODES}
    )
    is_truncated: bool = strawberry.field(
        description=f"Whether rows within the depth were left out: beyond {MAX_NODES} in all, beyond {MAX_ANCESTORS}"
        f" parents of a version, or older than the newest {MAX_BRANCHES} that one relation adds for one row, fewer"
        " where many rows share the room."
    )


def graph_of(picture: Picture) -> LineageGraph:
    """The picture as the API shows it."""
    nodes = {key: _node(key, row, picture.levels[key]) for key, row in picture.rows.items()}
    edges = [
        LineageEdge(source=_id(link.later), target=_id(link.earlier), relation=camel(link.relation))
        for link in picture.links
    ]
    root = nodes[picture.root.type_name, picture.root.id]
    return LineageGraph(root=root, nodes=list(nodes.values()), edges=edges, is_truncated=picture.is_truncated)


def plain(graph: LineageGraph) -> dict[str, Any]:
    """The graph as the API writes it, without the rows themselves."""
    names = ("id", "type", "label", "state", "level")
    nodes = [{name: getattr(node, name) for name in names} for node in graph.nodes]
    edges = [{"from": edge.source, "to": edge.target, "relation": edge.relation} for edge in graph.edges]
    return {"root": nodes[0], "nodes": nodes, "edges": edges, "isTruncated": graph.is_truncated}


def _id(key: Key) -> strawberry.ID:
    name, row_id = key
    return strawberry.ID(global_id(ENTITIES[name].prefix, row_id))


def _node(key: Key, row: Entity, level: int) -> LineageNode:
    name = key[0]
    return LineageNode(
        id=_id(key), type=name, label=label_of(name, row), state=state_of(name, row), level=level, row=row
    )
