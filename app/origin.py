"""Where a request comes from, for the rows of the security journal that it writes (AUD-1, PII-3).

The edge leaves what the request came with, as it came; only a row that is written makes something of it. What no
request does, such as a job, comes from nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeAlias

from app.identity.rules import simplify_user_agent, truncate_ip

Raw: TypeAlias = tuple[tuple[Any, ...] | None, Iterable[tuple[bytes, bytes]]]
"""(address and port of the client, header lines), as an ASGI scope has them. The server has put the address in that a
trusted proxy forwards."""

ORIGIN: Final[ContextVar[Raw | None]] = ContextVar("fleetgraph_origin", default=None)
"""Of the request, or of the socket, that is being answered. No scope, which would keep what it belongs to alive."""

LONGEST_AGENT: Final = 512
"""Characters of a user agent that are looked at."""


class Origin(NamedTuple):
    """Where from, cut so far that it may be stored; the names are the journal's columns."""

    ip_address: str | None = None
    user_agent: str | None = None


NOWHERE: Final = Origin()


def origin() -> Origin:
    """Where the request that is being answered comes from, made unrecognisable (PII-3)."""
    raw = ORIGIN.get()
    return NOWHERE if raw is None else origin_of(raw)


def address() -> str | None:
    """Only the address of `origin`, which is to be had in microseconds."""
    raw = ORIGIN.get()
    return None if raw is None else _address_of(raw)


def origin_of(raw: Raw) -> Origin:
    """What may be stored of where a request comes from (PII-3)."""
    headers = raw[1]
    agent = next((value for name, value in headers if name == b"user-agent"), b"")[:LONGEST_AGENT]
    # Not every server refuses NUL in a header, and Postgres cannot store it.
    simple = simplify_user_agent(agent.decode("latin-1").replace("\0", " "))
    return Origin(_address_of(raw), simple or None)


def _address_of(raw: Raw) -> str | None:
    client = raw[0]
    return truncate_ip(client[0]) if client and client[0] else None
