"""`fleetgraph lineage`: where a row came from, as a tree to read or as the graph that the API gives.

Whoever runs the command owns the database, so it may ask in the name of any tenant; it does so as an administrator of
that tenant, through the same field and behind the same walls as everybody else. Only the list of tenants is read past
them. Without --tenant each tenant is asked whether it has the row.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree
from sqlalchemy import select

import app.schema  # noqa: F401 - the domains declare their types
from app.auth.actor import Actor, ActorKind
from app.auth.permissions import ADMIN, SYSTEM_ROLES
from app.auth.scope import Grants
from app.cli.failing import CommandError
from app.cli.preparing import versions
from app.database import find_connections, open_database
from app.graph.context import OperationContext
from app.graph.errors import BadUserInput
from app.graph.ids import global_id, parse_global_id
from app.graph.registry import ENTITIES, PREFIXES
from app.lineage.queries import lineage_of
from app.lineage.rules import KINDS
from app.lineage.types import LineageDirection, plain
from app.lineage.walk import types_with
from app.settings import Settings
from db.ids import new_id
from db.models import Tenant
from db.session import Database

_NAME: Final = "fleetgraph lineage"
_WIDTH: Final = 240
"""Columns where no terminal says how many there are, so that lines stay whole for grep."""


class _Place(NamedTuple):
    """A row that the argument may mean."""

    actor: Actor
    id: str


def show(
    settings: Settings, row_id: str, *, tenant: str | None, direction: str, depth: int, as_json: bool = False
) -> None:
    """Prints the lineage of a row. Raises CommandError where the id means no row, or rows of several tenants."""
    found, needed = versions(settings)
    if found != needed:
        state = f"at version {found}" if found else "empty"
        raise CommandError(f"The database is {state}, {needed} is needed. Run `fleetgraph migrate`.")
    graph = asyncio.run(_find(settings, row_id, tenant, direction, depth))
    if as_json:
        typer.echo(orjson.dumps(graph, option=orjson.OPT_INDENT_2).decode())
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    for tree in trees(graph):
        console.print(tree)
    if graph["isTruncated"]:
        console.print("[dim]Not everything is shown: there was more than a picture holds.[/dim]")


async def _find(settings: Settings, row_id: str, tenant: str | None, direction: str, depth: int) -> dict[str, Any]:
    database = open_database(settings, await find_connections(settings))
    try:
        place = await _place(database, row_id, tenant)
        async with _asking(database, place.actor) as context:
            graph = await lineage_of(context, place.id, LineageDirection(direction), depth)
        if graph is None:
            raise CommandError(f"{row_id} has just been removed.")
        return plain(graph)
    finally:
        await database.close()


async def _place(database: Database, row_id: str, tenant: str | None) -> _Place:
    """The one row that the id means. Raises CommandError."""
    name, key = _parsed(row_id)
    actors = [actor async for actor in _administrators(database, tenant)]
    places = []
    for actor in actors:
        async with _asking(database, actor) as context:
            found = [one for one in await types_with(context, key) if name in (None, one)]
        places += [_Place(actor, global_id(ENTITIES[one].prefix, key)) for one in found]
    if not places:
        raise CommandError(f"No tenant has a row {row_id}." if tenant is None else f"{tenant} has no row {row_id}.")
    if len(places) > 1:
        which = ", ".join(f"{place.id} of {place.actor.tenant_slug}" for place in places)
        raise CommandError(f"{row_id} means several rows: {which}. Give --tenant, and the id with its prefix.")
    return places[0]


def _parsed(text: str) -> tuple[str | None, UUID]:
    """Type and key of a global id, or the key alone of a bare UUID."""
    try:
        return None, UUID(text)
    except ValueError:
        pass
    try:
        prefix, key = parse_global_id(text, "RUN_ID")
    except BadUserInput:
        raise CommandError(
            f"RUN_ID: {text!r} is neither a global id, such as run_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b, nor a UUID."
        ) from None
    if prefix not in PREFIXES:
        raise CommandError(f"RUN_ID: {text} begins with {prefix}_, which no type has. Runs begin with run_.")
    name = PREFIXES[prefix].name
    if name not in KINDS:
        raise CommandError(
            f"RUN_ID: {text} is the id of a {name}, which has no lineage. These have: {', '.join(KINDS)}."
        )
    return name, key


async def _administrators(database: Database, slug: str | None) -> AsyncIterator[Actor]:
    """An administrator of each tenant, or of the one of this slug. Raises CommandError where there is none of it."""
    tenants = select(Tenant.id, Tenant.slug).order_by(Tenant.slug)
    async with database.platform() as connection:
        every = (await connection.execute(tenants)).all()
    if slug is not None and slug not in [one.slug for one in every]:
        known = ", ".join(one.slug for one in every)
        raise CommandError(f"--tenant: there is no tenant '{slug}'. The tenants: {known or 'none yet'}.")
    for one in every:
        if slug in (None, one.slug):
            yield Actor(
                kind=ActorKind.OPERATOR,
                tenant_id=one.id,
                tenant_slug=one.slug,
                id=new_id(),
                name=_NAME,
                permissions=Grants.everywhere(SYSTEM_ROLES[ADMIN].permissions),
                token_expires_at=datetime.now(UTC) + timedelta(hours=1),
            )


@asynccontextmanager
async def _asking(database: Database, actor: Actor) -> AsyncIterator[OperationContext]:
    async with database.read(actor) as reading:
        yield OperationContext(actor, reading, _NAME)


# --- The tree ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Branch:
    """A node below another, and the relation between them."""

    relation: str
    node: Mapping[str, Any]


def trees(graph: Mapping[str, Any]) -> Iterator[Tree]:
    """The graph as trees from its root: what it came from, and what came from it.

    A node that several lead to is opened where it comes first, and only named after that.
    """
    nodes = {node["id"]: node for node in graph["nodes"]}
    earlier, later = defaultdict(list), defaultdict(list)
    for edge in graph["edges"]:
        earlier[edge["from"]].append(_Branch(edge["relation"], nodes[edge["to"]]))
        later[edge["to"]].append(_Branch(edge["relation"], nodes[edge["from"]]))
    root = graph["root"]
    shown = False
    for title, branches, sign in (("came from", earlier, -1), ("led to", later, 1)):
        side = {root["id"], *(node["id"] for node in graph["nodes"] if node["level"] * sign > 0)}
        if len(side) > 1:
            yield _tree(root, title, branches, side)
            shown = True
    if not shown:
        yield Tree(_line(root))


def _tree(root: Mapping[str, Any], title: str, branches: Mapping[str, list[_Branch]], side: set[str]) -> Tree:
    tree = Tree(f"{_line(root)} [dim]{title}[/dim]")
    opened = {root["id"]}
    # Level by level, so that a node is opened at its place nearest to the root.
    level = [(root["id"], tree)]
    while level:
        following = []
        for node_id, at in level:
            for branch in branches[node_id]:
                below = branch.node["id"]
                if below not in side:
                    continue
                is_new = below not in opened
                line = f"[dim]{_spaced(branch.relation)}[/dim] {_line(branch.node)}"
                added = at.add(line if is_new else f"{line} [dim](again)[/dim]")
                if is_new:
                    opened.add(below)
                    following.append((below, added))
        level = following
    return tree


def _line(node: Mapping[str, Any]) -> str:
    state = f" [cyan]{node['state']}[/cyan]" if node["state"] else ""
    return f"{node['type']} [bold]{escape(node['label'])}[/bold]{state} [dim]{node['id']}[/dim]"


def _spaced(relation: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in relation) + ":"
