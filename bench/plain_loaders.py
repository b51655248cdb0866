"""Plain Strawberry's way to the data: the engine, a session for each batch, and one dataloader for each relation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import aliased
from strawberry.dataloader import DataLoader

from bench.serving import surroundings
from db import models
from db.base import TenantScoped

around = surroundings()
engine = create_async_engine(
    "postgresql+asyncpg://" + around.database_url.removeprefix("postgresql://"),
    pool_size=around.pool_size,
    max_overflow=0,
    pool_timeout=120,
)
Session = async_sessionmaker(engine, expire_on_commit=False)
TENANT = around.tenant_id

Model = TypeVar("Model", bound=TenantScoped)


def rows_by_id(model: type[Model]) -> Callable[[list[UUID]], Any]:
    """The batch function of a to-one relation."""

    async def load(keys: list[UUID]) -> list[Model | None]:
        async with Session() as session:
            rows = await session.scalars(select(model).where(model.tenant_id == TENANT, model.id.in_(keys)))
            found = {row.id: row for row in rows}
        return [found.get(key) for key in keys]

    return load


async def load_tasks(keys: list[tuple[UUID, int]]) -> list[list[models.Task]]:
    """The first tasks of each instance; a key is the instance's id and how many."""
    most = max(first for _, first in keys)
    place = func.row_number().over(partition_by=models.TaskAssignee.instance_id, order_by=models.Task.id)
    ranked = (
        select(models.Task, models.TaskAssignee.instance_id.label("instance_id"), place.label("place"))
        .join(
            models.TaskAssignee,
            (models.TaskAssignee.tenant_id == models.Task.tenant_id) & (models.TaskAssignee.task_id == models.Task.id),
        )
        .where(
            models.Task.tenant_id == TENANT,
            models.TaskAssignee.tenant_id == TENANT,
            models.TaskAssignee.instance_id.in_([key for key, _ in keys]),
        )
        .subquery()
    )
    task = aliased(models.Task, ranked)
    statement = select(task, ranked.c.instance_id).where(ranked.c.place <= most).order_by(ranked.c.place)
    found: dict[UUID, list[models.Task]] = defaultdict(list)
    async with Session() as session:
        for row, instance_id in await session.execute(statement):
            found[instance_id].append(row)
    return [found[key][:first] for key, first in keys]


async def load_runs(keys: list[tuple[UUID, int]]) -> list[list[models.Run]]:
    """The first runs of each task; a key is the task's id and how many."""
    most = max(first for _, first in keys)
    place = func.row_number().over(partition_by=models.Run.task_id, order_by=models.Run.id)
    ranked = (
        select(models.Run, place.label("place"))
        .where(models.Run.tenant_id == TENANT, models.Run.task_id.in_([key for key, _ in keys]))
        .subquery()
    )
    run = aliased(models.Run, ranked)
    statement = select(run).where(ranked.c.place <= most).order_by(ranked.c.place)
    found: dict[UUID | None, list[models.Run]] = defaultdict(list)
    async with Session() as session:
        for row in await session.scalars(statement):
            found[row.task_id].append(row)
    return [found[key][:first] for key, first in keys]


class Context:
    """The dataloaders of one request."""

    def __init__(self) -> None:
        self.templates = DataLoader(rows_by_id(models.AgentTemplate))
        self.versions = DataLoader(rows_by_id(models.AgentVersion))
        self.instances = DataLoader(rows_by_id(models.AgentInstance))
        self.operators = DataLoader(rows_by_id(models.Operator))
        self.envelopes = DataLoader(rows_by_id(models.PolicyEnvelope))
        self.changes = DataLoader(rows_by_id(models.ChangeRecord))
        self.tasks = DataLoader(load_tasks)
        self.runs = DataLoader(load_runs)
