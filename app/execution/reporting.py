"""A task as a report to read: what it was, what happened, what it cost (TASK-8)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, func, select

from app.execution.timeline import MOST, Entry, load_timeline
from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.fields import GraphField, Shape, graph_field
from app.graph.hiding import as_seen
from app.graph.loaders import Loader
from app.graph.registry import ENTITIES
from db import models

_ASSIGNEE, _INSTANCE, _RUN = (
    models.TaskAssignee.__table__,
    models.AgentInstance.__table__,
    models.Run.__table__,
)
_LONGEST_DESCRIPTION: Final = 10_000


class _AssigneesLoader(Loader[UUID, list[str]]):
    """Names of the agents of many tasks."""

    def __init__(self, context: OperationContext) -> None:
        super().__init__()
        self._context = context

    async def batch_load_fn(self, keys: list[UUID]) -> list[list[str]]:
        """One statement for all tasks."""
        statement = (
            select(_ASSIGNEE.c.task_id, _INSTANCE.c.name, _INSTANCE.c.id)
            .join(
                _INSTANCE,
                and_(_INSTANCE.c.tenant_id == _ASSIGNEE.c.tenant_id, _INSTANCE.c.id == _ASSIGNEE.c.instance_id),
            )
            .where(self._context.reader.tenant(_ASSIGNEE), _ASSIGNEE.c.task_id.in_(keys))  # type: ignore[arg-type]
            .order_by(_ASSIGNEE.c.task_id, _ASSIGNEE.c.position)
        )
        found: dict[UUID, list[str]] = {key: [] for key in keys}
        for row in await self._context.reading.rows(statement):
            found[row.task_id].append(row.name or str(row.id))
        return [found[key] for key in keys]


class _CostLoader(Loader[UUID, list[Any]]):
    """Cost of the runs of many tasks by model."""

    def __init__(self, context: OperationContext) -> None:
        super().__init__()
        self._context = context

    async def batch_load_fn(self, keys: list[UUID]) -> list[list[Any]]:
        """One statement for all tasks."""
        count = func.count().label("runs")
        cost = func.sum(_RUN.c.cost_usd).label("cost")
        statement = (
            select(_RUN.c.task_id, _RUN.c.model, count, cost)
            .where(*self._context.reader.visible(ENTITIES["Run"]), _RUN.c.task_id.in_(keys))
            .group_by(_RUN.c.task_id, _RUN.c.model)
            .order_by(_RUN.c.task_id, cost.desc(), _RUN.c.model)
        )
        found: dict[UUID, list[Any]] = {key: [] for key in keys}
        for row in await self._context.reading.rows(statement):
            found[row.task_id].append(row)
        return [found[key] for key in keys]


def _moment(at: datetime | None) -> str:
    return "—" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _line(text: Any) -> str:
    """A text that may stand in a line or a cell."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("`", "'")


def _dollars(amount: Any) -> str:
    return "—" if amount is None else f"{float(amount):.4f} US dollars"


def markdown(task: Any, assignees: list[str], entries: list[Entry], costs: list[Any], *, is_cut: bool) -> str:
    """The report. Texts of others are quoted or put on one line, so that they cannot pass for its own words."""
    plain = {name: getattr(getattr(task, name), "value", getattr(task, name)) for name in ("type", "status")}
    parts = [
        f"# {_line(task.title)}",
        "\n".join(
            [
                f"- Task: tsk_{task.id.hex}",
                f"- Status: {plain['status']}, priority {task.priority}, type {plain['type']}",
                f"- Made: {_moment(task.created_at)}; started: {_moment(task.started_at)}",
                f"- Submitted: {_moment(task.submitted_at)}; ended: {_moment(task.completed_at)}",
                f"- Review cycles: {task.review_cycles}",
            ]
        ),
        "## Description",
        _quoted(task.description),
        "## Assignees",
        "\n".join(f"- {_line(name)}" for name in assignees) or "Nobody.",
    ]
    if task.blocked_reason:
        parts += ["## Blocked", _quoted(task.blocked_reason)]
    parts += ["## Timeline"]
    if entries:
        rows = [
            f"| {_moment(one.position.at)} | {one.source.kind.value} | {_line(one.source.says(one.row))} |"
            for one in entries
        ]
        parts += ["\n".join(["| When | What | |", "| --- | --- | --- |", *rows])]
    else:
        parts += ["Nothing is on record."]
    if is_cut:
        parts += [f"The first {MOST} entries; `timeline` has the rest."]
    parts += ["## Deliverable", _deliverable(task.deliverable), "## Cost"]
    parts += [f"Actual {_dollars(task.actual_cost)} of a budget of {_dollars(task.budget_allocated)}."]
    if costs:
        rows = [f"| {_line(row.model)} | {row.runs} | {_dollars(row.cost)} |" for row in costs]
        parts += ["\n".join(["| Model | Runs | Cost |", "| --- | --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def _quoted(text: str | None) -> str:
    if not text:
        return "None."
    kept = text if len(text) <= _LONGEST_DESCRIPTION else f"{text[: _LONGEST_DESCRIPTION - 1]}…"
    return "\n".join(f"> {line}" for line in kept.splitlines())


def _deliverable(deliverable: Any) -> str:
    found = deliverable or {}
    parts = [_quoted(found[name]) for name in ("summary", "content") if found.get(name)]
    artifacts = [f"- {_line(one)}" for one in found.get("artifactIds") or ()]
    return "\n\n".join([*parts, *(["\n".join(artifacts)] if artifacts else [])]) or "None."


async def _resolve(row: Any, info: Info) -> str:
    context = context_of(info)
    loaders = context.loaders
    entries = await load_timeline(context, row.id, MOST + 1)
    assignees = await loaders.own("assignee_names", lambda: _AssigneesLoader(context)).load(row.id)
    may_cost = context.actor.may_read("Run")
    costs = await loaders.own("task_costs", lambda: _CostLoader(context)).load(row.id) if may_cost else []
    seen = await as_seen(ENTITIES["Task"], row, context)
    return markdown(seen, assignees, entries[:MOST], costs, is_cut=len(entries) > MOST)


def incident_report(description: str) -> Any:
    """The report of the task that the row is."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        declaration.personal[name] = "write:tasks"  # what the task hides, it hides here (PII-4)
        return graph_field(name, shape.graphql(str), description, _resolve)

    return Declared(make)
