"""Asking the graph as an actor, without HTTP: the answer, and the statements that it took."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest.mock import patch

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.actor import Actor
from app.graph.context import OperationContext
from app.graph.execution import Executor, Hooks
from app.graph.reading import refuse_unreadable
from app.graph.request import GraphQLRequest
from app.query.compiler import Compiler
from app.schema import schema
from app.sealing import Seal
from db.session import Database
from db.tenant_pool import TenantConnection
from db.writing import Writing
from tests.conftest import TenantUnderTest
from tests.heard import heard

SEAL = Seal("a secret that only tests have, long enough")
"""What secrets are encrypted with where a test has no application."""
_BOOKKEEPING = ("BEGIN", "SELECT set_config(", "COMMIT", "ROLLBACK")


@dataclass
class Answer:
    """What came back."""

    data: Any
    errors: list[dict[str, Any]]
    statements: list[str] = field(default_factory=list)
    """Data statements, in order (decision 35)."""

    @property
    def code(self) -> str | None:
        """The code of the first error."""
        return self.errors[0]["extensions"]["code"] if self.errors else None


@cache
def _by_resolvers() -> Executor:
    return Executor(schema(), hooks=Hooks(authorize=refuse_unreadable))


executor = _by_resolvers
"""The executor that `ask` uses: the gateway's own, without the compiler of queries. A test may put another here."""


def compiling(compiler: Compiler | None = None) -> Executor:
    """An executor that compiles queries, with no plan made yet."""
    return Executor(schema(), hooks=Hooks(authorize=refuse_unreadable), shortcut=compiler or Compiler(schema()._schema))


async def ask(database: Database, actor: Actor, query: str, **variables: Any) -> Answer:
    """Run a query as the actor."""
    with recorded(database.read_engine) as statements, recorded_reads(statements):
        async with database.read(actor) as reading:
            context = OperationContext(actor, reading, "test", seal=SEAL)
            outcome = await executor().execute(GraphQLRequest(query, variables), context, "test")
    assert len(statements) >= reading.statements  # a command has statements of its own
    # Compiled parts are JSON already, at whatever depth they stand.
    data = orjson.loads(orjson.dumps(outcome.data)) if executor()._shortcut is not None else outcome.data
    return Answer(data, [dict(error) for error in outcome.errors], statements)


async def data_of(tenant: TenantUnderTest, actor: Actor, query: str, **variables: Any) -> dict[str, Any]:
    """The data of an answer without errors; the message of an error becomes a ValueError."""
    answer = await ask(tenant.database, actor, query, **variables)
    if answer.errors:
        raise ValueError(answer.errors[0]["message"])
    data: dict[str, Any] = answer.data
    return data


@contextmanager
def recorded_reads(statements: list[str]) -> Iterator[None]:
    """Adds the statements of compiled queries while the block lasts."""
    fetch = TenantConnection.fetch

    async def note(connection: TenantConnection, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        statements.append(sql)
        return await fetch(connection, sql, arguments)

    with patch.object(TenantConnection, "fetch", note):
        yield


@contextmanager
def recorded(engine: AsyncEngine) -> Iterator[list[str]]:
    """The data statements that an engine sends while the block lasts."""
    fetch = Writing.fetch

    async def note_fetched(work: Writing, sql: str, *arguments: Any) -> list[Any]:
        if work.connection.engine is engine:
            statements.append(sql)
        return await fetch(work, sql, *arguments)

    with heard(engine, but=_BOOKKEEPING) as statements, patch.object(Writing, "fetch", note_fetched):
        yield statements
