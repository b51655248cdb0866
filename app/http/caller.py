"""What the edges know of a caller, and the two doors that the house gives them: who calls, and a context to run in."""

from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias


class Caller(Protocol):
    """Whoever calls: to the edges, someone whose token ends."""

    @property
    def token_expires_at(self) -> datetime:
        """When the caller's token ends, with a time zone. A socket ends with it."""

    @property
    def principal(self) -> Hashable:
        """Who it is, whatever the token: whose connections are counted together."""


Authenticate: TypeAlias = Callable[[str | None, str | None], Awaitable[Caller]]
"""``(Authorization, tenant)`` to the caller. Raises `app.graph.errors.Unauthenticated`, or `RateLimited`."""

Renew: TypeAlias = Callable[[Any], Awaitable[Any]]
"""The caller of an open connection as they are now. Raises `app.graph.errors.Unauthenticated`."""

OpenContextFor: TypeAlias = Callable[[Any, str], AbstractAsyncContextManager[Any]]
"""``(caller, request id)`` to the context of one operation or one event."""

TENANT_HEADER: Final = "Fleetgraph-Tenant"
"""Names the tenant for a person who has several (decision 24)."""
