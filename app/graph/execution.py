"""Executing operations: what a request asks for, to what goes back, for every transport alike.

`Executor.prepare` finds the operation (parsed, measured and validated, or found in the cache), and `Executor.run` and
`Executor.subscribe` execute it. Nothing that is raised on the way leaves as it is: see `app.graph.errors`.

This calls graphql-core's executor on Strawberry's schema directly, with Strawberry's own execution class, since
`strawberry.Schema.execute` parses and validates each time, and offers no place between the coercion of variables and
the execution, where the cost becomes known. Schema extensions and operation directives of Strawberry are not run;
field extensions, being resolvers, are.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, TypeGuard, cast

import msgspec
import msgspec.structs
import orjson
import strawberry
from graphql import DocumentNode, ExecutionResult, FieldNode, GraphQLError, OperationType
from graphql.execution import Executor as CoreExecutor
from graphql.execution import create_source_event_stream
from graphql.execution.values import VariableValues
from strawberry.execution import optimized_is_awaitable

from app.graph.deadlines import Delays, Limit
from app.graph.documents import Document, Documents, Lru, Operation, Refused
from app.graph.errors import ErrorCode, FormattedError, OperationTooComplex, Timeout, ValidationFailed, masked, present
from app.graph.limits import Limits
from app.graph.request import GraphQLRequest, Question, name_of
from app.graph.trusted import Trusted
from app.log import info

OpenContext: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens the context of one operation or of one event; closing it lets go of what it holds."""


class Outcome(msgspec.Struct, frozen=True):
    """What an operation, or one event of a subscription, came to."""

    errors: Sequence[FormattedError] = ()
    data: Any = None
    """A dict, None, or an `orjson.Fragment` of JSON that is ready."""
    executed: bool = False
    """Whether execution began, and so whether the response has the key ``data``."""
    extensions: Mapping[str, Any] = msgspec.field(default_factory=dict)
    failure: BaseException | None = None
    """A cause that nobody expected, of one of the errors, where whoever asked may want to try again."""

    @property
    def code(self) -> str:
        """``OK``, or the code of the first error."""
        return str(self.errors[0]["extensions"]["code"]) if self.errors else "OK"

    def payload(self) -> dict[str, Any]:
        """The response map of the GraphQL specification, errors first."""
        response: dict[str, Any] = {}
        if self.errors:
            response["errors"] = list(self.errors)
        if self.executed:
            response["data"] = self.data
        if self.extensions:
            response["extensions"] = dict(self.extensions)
        return response


class Report(msgspec.Struct, frozen=True):
    """One finished operation, for the log and for metrics: see `Hooks.observe`."""

    operation: Operation
    outcome: Outcome
    seconds: float
    context: Any
    request_id: str = ""


def _admit_all(_operation: Operation, _context: Any) -> Sequence[GraphQLError]:
    return ()


def _observe_nothing(_report: Report) -> None:
    return None


_NO_SPAN: Final = nullcontext()


def _no_span(_operation: Operation) -> AbstractContextManager[Any]:
    return _NO_SPAN


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the house adds to an execution; each may be left out."""

    authorize: Callable[[Operation, Any], Sequence[GraphQLError]] = _admit_all
    """Called with the context before anything is executed; errors refuse the operation as a whole."""
    observe: Callable[[Report], None] = _observe_nothing
    """Called after each operation that was prepared, and after each event."""
    span: Callable[[Operation], AbstractContextManager[Any]] = _no_span
    """Stands around the execution: traces."""


class Answered(msgspec.Struct, frozen=True):
    """What a shortcut knows of a query's answer."""

    data: Mapping[str, Any]
    """Response keys in their order -> values; None for those of `rest`."""
    rest: Sequence[FieldNode]
    """The root fields that are left to the resolvers."""


class Shortcut(Protocol):
    """A way to answer queries and mutations without a resolver a field, to the same result (decision 48)."""

    async def answer(self, operation: Operation, variables: VariableValues, context: Any) -> Answered | None:
        """The answer; None where the resolvers are to give all of it."""
        ...


Later: TypeAlias = Callable[[Callable[[Report], None], Report], Any]
"""Calls a function with a report, now or soon."""


def at_once(finish: Callable[[Report], None], report: Report) -> None:
    """Now."""
    finish(report)


class Executor:
    """Executes operations against one schema."""

    def __init__(
        self,
        schema: strawberry.Schema,
        limits: Limits | None = None,
        hooks: Hooks | None = None,
        shortcut: Shortcut | None = None,
        trusted: Trusted | None = None,
    ) -> None:
        """Raises TrustedUnusable where a trusted document is not good."""
        if schema.extensions or schema.directives:
            raise ValueError(
                "Schema extensions and operation directives are not run here. Take them out of the schema."
            )
        self.limits: Final = limits or Limits()
        self.schema: Final = schema._schema  # Strawberry has no other door to graphql-core's schema
        self._core: Final[type[CoreExecutor[Any]]] = schema.execution_context_class
        self._hooks = hooks or Hooks()
        self.observe: Final = self._hooks.observe
        self._shortcut = shortcut
        self._deadlines = Delays(self.limits.timeout)
        self._documents = Documents(self.schema, self.limits, trusted)
        self._descriptions: Lru[tuple[str, str | None, bytes], orjson.Fragment] = Lru(8, 32 * 2**20)

    def prepare(self, request: GraphQLRequest) -> Operation:
        """The operation that a request names. Raises `Refused`; `refusal` makes that an outcome."""
        document = self._documents.find(request.query, name_of(request))
        return document.operation(request.operation_name)

    def keeps(self, document: Document) -> bool:
        """Whether the document would be found again by its hash; it counts as used then."""
        return self._documents.keeps(document)

    def refusal(self, refused: Refused, request_id: str) -> Outcome:
        """What goes back for a request that `prepare` refused."""
        return Outcome(present(refused.errors, request_id, refused.default))

    async def execute(self, request: GraphQLRequest, context: Any, request_id: str) -> Outcome:
        """`prepare` and `run`. A subscription is refused: it needs `subscribe`."""
        try:
            operation = self.prepare(request)
            if operation.kind is OperationType.SUBSCRIPTION:
                message = "A subscription needs a transport that streams."
                raise Refused([ValidationFailed(message)], ErrorCode.GRAPHQL_VALIDATION_FAILED)
        except Refused as refused:
            return self.refusal(refused, request_id)
        return await self.run(Question(operation, request.variables), context, request_id)

    async def run(self, question: Question, context: Any, request_id: str, later: Later = at_once) -> Outcome:
        """Execute a query or mutation, within `Limits.timeout`. Raises nothing but CancelledError.

        By `later` whoever is waited for logs and counts it once the answer is on its way.
        """
        started = time.perf_counter()
        operation = question.operation
        with self._hooks.span(operation):
            try:
                values, cost = self._begin(question, context)
                outcome = await self._answer(_Asked(operation, values, question.variables, context, cost, request_id))
            except Refused as refused:
                outcome = self.refusal(refused, request_id)
            except Exception as error:  # a fault outside of any field, such as a hook's
                outcome = Outcome([masked(error, request_id)])
        later(self._finish, Report(operation, outcome, time.perf_counter() - started, context, request_id))
        return outcome

    async def subscribe(
        self, operation: Operation, variables: Mapping[str, Any] | None, open_context: OpenContext, request_id: str
    ) -> AsyncGenerator[Outcome, None]:
        """Execute a subscription: one outcome for each event, until its source ends or the generator is closed.

        An outcome that was not `executed` is the last. The source has a context for as long as it lives, and the
        selection a fresh one for each event, so that nothing is served from the loaders of an earlier one (trap 27).
        """
        started = time.perf_counter()
        async with open_context() as context:
            try:
                _, cost = self._begin(Question(operation, variables), context)
                core = self._executor(operation.document.node, operation.name, variables, context)
                source = create_source_event_stream(core)
                if inspect.isawaitable(source):
                    source = await source
                if isinstance(source, ExecutionResult):
                    raise _SourceFailed(source.errors or [])
                async with _closing(source):
                    async for payload in source:
                        started = time.perf_counter()
                        async with open_context() as event_context:
                            event = core.build_per_event_executor(payload)
                            event.context_value = event_context
                            outcome = await self._complete(event, cost, request_id)
                            seconds = time.perf_counter() - started
                            self._finish(Report(operation, outcome, seconds, event_context, request_id))
                        yield outcome
                return
            except Refused as refused:
                outcome = self.refusal(refused, request_id)
            except _SourceFailed as failed:
                outcome = Outcome(present(failed.errors, request_id))
            except Exception as error:
                outcome = Outcome([masked(error, request_id)])
            self._finish(Report(operation, outcome, time.perf_counter() - started, context, request_id))
            yield outcome

    def bind(self, operation: Operation, variables: Mapping[str, Any] | None, context: Any) -> CoreExecutor[Any]:
        """The executor of an operation that may run, for whoever runs it in a way of their own: `app.graph.selection`.

        Raises `Refused`.
        """
        self._begin(Question(operation, variables), context)
        return self._executor(operation.document.node, operation.name, variables, context)

    def _begin(self, question: Question, context: Any) -> tuple[VariableValues, dict[str, Any]]:
        """Coerce the variables, then ask whether the operation may run and what it costs. Raises `Refused`."""
        values = question.settled(self.schema, self.limits.max_errors)
        refusals = self._hooks.authorize(question.operation, context)
        if refusals:
            raise Refused(refusals, ErrorCode.FORBIDDEN)
        requested, limit = question.cost, self.limits.max_cost
        if requested > limit:
            raise Refused([OperationTooComplex(requested, limit)], ErrorCode.OPERATION_TOO_COMPLEX)
        return values, {"requested": requested, "limit": limit}

    def _executor(
        self, document: DocumentNode, name: str | None, variables: Mapping[str, Any] | None, context: Any
    ) -> CoreExecutor[Any]:
        """graphql-core's executor of an operation whose variables are known to be good."""
        core = self._core.build(
            self.schema,
            document,
            None,
            context,
            dict(variables or {}),
            name,
            max_coercion_errors=self.limits.max_errors,
            is_awaitable=cast("Callable[[Any], TypeGuard[Awaitable[Any]]]", optimized_is_awaitable),
            hide_suggestions=True,
            operation_extensions={},
        )
        if isinstance(core, list):
            raise Refused(core, ErrorCode.BAD_USER_INPUT)
        return core

    def _answer(self, asked: _Asked) -> Awaitable[Outcome]:
        return self._description(asked) if asked.operation.asks_for_schema_only else self._shortest(asked)

    async def _description(self, asked: _Asked) -> Outcome:
        """The schema's: the same for every caller, and long to write, so once is enough."""
        operation = asked.operation
        variables = orjson.dumps(asked.values.coerced, default=str, option=orjson.OPT_SORT_KEYS)
        key = operation.document.hash, operation.name, variables
        known = self._descriptions.get(key)
        if known is None:
            outcome = await self._complete(self._executor_of(asked), asked.cost, asked.request_id)
            if outcome.errors:
                return outcome
            text = orjson.dumps(outcome.data)
            known = orjson.Fragment(text)
            self._descriptions.put(key, known, len(text))
        return Outcome((), known, True, {"cost": asked.cost})

    async def _shortest(self, asked: _Asked) -> Outcome:
        """The answer by the shortcut as far as it goes, and by the resolvers."""
        answered = None
        if self._shortcut is not None and asked.operation.kind is not OperationType.SUBSCRIPTION:
            try:
                with Limit(self._deadlines):
                    answered = await self._shortcut.answer(asked.operation, asked.values, asked.context)
            except Exception as error:
                told = masked(error, asked.request_id, may_write=asked.operation.kind is OperationType.MUTATION)
                return Outcome([told], None, True, {"cost": asked.cost})
        if answered is None:
            return await self._complete(self._executor_of(asked), asked.cost, asked.request_id)
        if not answered.rest:
            return Outcome((), answered.data, True, {"cost": asked.cost})
        outcome = await self._complete(self._executor_of(asked, answered.rest), asked.cost, asked.request_id)
        if outcome.data is None:
            return outcome
        data = {key: outcome.data.get(key, value) for key, value in answered.data.items()}
        return msgspec.structs.replace(outcome, data=data)

    def _executor_of(self, asked: _Asked, fields: Sequence[FieldNode] | None = None) -> CoreExecutor[Any]:
        """graphql-core's executor of the operation, or of these root fields of it."""
        operation = asked.operation
        document = operation.document.node if fields is None else operation.narrowed(fields)
        return self._executor(document, operation.name, asked.variables, asked.context)

    async def _complete(self, core: CoreExecutor[Any], cost: dict[str, Any], request_id: str) -> Outcome:
        try:
            with Limit(self._deadlines):
                result = core.execute_operation(serially=None)
                if inspect.isawaitable(result):
                    result = await result
        except TimeoutError:
            unsure = core.operation.operation is OperationType.MUTATION
            return Outcome(present([Timeout(unsure=unsure)], request_id), extensions={"cost": cost})
        result = cast("ExecutionResult", result)
        may_write = core.operation.operation is OperationType.MUTATION
        errors = present(result.errors or (), request_id, may_write=may_write)
        return Outcome(errors, result.data, True, {"cost": cost})

    def _finish(self, report: Report) -> None:
        operation, outcome = report.operation, report.outcome
        info(
            "fleetgraph.graph",
            "operation",
            operation=operation.name,
            kind=operation.kind.value,
            outcome=outcome.code,
            milliseconds=round(report.seconds * 1000, 2),
            cost=outcome.extensions.get("cost", {}).get("requested"),
            request_id=report.request_id,
        )
        self.observe(report)


class _Asked(msgspec.Struct, frozen=True):
    """One query or mutation that may run."""

    operation: Operation
    values: VariableValues
    variables: Mapping[str, Any]
    """As they came."""
    context: Any
    cost: dict[str, Any]
    request_id: str


class _SourceFailed(Exception):
    """A subscription's source could not be opened; the errors are an execution's, and masked like those."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__("the source of a subscription failed")
        self.errors = errors


def _closing(source: AsyncIterable[Any]) -> AbstractAsyncContextManager[Any]:
    """Closes the source at the end, where it can be closed."""
    return aclosing(source) if isinstance(source, AsyncGenerator) else contextlib.nullcontext()
