"""Commands that get ready together, and what they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

import pytest
from sqlalchemy import select

from app.commands import Done, Refused
from app.running import run
from app.unit_of_work import UnitOfWork
from db import models
from db.enums import ChangeRecordType
from db.ids import new_id
from tests.conftest import TenantUnderTest
from tests.transitions import sent

LONG: Final = 60.0
"""Seconds in which all of those who are to write together are ready, however slow the machine."""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is ready waits for the others, however long they take."""
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", LONG)


@contextmanager
def statements_of(tenant: TenantUnderTest) -> Iterator[list[str]]:
    """What is sent by single statements; to use a transaction is an error."""
    with sent() as statements, patch("db.session.begin", side_effect=AssertionError("a transaction")):
        yield statements
    assert tenant.database._company.commits.is_idle, "nobody is waited for who has gone"


class Meeting:
    """Commands that read, and go on to write when all of them have."""

    def __init__(self, count: int) -> None:
        self.barrier = asyncio.Barrier(count)
        self.tries = 0
        self._arrived = asyncio.Condition()

    async def has_met(self, count: int) -> None:
        """Until so many have read."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.tries >= count)

    async def rename(self, uow: UnitOfWork, template_id: UUID, **changes: Any) -> Any:
        """Change a template once everybody has read theirs; again without waiting."""
        found = await uow.lock(models.AgentTemplate, template_id)
        assert found is not None
        self.tries += 1
        async with self._arrived:
            self._arrived.notify_all()
        if uow._work.writes_once:
            await self.barrier.wait()
        for name, value in changes.items():
            setattr(found, name, value)
        uow.record(ChangeRecordType.PROJECT_CREATED, found, after={"name": found.name})
        return found


async def templates(tenant: TenantUnderTest, count: int) -> list[UUID]:
    """Templates called T0, T1 and so on."""
    made = [models.AgentTemplate(id=new_id(), name=f"T{number}") for number in range(count)]
    await tenant.add(*made)
    return [one.id for one in made]


async def names(tenant: TenantUnderTest, ids: list[UUID]) -> list[str]:
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.scalars(select(models.AgentTemplate).where(models.AgentTemplate.id.in_(ids)))
        by_id = {one.id: one.name for one in found}
    return [by_id[one] for one in ids]


def renaming(tenant: TenantUnderTest, command: str, ids: list[UUID]) -> list[Awaitable[Done | Refused]]:
    """One command a template, each of which gets the name of its place."""
    return [
        run(tenant.database, tenant.actor(), command, {"template_id": one, "name": f"New {number}"})
        for number, one in enumerate(ids)
    ]


def no_matter() -> None:
    """What follows for who has gone."""
