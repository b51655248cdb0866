"""A small schema of these tests' own: the edges know no domain, and are tested without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NewType

import strawberry
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp
from strawberry.schema.config import StrawberryConfig
from strawberry.types import Info

from app.graph.errors import BadUserInput, Forbidden, RateLimited, Unauthenticated
from app.graph.execution import Executor, Hooks
from app.graph.limits import Limits
from app.http.endpoint import GraphQLEndpoint
from app.http.limits import EdgeLimits
from app.http.metrics import Metrics
from app.http.request_id import RequestId


@dataclass
class House:
    """What happened behind the edges, for tests to look at."""

    opened: int = 0
    closed: int = 0
    requests: list[str] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0
    sources_open: int = 0
    renamed: list[str] = field(default_factory=list)


@dataclass
class Context:
    house: House
    request_id: str
    statements: int = 0


@dataclass(frozen=True)
class Somebody:
    name: str
    token_expires_at: datetime

    @property
    def principal(self) -> str:
        return self.name


Asking = Info[Context, None]


class UnreadyError(Exception):
    """Stands for any exception that nobody expected."""


def _weekday(text: str) -> int:
    return int(text)  # raises ValueError with a text of Python's own


Weekday = NewType("Weekday", int)


@strawberry.enum
class State(Enum):
    ACTIVE = "ACTIVE"
    RETIRED = "RETIRED"


@strawberry.type
class PageInfo:
    has_next_page: bool


@strawberry.type
class Thing:
    id: strawberry.ID
    name: str

    @strawberry.field
    def parent(self) -> Thing | None:
        return Thing(id=strawberry.ID("0"), name="parent")

    @strawberry.field
    def things(self, first: int | None = None, last: int | None = None) -> ThingConnection:
        return _things(first or last or 50)


@strawberry.type
class ThingEdge:
    cursor: str
    node: Thing


@strawberry.type
class ThingConnection:
    edges: list[ThingEdge]
    page_info: PageInfo
    total_count: int


def _things(count: int) -> ThingConnection:
    things = [Thing(id=strawberry.ID(str(number)), name=f"thing {number}") for number in range(count)]
    return ThingConnection(
        edges=[ThingEdge(cursor=thing.id, node=thing) for thing in things],
        page_info=PageInfo(has_next_page=False),
        total_count=count,
    )


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"

    @strawberry.field
    def day(self, day: Weekday) -> str:
        return str(day)

    @strawberry.field
    def state(self, state: State) -> State:
        return state

    @strawberry.field
    def numbered(self, n: int = 1) -> int:
        return n

    @strawberry.field
    def huge(self) -> strawberry.scalars.JSON:
        return strawberry.scalars.JSON({"value": 2**70})

    @strawberry.field
    def things(self, first: int | None = None, last: int | None = None) -> ThingConnection:
        return _things(first or last or 50)

    @strawberry.field
    def query(self) -> Query:
        return Query()

    @strawberry.field
    def boom(self) -> str | None:
        raise UnreadyError('relation "agent_secrets" does not exist: SELECT token FROM agent_secrets')

    @strawberry.field
    def mandatory_boom(self) -> str:
        raise UnreadyError("secret")

    @strawberry.field
    def missing(self) -> str:
        return None  # type: ignore[return-value]

    @strawberry.field
    def cursor(self, after: str) -> str | None:
        raise BadUserInput("`after` is not a cursor of this list.", "after")

    @strawberry.field
    def forbidden(self) -> str | None:
        raise Forbidden("read:secrets")

    @strawberry.field
    async def slow(self, info: Asking, seconds: float = 30.0) -> str:
        house = info.context.house
        house.started.set()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            house.cancelled += 1
            raise
        return "done"

    @strawberry.field
    def count_statements(self, info: Asking, statements: int) -> str:
        info.context.statements += statements
        return info.context.request_id


@strawberry.type
class Mutation:
    @strawberry.mutation
    def rename(self, info: Asking, name: str) -> str:
        info.context.house.renamed.append(name)
        return name


@strawberry.type
class Event:
    """Counts what its context was used for; a fresh context counts from the beginning."""

    @strawberry.field
    def use(self, info: Asking) -> int:
        info.context.statements += 1
        return info.context.statements


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def events(self, info: Asking, to: int) -> AsyncGenerator[Event, None]:
        for _ in range(to):
            info.context.statements += 1
            yield Event()

    @strawberry.subscription
    async def count(self, info: Asking, to: int) -> AsyncGenerator[int, None]:
        house = info.context.house
        house.sources_open += 1
        try:
            for number in range(to):
                yield number
        finally:
            house.sources_open -= 1

    @strawberry.subscription
    async def forever(self, info: Asking) -> AsyncGenerator[Thing, None]:
        house = info.context.house
        house.sources_open += 1
        try:
            number = 0
            while True:
                yield Thing(id=strawberry.ID(str(number)), name="tick")
                number += 1
                await asyncio.sleep(0.02)
        finally:
            house.sources_open -= 1

    @strawberry.subscription
    async def breaks(self, info: Asking) -> AsyncGenerator[int, None]:
        yield 1
        raise UnreadyError("secret")

    @strawberry.subscription
    async def refused(self, info: Asking) -> AsyncGenerator[int, None]:
        raise Forbidden("read:events")
        yield 1


_SCALARS: dict[object, Any] = {
    Weekday: strawberry.scalar(name="Weekday", serialize=str, parse_value=_weekday),
}
SCHEMA = strawberry.Schema(Query, Mutation, Subscription, config=StrawberryConfig(scalar_map=_SCALARS))


async def authenticate(authorization: str | None, tenant: str | None) -> Somebody:
    """Tokens are words here: what each does, says its name."""
    kind, _, token = (authorization or "").partition(" ")
    if kind != "Bearer":
        raise Unauthenticated
    lifetimes = {"good": timedelta(hours=1), "northwind": timedelta(hours=1), "brief": timedelta(seconds=0.4)}
    if token == "limited":
        raise RateLimited(2.5)
    if token == "broken":
        raise UnreadyError("the database at 10.0.0.7 is down")
    if token not in lifetimes or (token == "northwind" and tenant != "northwind"):
        raise Unauthenticated("The token is not good.")
    return Somebody(token, datetime.now(UTC) + lifetimes[token])


async def page(_request: object) -> Response:
    return HTMLResponse("<title>GraphiQL</title>")


@dataclass
class Fleet:
    """The edges over the schema, put together as the application does it."""

    house: House
    endpoint: GraphQLEndpoint
    metrics: Metrics
    app: ASGIApp


def fleet(limits: Limits | None = None, edges: EdgeLimits | None = None, hooks: Hooks | None = None) -> Fleet:
    """A fresh set of everything."""
    house, metrics = House(), Metrics()

    @asynccontextmanager
    async def open_context(_caller: object, request_id: str) -> AsyncIterator[Context]:
        house.opened += 1
        house.requests.append(request_id)
        try:
            yield Context(house, request_id)
        finally:
            house.closed += 1

    executor = Executor(SCHEMA, limits, hooks or Hooks(observe=metrics.observe))
    endpoint = GraphQLEndpoint(executor, authenticate, open_context, edges, page)
    routes = [*metrics.routes(), *endpoint.routes()]
    return Fleet(house, endpoint, metrics, RequestId(Starlette(routes=routes)))
