"""What the gateway says when it cannot answer: every error that may leave, and the mask before all others.

The whole tree::

    GraphQLError                     graphql-core's own
    └── GraphError                   expected: its message is written for the client and leaves as it is
        ├── Unauthenticated          UNAUTHENTICATED             no token, or one that is not good (any more)
        ├── Forbidden                FORBIDDEN                   names the permission that is missing
        ├── BadUserInput             BAD_USER_INPUT              names the argument and the remedy
        ├── ParseFailed              GRAPHQL_PARSE_FAILED        the document is not GraphQL, or has too many tokens
        ├── ValidationFailed         GRAPHQL_VALIDATION_FAILED   the document does not fit the schema
        ├── OperationTooComplex      OPERATION_TOO_COMPLEX       says the cost and the limit
        ├── RateLimited              RATE_LIMITED                says when to come back
        ├── Timeout                  TIMEOUT                     the operation or one of its statements took too long
        ├── PersistedQueryNotFound   PERSISTED_QUERY_NOT_FOUND   send the document along with its hash
        ├── CursorExpired            CURSOR_EXPIRED              says the oldest number that can still be had
        ├── SlowConsumer             SLOW_CONSUMER               the client did not keep up; says its last cursor
        ├── StreamInterrupted        STREAM_INTERRUPTED          the gateway ended a stream; says its last cursor
        └── Internal                 INTERNAL                    masked; `requestId` finds the cause in the log
            └── Unavailable          INTERNAL                    a fault that passes; says when to come back

Raise these anywhere under the graph; whatever else is raised is logged with its traceback and leaves as ``Internal``
(decision 32, traps 7, 8 and 22). What the *domain* refuses is no error but a ``userErrors`` entry of its payload.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final

import structlog
from graphql import ArgumentNode, GraphQLError, Node, ValueNode

from app.outages import AWAY, is_outage
from db.pool import CommitUnanswered, sqlstate

FormattedError = dict[str, Any]
"""An entry of ``errors`` in a response: message, locations, path and extensions, ready for JSON."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.graph")


class ErrorCode(StrEnum):
    """The codes of top-level errors (decision 32); clients switch on these, never on a message."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    OPERATION_TOO_COMPLEX = "OPERATION_TOO_COMPLEX"
    RATE_LIMITED = "RATE_LIMITED"
    TIMEOUT = "TIMEOUT"
    PERSISTED_QUERY_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    STREAM_INTERRUPTED = "STREAM_INTERRUPTED"
    INTERNAL = "INTERNAL"


class GraphError(GraphQLError):
    """An expected error. Its message is shown to the client unchanged, so it never quotes an exception.

    ``nodes`` and ``path`` say where in the document and in the response; a resolver leaves both out, since
    graphql-core adds them to what a resolver raises.
    """

    code: ClassVar[ErrorCode]

    def __init__(
        self,
        message: str,
        *,
        nodes: Collection[Node] | Node | None = None,
        path: Collection[str | int] | None = None,
        **extensions: Any,
    ) -> None:
        details = {name: value for name, value in extensions.items() if value is not None}
        super().__init__(message, nodes, path=path, extensions={"code": self.code.value, **details})


class Unauthenticated(GraphError):
    """The caller did not prove who they are; over HTTP also status 401, on a socket close code 4401."""

    code = ErrorCode.UNAUTHENTICATED

    def __init__(self, message: str = "Send a valid bearer token in the Authorization header.", **where: Any) -> None:
        super().__init__(message, **where)


class Forbidden(GraphError):
    """The caller is known and lacks ``permission``, an ``action:resource`` string (decision 28)."""

    code = ErrorCode.FORBIDDEN

    def __init__(self, permission: str, message: str | None = None, **where: Any) -> None:
        super().__init__(message or f"This needs the permission '{permission}'.", permission=permission, **where)
        self.permission = permission


class BadUserInput(GraphError):
    """A value in the request is wrong. ``argument`` names it; the message says what would be right."""

    code = ErrorCode.BAD_USER_INPUT

    def __init__(self, message: str, argument: str | None = None, **where: Any) -> None:
        super().__init__(message, argument=argument, **where)


class ParseFailed(GraphError):
    """The document is not GraphQL."""

    code = ErrorCode.GRAPHQL_PARSE_FAILED


class ValidationFailed(GraphError):
    """The document is GraphQL, and cannot be executed against this schema in this way."""

    code = ErrorCode.GRAPHQL_VALIDATION_FAILED


class OperationTooComplex(GraphError):
    """A limit on the operation as a whole was passed: ``cost`` was asked for and ``limit`` is what may be had.

    ``measure`` says of what: cost (rows, at most), depth, aliases, directives, repeats, introspection, tokens or batch.
    """

    code = ErrorCode.OPERATION_TOO_COMPLEX

    def __init__(self, cost: int, limit: int, measure: str = "cost", message: str | None = None, **where: Any) -> None:
        text = message or f"The operation costs {cost}, the limit is {limit}. Ask for smaller pages."
        super().__init__(text, measure=measure, cost=cost, limit=limit, **where)


class RateLimited(GraphError):
    """Too many at once; ``retry_after`` is in seconds, and over HTTP goes into ``Retry-After`` too."""

    code = ErrorCode.RATE_LIMITED

    def __init__(self, retry_after: float, message: str | None = None, **where: Any) -> None:
        super().__init__(
            message or f"Too many operations. Come back in {retry_after:g} seconds.", retryAfter=retry_after, **where
        )


class Timeout(GraphError):
    """The operation, or a statement of it, ran out of time and was cancelled.

    ``unsure`` where something may have been written nevertheless: a mutation that was cut off, or a commit that nobody
    confirmed. Then it is not told as undone.
    """

    code = ErrorCode.TIMEOUT

    def __init__(self, *, unsure: bool = False, **where: Any) -> None:
        super().__init__(_UNSURE if unsure else _CANCELLED, **where)


_CANCELLED: Final = "This took too long and was cancelled. Ask for less at once."
_LOOK: Final = (
    "may have been done or not. Look before you send it again, or send the same again with the `idempotencyKey` that "
    "it had."
)
_UNSURE: Final = f"This took too long, and {_LOOK}"


class PersistedQueryNotFound(GraphError):
    """A hash came without its document, and no document is known by it (trap 21)."""

    code = ErrorCode.PERSISTED_QUERY_NOT_FOUND

    def __init__(self, **where: Any) -> None:
        # Apollo's clients look for this very text before they send the document along.
        super().__init__("PersistedQueryNotFound", **where)


class CursorExpired(GraphError):
    """The log before ``oldest`` is gone (decision 8); ``oldest`` is a ``seq`` as text."""

    code = ErrorCode.CURSOR_EXPIRED

    def __init__(self, oldest: str, **where: Any) -> None:
        super().__init__(f"What followed this cursor is no longer kept. Start from {oldest}.", oldest=oldest, **where)


class SlowConsumer(GraphError):
    """The client took its events more slowly than they came; ``cursor`` is that of the last one it was sent."""

    code = ErrorCode.SLOW_CONSUMER

    def __init__(self, cursor: str | None, **where: Any) -> None:
        go_on = "go on from `cursor`" if cursor is not None else "read what it shows anew"
        super().__init__(
            f"This client does not keep up. Subscribe again and {go_on}; filter, or select less of each event.",
            cursor=cursor,
            **where,
        )


class StreamInterrupted(GraphError):
    """The gateway ends a stream that nothing is wrong with; ``cursor`` is where the next one goes on, if it can."""

    code = ErrorCode.STREAM_INTERRUPTED

    def __init__(self, why: str, cursor: str | None, **where: Any) -> None:
        go_on = "go on from `cursor`" if cursor is not None else "read what it shows anew"
        super().__init__(f"{why} Subscribe again and {go_on}.", cursor=cursor, **where)


class Internal(GraphError):
    """A fault of ours. Says nothing but the request id under which the log has the cause."""

    code = ErrorCode.INTERNAL

    def __init__(self, request_id: str, **where: Any) -> None:
        super().__init__("Something went wrong on our side.", requestId=request_id, **where)


class Unavailable(Internal):
    """A fault that passes; ``retry_after`` is in seconds. For a whole request, over HTTP, also status 503 and
    ``Retry-After``.

    Nothing was done, or, where that is ``unsure``, something may have been: then it is not told as undone.
    """

    def __init__(self, why: str, retry_after: int = 1, *, unsure: bool = False, **where: Any) -> None:
        text = f"{why} Come back in {retry_after} s."
        super(Internal, self).__init__(f"{text} This {_LOOK}" if unsure else text, retryAfter=retry_after, **where)
        self.retry_after = retry_after


_MESSAGE_LIMIT: Final = 1_000
_CODES: Final = frozenset(code.value for code in ErrorCode)
_SUGGESTION: Final = re.compile(r"\s*Did you mean [^?]*\?")
_COERCION_CAUSE: Final = re.compile(r", but encountered error '.*'; found", re.DOTALL)
_QUERY_CANCELED: Final = "57014"
"""SQLSTATE of a statement that Postgres cancelled, by its timeout as a rule."""


def present(
    errors: Iterable[GraphQLError], request_id: str, default: ErrorCode | None = None, *, may_write: bool = False
) -> list[FormattedError]:
    """The errors as they may leave; ``may_write`` of those of a mutation.

    ``default`` is the code of an error that graphql-core itself reports before the execution (a document that does
    not parse or fit, variables that do not coerce). Without it they come from the execution, where anything
    unexpected is masked and logged.
    """
    return [_present(error, request_id, default, may_write) for error in errors]


def _present(error: GraphQLError, request_id: str, default: ErrorCode | None, may_write: bool) -> FormattedError:
    message, extensions = error.message, dict(error.extensions or {})
    if extensions.get("code") not in _CODES:
        cause = _root(error)
        if default is not None:
            message, extensions = _COERCION_CAUSE.sub(", found", message), {"code": default.value}
        elif isinstance(cause, GraphQLError) and _concerns_argument(cause):
            message, extensions = _COERCION_CAUSE.sub(", found", message), {"code": ErrorCode.BAD_USER_INPUT.value}
        else:
            # A mutation's own field fails with its transaction; what is below it is read once that is committed.
            refusal = _refusal(cause, request_id, may_write=may_write and len(error.path or ()) != 1)
            message, extensions = refusal.message, dict(refusal.extensions or {})
            log.error(
                "field_failed",
                code=extensions["code"],
                path=error.path,
                request_id=request_id,
                exc_info=(type(cause), cause, cause.__traceback__),
            )
    return _formatted(error, message, extensions)


def masked(error: BaseException, request_id: str, *, may_write: bool = False) -> FormattedError:
    """``error`` as an entry of ``errors`` where no GraphQL execution was there to catch it; ``may_write`` of what may
    have been done before."""
    if isinstance(error, GraphQLError):
        return _present(error, request_id, None, may_write)
    refusal = refusal_of(error, request_id, may_write=may_write)
    return _formatted(refusal, refusal.message, dict(refusal.extensions or {}))


def refusal_of(error: BaseException, request_id: str, *, may_write: bool = False) -> GraphError:
    """What is told in place of an error that was not expected, which is logged."""
    refusal = _refusal(error, request_id, may_write=may_write)
    log.error(
        "request_failed",
        code=refusal.code.value,
        request_id=request_id,
        exc_info=(type(error), error, error.__traceback__),
    )
    return refusal


def _formatted(error: GraphQLError, message: str, extensions: Mapping[str, Any]) -> FormattedError:
    # A long name in the document would otherwise come back once for each of its errors.
    message = _SUGGESTION.sub("", message)
    if len(message) > _MESSAGE_LIMIT:
        message = message[: _MESSAGE_LIMIT - 1] + "…"
    formatted: FormattedError = {"message": message}
    if error.locations:
        formatted["locations"] = [location.formatted for location in error.locations]
    if error.path:
        formatted["path"] = error.path
    formatted["extensions"] = dict(extensions)
    return formatted


def _root(error: GraphQLError) -> BaseException:
    """What was raised first, under the wrappers that graphql-core put around it."""
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _concerns_argument(error: GraphQLError) -> bool:
    """Whether graphql-core could not coerce an argument: then it blames the argument's value, not the field."""
    nodes = error.nodes or []
    return bool(nodes) and all(isinstance(node, ArgumentNode | ValueNode) for node in nodes)


def _refusal(error: BaseException, request_id: str, *, may_write: bool = False) -> GraphError:
    """What is told in place of an error that was not expected."""
    causes = list(_causes(error))
    unsure = may_write or any(isinstance(cause, CommitUnanswered) for cause in causes)
    if any(map(_is_timeout, causes)):
        return Timeout(unsure=unsure)
    if is_outage(error):
        return Unavailable(AWAY, unsure=unsure, requestId=request_id)
    return Internal(request_id)


def _is_timeout(cause: BaseException) -> bool:
    if isinstance(cause, CommitUnanswered):
        return False  # what kept the answer back is its cause
    return isinstance(cause, TimeoutError) or sqlstate(cause) == _QUERY_CANCELED


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from; SQLAlchemy keeps the driver's in ``orig``."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        original = getattr(cause, "orig", None)
        pending += [cause.__cause__, cause.__context__, original if isinstance(original, BaseException) else None]
