"""Graphs of tasks as fields: what is ready, in which order, and which chain takes longest (DAG-2)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import strawberry
from sqlalchemy import and_, select

from app.execution.commands.graphs import MOST_EDGES
from app.execution.commands.values import MINUTES
from app.execution.rules.graph import critical_path, cycles, is_ready, topological, waits_of
from app.execution.seeing import seen_task
from app.graph.context import Info, context_of
from app.graph.declared import Declaration, Declared
from app.graph.entity import json_type, key, key_of
from app.graph.fields import GraphField, Shape, argument, graph_field, optional
from app.graph.loaders import Fetcher, Loader
from app.graph.registry import Named
from db import models
from db.base import JsonObject
from db.enums import TaskStatus

if TYPE_CHECKING:
    from app.execution.types import Task, TaskDependency

MOST_NODES: Final = 500
"""Parts of a graph that are looked at."""
_DEPENDENCIES: Final = re.compile(r"\bdependenc(y|ies)\b", re.IGNORECASE)
_DOLLARS_A_MINUTE: Final = 0.01
_TASK, _EDGE = models.Task.__table__, models.TaskDependency.__table__


def waits_for_dependencies(status: TaskStatus, blocked_reason: str | None) -> bool:
    """Whether a task is BLOCKED by what it waits for: its reason says so (section 0b, DAG-2)."""
    return status is TaskStatus.BLOCKED and _DEPENDENCIES.search(blocked_reason or "") is not None


class WaitsLoader(Loader[UUID, list[TaskStatus]]):
    """How the tasks stand that each task waits for."""

    def __init__(self, fetcher: Fetcher) -> None:
        super().__init__()
        self._fetcher = fetcher

    async def batch_load_fn(self, keys: list[UUID]) -> list[list[TaskStatus]]:
        """One statement for all tasks."""
        self._fetcher.observe("TaskDependency", len(keys))
        statement = (
            select(_EDGE.c.task_id, _TASK.c.status)
            .join(_TASK, and_(_TASK.c.tenant_id == _EDGE.c.tenant_id, _TASK.c.id == _EDGE.c.depends_on_task_id))
            .where(self._fetcher.reader.tenant(_EDGE), _EDGE.c.task_id.in_(keys))  # type: ignore[arg-type]
        )
        found: dict[UUID, list[TaskStatus]] = defaultdict(list)
        for row in await self._fetcher.reading.rows(statement):
            found[row.task_id].append(TaskStatus(row.status))
        return [found[key] for key in keys]


def readiness(description: str) -> Any:
    """Whether the task that the row is can be worked on."""

    async def resolve(row: Any, info: Info) -> bool:
        loaders = context_of(info).loaders
        waits = await loaders.own("task_waits", lambda: WaitsLoader(loaders.fetcher)).load(row.id)
        status = TaskStatus(row.status)
        return is_ready(status, waits, waits_for_them=waits_for_dependencies(status, row.blocked_reason))

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        return graph_field(name, shape.graphql(bool), description, resolve)

    return Declared(make)


@json_type
class TaskCycle:
    """Tasks that wait for each other in a circle, so that none of them can begin."""

    tasks: list[Task] = key_of("Task", "The tasks.", "taskIds")


@json_type
class TaskGraph:
    """The parts of a task and what waits for what (DAG-2)."""

    nodes: list[Task] = key_of("Task", f"The parts, in order of creation; at most {MOST_NODES}.", "nodeIds")
    edges: list[TaskDependency] = key_of("TaskDependency", "What waits for what.", "edgeIds")
    ready: list[Task] = key_of("Task", "The parts that can be worked on now.", "readyIds")
    topological_order: list[Task] = key_of(
        "Task",
        "The parts, each behind all that it waits for; those on a cycle, or behind one, are left out.",
        "orderIds",
    )
    cycles: list[TaskCycle] = key("The circles; empty in a sound graph.")
    critical_path: list[Task] = key_of(
        "Task", "The chain of parts that takes longest, in its order; empty where there is a cycle.", "criticalPathIds"
    )
    critical_path_minutes: float | None = key(
        "How long that chain takes by the estimates, in minutes; null where there is a cycle."
    )
    is_truncated: bool = key(f"Whether there are more than {MOST_NODES} parts, and the rest was left out.")


def minutes_of(notes: JsonObject | None, estimated_cost: Any) -> float:
    """How long a task takes: by its estimate, else by its expected cost at a cent a minute (DAG-3), else not at all."""
    kept = (notes or {}).get(MINUTES)
    if isinstance(kept, int | float) and not isinstance(kept, bool) and kept >= 0:
        return float(kept)
    return 0.0 if estimated_cost is None else float(estimated_cost) / _DOLLARS_A_MINUTE


async def _resolve_graph(_root: Any, info: Info, taskId: str) -> JsonObject | None:  # noqa: N803  # the API's name
    context = context_of(info)
    parent = await seen_task(context, taskId)
    if parent is None:
        return None
    columns = (_TASK.c[name] for name in ("id", "status", "blocked_reason", "metadata", "estimated_cost"))
    parts = (
        select(*columns)
        .where(context.reader.tenant(_TASK), _TASK.c.parent_task_id == parent.id)  # type: ignore[arg-type]
        .order_by(_TASK.c.id)
        .limit(MOST_NODES + 1)
    )
    edges = (
        select(_EDGE.c.id, _EDGE.c.task_id, _EDGE.c.depends_on_task_id, _TASK.c.status)
        .join(_TASK, and_(_TASK.c.tenant_id == _EDGE.c.tenant_id, _TASK.c.id == _EDGE.c.depends_on_task_id))
        .where(context.reader.tenant(_EDGE), _EDGE.c.parent_task_id == parent.id)  # type: ignore[arg-type]
        .order_by(_EDGE.c.id)
        .limit(MOST_EDGES)
    )
    rows = list(await context.reading.rows(parts))
    links = list(await context.reading.rows(edges))
    shown = {row.id: row for row in rows[:MOST_NODES]}
    waits = waits_of([(link.task_id, link.depends_on_task_id) for link in links], shown)
    # What a part waits for may stand outside of those that are shown: the task itself, or one that was left out.
    others: dict[UUID, list[TaskStatus]] = defaultdict(list)
    for link in links:
        others[link.task_id].append(TaskStatus(link.status))
    status = {row_id: TaskStatus(row.status) for row_id, row in shown.items()}
    ready = [
        one
        for one, row in shown.items()
        if is_ready(status[one], others[one], waits_for_them=waits_for_dependencies(status[one], row.blocked_reason))
    ]
    found = cycles(waits)
    takes = {one: minutes_of(row.metadata, row.estimated_cost) for one, row in shown.items()}
    path = None if found else critical_path(waits, takes)
    return {
        "nodeIds": _texts(shown),
        "edgeIds": [str(link.id) for link in links if link.task_id in shown or link.depends_on_task_id in shown],
        "readyIds": _texts(ready),
        "orderIds": _texts(topological(waits)),
        "cycles": [{"taskIds": _texts(one)} for one in found],
        "criticalPathIds": [] if path is None else _texts(path.nodes),
        "criticalPathMinutes": None if path is None else path.length,
        "isTruncated": len(rows) > MOST_NODES,
    }


def _texts(ids: Iterable[UUID]) -> list[str]:
    return [str(one) for one in ids]


FIELDS: Final = (
    graph_field(
        "task_graph",
        optional(Named("TaskGraph")),
        "The parts of a task and what waits for what, with the order, the circles and the critical path (DAG-2). Null"
        " where there is no such task.",
        _resolve_graph,
        [argument("task_id", strawberry.ID, "The task whose parts they are.")],
    ),
)
