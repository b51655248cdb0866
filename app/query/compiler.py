"""The door for the executor: plans by document, operation and permissions, and the connections that they run on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import orjson
import structlog
from graphql import GraphQLError, GraphQLSchema, OperationType
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues

from app.auth.actor import ActorKey
from app.commands import Done
from app.graph.context import OperationContext
from app.graph.documents import Lru, Operation
from app.graph.execution import Answered
from app.query.columns import Differently, Impossible, dumps
from app.query.levels import Run
from app.query.payload import Payload
from app.query.plan import Plan
from app.query.selection import Planner
from app.query.sharing import Sharing
from app.query.statements import Statement
from db.pool import OF_THE_DRIVER, is_gone
from db.tenant_pool import TenantConnection

PlanKey: TypeAlias = tuple[str, str | None, ActorKey, tuple[Any, ...]]
"""(hash of the document, operation, permissions, values of the variables that decide directives)."""

_PLAN_BYTES: Final = 20_000
_BYTES_PER_CHARACTER: Final = 60
"""What a plan takes of memory: so much, and for each character of its document; statements come on top."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.query")


class Compiler:
    """Answers queries by plans: what `app.graph.execution.Shortcut` asks for."""

    def __init__(self, schema: GraphQLSchema, entries: int = 2_000, size: int = 64 * 2**20) -> None:
        self._schema = schema
        self._plans: Lru[PlanKey, _Kept] = Lru(entries, size)
        self._sharing = Sharing()

    @property
    def plans(self) -> int:
        """Plans that are kept."""
        return len(self._plans)

    def answer(
        self, operation: Operation, variables: VariableValues, context: OperationContext
    ) -> Coroutine[Any, Any, Answered | None]:
        """What can be answered of a query or a mutation here; None where the reference way is to answer all of it.

        Raises what the database raises.
        """
        kept = self._plan(operation, variables, context)
        if isinstance(kept.plan, Payload):
            return self._perform(kept.plan, kept, variables, context)
        return self._query(kept.plan, kept, variables, context)

    async def _query(
        self, plan: Plan, kept: _Kept, variables: VariableValues, context: OperationContext
    ) -> Answered | None:
        if not plan.compiled:
            return None

        try:
            if plan.rest:
                # The reference way answers the rest: both look at its snapshot.
                return Answered(await plan.data(kept.run(context, variables, context.reading.fetch)), plan.rest)
            if plan.is_by_key:
                alone = kept.run(context, variables, partial(_by_itself, context), self._sharing)
                if not plan.needs_snapshot(alone):
                    return Answered(await plan.data(alone), ())

            def read(run: Run, connection: TenantConnection) -> Awaitable[Mapping[str, Any]]:
                return _in_snapshot(connection, plan.data(run)) if plan.needs_snapshot(run) else plan.data(run)

            return Answered(await _on_own_connection(read, kept, context, variables), ())
        except (Differently, Impossible) as given_up:
            log.debug("query_left_to_resolvers", reason=str(given_up))
            return None
        except OF_THE_DRIVER:
            raise
        except Exception as error:
            self.failed(error)
            return None

    async def _perform(
        self, payload: Payload, kept: _Kept, variables: VariableValues, context: OperationContext
    ) -> Answered | None:
        """Run the command. Where the answer cannot be made here, the resolvers find what came of it in the context."""
        try:
            given = payload.given(variables)
        except GraphQLError:
            return None
        try:
            outcome = await payload.perform(context, given)
        except Exception as error:
            context.performed[payload.key] = error
            return None
        context.performed[payload.key] = outcome
        if not isinstance(outcome, Done) or outcome.refused:
            return None  # the resolvers have the words for a refusal
        done = outcome

        def read(run: Run, connection: TenantConnection) -> Awaitable[Mapping[str, Any]]:
            data = payload.data(run, done, known)
            return _in_snapshot(connection, data) if payload.needs_snapshot else data

        try:
            run = kept.run(context, variables, context.reading.fetch)
            known = payload.known(run, done)
            if not payload.reads(known):
                return Answered(await payload.data(run, done, known), ())
            if context.database.reads_behind:
                return None  # a replica may not have yet what was written just now
            return Answered(await _on_own_connection(read, kept, context, variables), ())
        except (Differently, *OF_THE_DRIVER):
            return None
        except Exception as error:
            self.failed(error)
            return None

    def failed(self, error: Exception) -> None:
        """Note a fault of this package, whose query the resolvers then answer."""
        log.error("query_plan_failed", exc_info=error)

    def _plan(self, operation: Operation, variables: VariableValues, context: OperationContext) -> _Kept:
        document = operation.document
        names = operation.deciding
        values = tuple([variables.coerced.get(name) for name in names])
        key: PlanKey = (document.hash, operation.name, context.actor.key, values)
        kept = self._plans.get(key)
        if kept is None:
            fragments = {name: FragmentDetails(node) for name, node in document.fragments.items()}
            few = VariableValues(
                {name: variables.sources[name] for name in names},
                {name: variables.coerced[name] for name in names if name in variables.coerced},
            )
            planner = Planner(self._schema, fragments, operation.node, few, context.actor)
            plan = _payload(planner) if operation.kind is OperationType.MUTATION else planner.plan()
            size = _PLAN_BYTES + len(document.text) * _BYTES_PER_CHARACTER
            kept = _Kept(plan, size, lambda made: self._plans.put(key, made, made.size))
            self._plans.put(key, kept, size)
        return kept


class _Kept:
    """A plan in the cache, and what it takes of memory, which grows with its statements."""

    def __init__(self, plan: Plan | Payload, size: int, resized: Callable[[_Kept], None]) -> None:
        self.plan = plan
        self.size = size
        self._resized = resized

    def run(
        self,
        context: OperationContext,
        variables: VariableValues,
        fetch: Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]],
        sharing: Sharing | None = None,
    ) -> Run:
        """One execution of it."""
        return Run(context.actor, variables, fetch, context.observe, self._grown, sharing)

    def _grown(self, statement: Statement) -> None:
        self.size += 1_000 + 3 * len(statement.text)
        self._resized(self)


T = TypeVar("T")
Read: TypeAlias = Callable[[Run, TenantConnection], Awaitable[Mapping[str, Any]]]
"""Reads an answer's data on a connection."""


async def _on_own_connection(
    read: Read, kept: _Kept, context: OperationContext, variables: VariableValues
) -> Mapping[str, Any]:
    return await _connected(context, lambda one: read(kept.run(context, variables, one.fetch), one))


def _by_itself(context: OperationContext, sql: str, arguments: Sequence[Any]) -> Awaitable[Sequence[Any]]:
    """The rows of the only statement of an operation."""
    return _connected(context, lambda connection: connection.fetch(sql, arguments))


async def _connected(context: OperationContext, work: Callable[[TenantConnection], Awaitable[T]]) -> T:
    reading, is_first = context.reading, True
    while True:
        try:
            async with reading.database.reads.connection(context.actor.tenant_id) as connection:
                before = connection.statements
                try:
                    return await work(connection)
                finally:
                    reading.statements += connection.statements - before
        except Exception as error:
            if not is_first or not is_gone(error):
                raise
            is_first = False  # nothing was done but reading, so it may be done again


async def _in_snapshot(connection: TenantConnection, data: Coroutine[Any, Any, Mapping[str, Any]]) -> Mapping[str, Any]:
    with closing(data):  # which has not begun where the snapshot cannot
        await connection.begin()
        found = _compact(await data)
        await connection.end()
        return found


def _compact(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, as the JSON that it is sent as: less than half of what its objects take. Others run while it waits for
    the end of its snapshot, as many as there are connections, and what they held together decided what a worker needs.
    """
    return {key: orjson.Fragment(dumps(value)) for key, value in data.items()}


def _payload(planner: Planner) -> Plan | Payload:
    try:
        return planner.payload()
    except Impossible:
        return Plan({}, ())
