"""Which writes change what somebody may do, so that whoever remembers it is told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.bell import Feed

_PEOPLE: Final = re.compile(
    r"\b(?:INTO|UPDATE|FROM) (?:public\.)?(?:tenants|operators|roles|role_assignments)\b", re.IGNORECASE
)
_AGENTS: Final = re.compile(
    r"\bUPDATE (?:public\.)?agent_instances\b(?:(?!\bWHERE\b).)*\b(?:state|token_epoch|name|project_id)\s*=",
    re.DOTALL | re.IGNORECASE,
)
_KEY: Final = "fleetgraph.callers"


def watch(engine: AsyncEngine) -> None:
    """Note on each connection what its statements write."""

    def heard(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        _note(connection, statement)

    event.listen(engine.sync_engine, "before_cursor_execute", heard)


def note(connection: AsyncConnection, statement: str) -> None:
    """Note a statement that goes to the driver itself."""
    _note(connection.sync_connection, statement)


def _note(connection: Any, statement: str) -> None:
    if not statement.startswith("SELECT"):
        feeds = touched(statement)
        if feeds:
            connection.info.setdefault(_KEY, set()).update(feeds)


def written(connection: AsyncConnection) -> Iterable[Feed]:
    """What the connection's statements wrote since this was asked last; nothing where it was lost, and with it what it
    wrote."""
    if connection.closed or connection.invalidated or connection.sync_connection is None:
        return ()
    found: Iterable[Feed] = connection.sync_connection.info.pop(_KEY, ())
    return found


@lru_cache(maxsize=2_000)
def touched(statement: str) -> frozenset[Feed]:
    """What a statement that is no plain SELECT may write; too much rather than too little."""
    feeds = set()
    if _PEOPLE.search(statement):
        feeds.add(Feed.PEOPLE)
    if _AGENTS.search(statement):
        feeds.add(Feed.AGENTS)
    return frozenset(feeds)
