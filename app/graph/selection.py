"""Selections of subscriptions whose events somebody else finds: executed for a batch of events at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    get_argument_values,
)
from graphql.execution import Executor as CoreExecutor

from app.graph.documents import Operation, Refused
from app.graph.errors import ErrorCode, Timeout, present
from app.graph.execution import Executor, Outcome, Report
from db.futures import shared


@dataclass(frozen=True, slots=True)
class Selection:
    """What a subscription asks for: one root field, and what it selects of each of its events."""

    executor: Executor
    operation: Operation
    core: CoreExecutor[Any]
    field: GraphQLField
    node: FieldNode
    arguments: Mapping[str, Any]
    """The root field's, coerced, by their names in the schema."""

    @property
    def variables(self) -> Mapping[str, Any]:
        """The operation's, coerced."""
        return self.core.variable_values.coerced

    async def of(self, events: Sequence[Any], context: Any, request_id: str) -> list[Outcome]:
        """What each event comes to. They are executed side by side in one context, so that its loaders serve them
        all with one statement a level. Raises nothing but CancelledError; `failure` has what a retry may mend."""
        started = time.perf_counter()
        running = [self._begun(event, context) for event in events]
        waiting = [one for one in running if not isinstance(one, ExecutionResult)]
        try:
            async with asyncio.timeout(self.executor.limits.timeout):
                done = iter(await _whole(waiting) if waiting else ())
        except TimeoutError as error:
            return [Outcome(present([Timeout()], request_id), failure=error) for _ in events]
        results = [one if isinstance(one, ExecutionResult) else next(done) for one in running]
        outcomes = [
            Outcome(present(one.errors or (), request_id), one.data, True, failure=_fault(one.errors or ()))
            for one in results
        ]
        worst = next((one for one in outcomes if one.errors), Outcome())
        self.executor.observe(Report(self.operation, worst, time.perf_counter() - started, context))
        return outcomes

    def _begun(self, event: Any, context: Any) -> ExecutionResult | Awaitable[ExecutionResult]:
        core = self.core.build_per_event_executor(event)
        core.context_value = context
        return cast("ExecutionResult | Awaitable[ExecutionResult]", core.execute_operation(serially=None))


def select(executor: Executor, operation: Operation, variables: Mapping[str, Any] | None, context: Any) -> Selection:
    """The selection of a subscription that may run. Raises `Refused`, as an operation that runs would be."""
    core = executor.bind(operation, variables, context)
    node = next(one for one in operation.node.selection_set.selections if isinstance(one, FieldNode))
    field = cast("GraphQLObjectType", executor.schema.subscription_type).fields[node.name.value]
    try:
        arguments = get_argument_values(field, node, core.variable_values, hide_suggestions=True)
    except GraphQLError as error:
        raise Refused([error], ErrorCode.BAD_USER_INPUT) from None
    return Selection(executor, operation, core, field, node, arguments)


async def _whole(waiting: Sequence[Awaitable[ExecutionResult]]) -> Sequence[ExecutionResult]:
    """All of them. Who is cancelled waits for the statement that runs: graphql-core has made coroutines for what comes
    after it, and they would be dropped without ever having begun."""
    together = asyncio.gather(*waiting)
    try:
        return await shared(together)
    except asyncio.CancelledError:
        await asyncio.wait([together])
        raise


def _fault(errors: Sequence[GraphQLError]) -> BaseException | None:
    """The first cause that nobody expected."""
    causes = (error.original_error for error in errors)
    return next((one for one in causes if one is not None and not isinstance(one, GraphQLError)), None)
