"""How both logs send their statements."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

Fetch: TypeAlias = Callable[..., Awaitable[Sequence[Any]]]
"""(sql with $1, $2 …, its arguments) -> the rows; as asyncpg's connections have it."""


def fetch_by(connection: AsyncConnection) -> Fetch:
    """Sends on SQLAlchemy's connection, whose errors it raises."""

    async def fetch(sql: str, *arguments: Any) -> Sequence[Any]:
        return (await connection.exec_driver_sql(sql, arguments)).all()

    return fetch
