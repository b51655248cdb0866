"""One execution of a plan, and what each of its levels asks of it.

A level is one statement. What hangs on its rows is read for all of them at once: to-many relations by the parents' ids,
to-one relations by their distinct keys, each row written once and put in its places as bytes. To-one relations of a
root's rows come along in the root's own statement instead (see `selection`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from graphql.execution.values import VariableValues
from msgspec import Struct

from app.auth.actor import Actor
from app.auth.scope import TENANT_WIDE
from app.graph.errors import GraphError
from app.graph.registry import EntityType
from app.query.columns import Differently
from app.query.rows import Rows
from app.query.sharing import Sharing
from app.query.statements import Statement

Written: TypeAlias = Mapping[Any, Any] | Sequence[Mapping[bytes, Any]]
"""What a child made, by what its parents' records have of it."""


class Run(Struct, frozen=True):
    """One execution of a plan."""

    actor: Actor
    variables: VariableValues
    fetch: Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]
    observe: Callable[[str, int], None]
    grown: Callable[[Statement], None]
    """Told of each statement that is added to the plan."""
    sharing: Sharing | None = None
    """Where look-ups of other executions are made along with this one's, which is all that it reads."""

    def look_up(self, statement: Statement, place: int, keys: Collection[bytes]) -> Awaitable[Sequence[Any]]:
        """The records of these keys, which each has at `place`."""
        if self.sharing is None:
            return self.records(statement, keys=keys)
        arguments = statement.arguments(self.actor, {}, [key.hex() for key in keys])
        return self.sharing.records(self.actor.tenant_id, statement, arguments, place, keys, self.fetch)

    async def records(
        self, statement: Statement, given: Mapping[str, Any] | None = None, keys: Iterable[bytes] = ()
    ) -> Sequence[Any]:
        """The records of a statement. Raises Differently where an argument is wrong."""
        try:
            arguments = statement.arguments(self.actor, given or {}, [key.hex() for key in keys])
        except GraphError as error:
            raise Differently("an argument is wrong") from error
        return await self.fetch(statement.suit(arguments), arguments)


class Child(Protocol):
    """What hangs on the rows of a level."""

    async def load(self, run: Run, records: Sequence[Any]) -> Written:
        """Read it for all of these records, and write it."""
        ...


async def children_of(rows: Rows, run: Run, records: Sequence[Any]) -> list[Written]:
    """What hangs on the records, child by child."""
    if not records:
        return [{} for _ in rows.children]
    return [await child.load(run, records) for child in rows.children]


def reach_of(actor: Actor, entity: EntityType) -> Hashable:
    """Which kinds of place the caller's grant for a type names: the ids are parameters (decision 29)."""
    reach = actor.read_scope(entity.name)
    if reach is TENANT_WIDE:
        return None
    return bool(reach.projects), bool(reach.environments), bool(reach.pairs), bool(reach.instances)
