"""One query by the resolvers and by the compiler: the same answer, byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import orjson
from graphql import is_object_type
from sqlalchemy import select

from app.auth.actor import Actor, ActorKind, instance_actor
from app.auth.permissions import SYSTEM_ROLES
from app.auth.scope import TENANT_WIDE, Grants, Reach, Scope
from app.graph.context import OperationContext
from app.graph.documents import Operation
from app.graph.execution import Answered, Executor, Hooks, Outcome
from app.graph.fields import GraphField
from app.graph.reading import refuse_unreadable
from app.graph.registry import ENTITIES
from app.graph.request import GraphQLRequest, Question
from app.query.compiler import Compiler
from app.query.plan import Plan
from app.schema import schema
from db import models
from db.session import Database


@cache
def computed() -> frozenset[str]:
    """The names of fields of rows that only resolvers know: neither of the row itself nor a relation."""
    found = set()
    for entity in ENTITIES.values():
        kind = schema()._schema.type_map[entity.name]
        assert is_object_type(kind)
        for name, one in kind.fields.items():
            definition = one.extensions.get("strawberry-definition")
            of_kit = isinstance(definition, GraphField) and (
                definition.of_row is not None
                or definition.of_sql is not None
                or definition.python_name in {"id", *entity.relations}
            )
            found |= set() if of_kit else {name}
    return frozenset(found)


class Watched(Compiler):
    """A compiler that tells how each query was answered, and lets no fault of its own pass."""

    def __init__(self) -> None:
        super().__init__(schema()._schema)
        self.ways: Counter[str] = Counter()
        self.last = ""

    async def answer(self, operation: Operation, variables: Any, context: OperationContext) -> Answered | None:
        """The compiler's answer."""
        answered = await super().answer(operation, variables, context)
        plan = self._plan(operation, variables, context).plan
        assert isinstance(plan, Plan)
        given_up = "resolvers" if plan.compiled else "left"
        self.last = given_up if answered is None else "both" if answered.rest else "compiled"
        self.ways[self.last] += 1
        return answered

    def failed(self, error: Exception) -> None:
        """A fault is a fault here."""
        raise error


@cache
def by_resolvers() -> Executor:
    """The reference way."""
    return Executor(schema(), hooks=Hooks(authorize=refuse_unreadable))


@dataclass
class BothWays:
    """Asks both ways and compares."""

    database: Database
    compiler: Watched = field(default_factory=Watched)

    def __post_init__(self) -> None:
        self.compiled = Executor(schema(), hooks=Hooks(authorize=refuse_unreadable), shortcut=self.compiler)

    async def compare(self, actor: Actor, text: str, variables: Mapping[str, Any] | None = None) -> Outcome:
        """The answer that both gave. AssertionError where they differ, or the compiler gave up without need."""
        request = GraphQLRequest(text, dict(variables or {}))
        expected = await self._ask(by_resolvers(), actor, request)
        self.compiler.last = ""
        question = None if _is_refused(expected) else Question(self.compiled.prepare(request), request.variables)
        before = deepcopy(request.variables)
        for _ in range(2):  # the second time by the plan that the first one made, and of the same question
            found = await self._ask(self.compiled, actor, question or request)
            assert canonical(found) == canonical(expected), (found.errors, expected.errors)
            assert list(found.errors) == list(expected.errors)
            assert found.extensions == expected.extensions
            if expected.executed and not expected.errors and not computed() & set(text.split()):
                assert self.compiler.last != "resolvers", "handed back without need"
        if question is not None and question.values is not None:
            values = question.values.coerced
            assert values == Question(question.operation, before).settled(self.compiled.schema, 1).coerced
        return expected

    async def _ask(self, executor: Executor, actor: Actor, asked: GraphQLRequest | Question) -> Outcome:
        async with self.database.read(actor) as reading:
            context = OperationContext(actor, reading, "request")
            if isinstance(asked, Question):
                return await executor.run(asked, context, "request")
            return await executor.execute(asked, context, "request")


def _is_refused(outcome: Outcome) -> bool:
    """Whether it may be that the document itself was: it has no operation to ask."""
    return bool(outcome.errors) and not outcome.executed


def canonical(outcome: Outcome) -> bytes:
    """The answer's data as text: keys in order, each scalar as it is written."""
    return orjson.dumps(outcome.data)


async def samples(database: Database, actor: Actor, other: Actor) -> dict[str, Sequence[Any]]:
    """Some rows of each type, the last of them another tenant's."""
    found: dict[str, Sequence[Any]] = {}
    async with database.platform() as connection:
        for entity in ENTITIES.values():
            key = entity.table.c.id if entity.name == "Tenant" else entity.table.c.tenant_id
            rows: list[Any] = []
            for tenant_id, most in ((actor.tenant_id, 8), (other.tenant_id, 1)):
                statement = select(*entity.table.columns).where(key == tenant_id).order_by(entity.table.c.id)
                rows += [entity.row(*row) for row in (await connection.execute(statement.limit(most))).all()]
            found[entity.name] = rows
    return found


async def callers(database: Database, admin: Actor) -> dict[str, Actor]:
    """Three callers of one tenant: an admin, a person with scoped grants and few rights, an agent."""
    async with database.platform() as connection:

        async def row(model: Any, **values: Any) -> Any:
            table = model.__table__
            conditions = [table.c.tenant_id == admin.tenant_id, *(table.c[name] == v for name, v in values.items())]
            return (await connection.execute(select(*table.columns).where(*conditions).order_by(table.c.id))).first()

        project, environment = await row(models.Project), await row(models.Environment)
        operator = await row(models.Operator)
        instance = await row(models.AgentInstance, state="ACTIVE", project_id=project.id)
    expires = datetime.now(UTC) + timedelta(hours=1)
    return {
        "admin": admin,
        "scoped": Actor(
            kind=ActorKind.OPERATOR,
            tenant_id=admin.tenant_id,
            tenant_slug=admin.tenant_slug,
            id=operator.id,
            name=operator.name,
            permissions=Grants(_scoped(project.id, environment.id)),
            token_expires_at=expires,
        ),
        "agent": instance_actor(
            tenant_id=admin.tenant_id,
            tenant_slug=admin.tenant_slug,
            instance_id=instance.id,
            name="agent",
            state="ACTIVE",
            project_id=project.id,
            token_expires_at=expires,
        ),
    }


def _scoped(project: Any, environment: Any) -> dict[str, Reach]:
    """A viewer's rights: some tenant-wide, some for a project, an environment or a pair of both, two not at all."""
    scopes: list[Reach] = [
        TENANT_WIDE,
        Scope(projects=frozenset({project})),
        Scope(environments=frozenset({environment})),
        Scope(pairs=frozenset({(project, environment)})),
        Scope(projects=frozenset({project}), environments=frozenset({environment})),
    ]
    names = sorted(SYSTEM_ROLES["Viewer"].permissions - {"read:webhooks", "read:experiments"})
    return {name: scopes[number % len(scopes)] for number, name in enumerate(names)}
