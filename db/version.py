"""Which version a database has, and which one this code needs.

Apart from `db.migrate`, since every process that serves asks for them and only one that migrates needs Alembic.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

SCHEMA: Final = "gateway"
"""The schema of what is no domain table, and so of the version."""
_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


@cache
def head_version() -> str:
    """The newest version that this code knows: the number that the last file of db/migrations/versions begins with."""
    return max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))


async def current_version(fetch_one: Callable[..., Awaitable[Any]]) -> str | None:
    """The version of a database, asked through `Database.fetch_one`; None where it was never migrated."""
    found = await fetch_one("SELECT to_regclass($1) IS NOT NULL AS there", f"{SCHEMA}.alembic_version")
    if not found["there"]:
        return None
    row = await fetch_one(f"SELECT version_num FROM {SCHEMA}.alembic_version")
    return None if row is None else str(row["version_num"])
