"""`fleetgraph token`, and the token that `serve` prints in development."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import NamedTuple

from app.auth.issue import CannotIssue, issue_demo_token
from app.auth.setup import open_local_tokens
from app.cli.failing import CommandError
from app.database import find_connections, open_database
from app.settings import Settings


class Issued(NamedTuple):
    """A token, and until when it is good (UTC)."""

    text: str
    expires_at: datetime


def issue(
    settings: Settings,
    *,
    tenant: str | None,
    role: str | None,
    operator: str | None = None,
    instance: str | None = None,
) -> Issued:
    """A token for whoever the arguments of the command name. Raises CommandError; KeyUnusable for a damaged key."""
    tokens = open_local_tokens(settings)

    if tokens is None:
        raise CommandError("This gateway has no key to sign with; `fleetgraph doctor` says more.")

    async def issue_in_database() -> str:
        database = open_database(settings, await find_connections(settings))
        try:
            return await issue_demo_token(database, tokens, tenant, role, operator, instance)
        finally:
            await database.close()

    try:
        text = asyncio.run(issue_in_database())
    except CannotIssue as error:
        raise CommandError(str(error)) from None
    return Issued(text, tokens.verify(text).expires_at)
