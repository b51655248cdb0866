"""What the database says of the rows that a batch of events names, in one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Executable,
    Integer,
    String,
    Table,
    Uuid,
    any_,
    literal,
    null,
    select,
    union_all,
)

from app.auth.actor import Actor
from app.telemetry.wire import Declined, RowIds, SentEvent
from db.base import Model
from db.enums import InstanceState
from db.models import AgentInstance, Project, Run, Task, Tenant, ToolCall, WorkflowRun
from db.session import Database, within_tenant

DEFAULT_RETENTION_DAYS: Final = 30
"""RET. How long op events are kept where the tenant says nothing else."""


class Agent(NamedTuple):
    """What an event takes from its instance."""

    version_id: UUID
    project_id: UUID
    environment_id: UUID
    state: InstanceState


class RunFact(NamedTuple):
    """Whose run it is, and of which task."""

    instance_id: UUID
    task_id: UUID | None
    project_id: UUID | None


class CallFact(NamedTuple):
    """Whose tool call it is, and of which run."""

    instance_id: UUID | None
    run_id: UUID | None
    task_id: UUID | None


@dataclass
class Names:
    """The rows that a batch names, by kind; and the ids by the texts that name them."""

    instances: RowIds = field(default_factory=lambda: RowIds("ins", "instanceId"))
    runs: RowIds = field(default_factory=lambda: RowIds("run", "runId"))
    tasks: RowIds = field(default_factory=lambda: RowIds("tsk", "taskId"))
    tool_calls: RowIds = field(default_factory=lambda: RowIds("tcl", "toolCallId"))
    workflow_runs: RowIds = field(default_factory=lambda: RowIds("wfr", "workflowRunId"))
    projects: RowIds = field(default_factory=lambda: RowIds("prj", "projectId"))


@dataclass
class Facts:
    """What is known of the rows that a batch names; a row of another tenant is in none of these."""

    names: Names
    retention: timedelta = timedelta(days=DEFAULT_RETENTION_DAYS)
    agents: dict[UUID, Agent] = field(default_factory=dict)
    runs: dict[UUID, RunFact] = field(default_factory=dict)
    tasks: dict[UUID, UUID] = field(default_factory=dict)
    """Task -> project."""
    tool_calls: dict[UUID, CallFact] = field(default_factory=dict)
    workflow_runs: dict[UUID, UUID | None] = field(default_factory=dict)
    """Workflow run -> project, where it has one."""
    projects: set[UUID] = field(default_factory=set)


async def find_facts(database: Database, actor: Actor, events: Sequence[SentEvent | Declined]) -> Facts:
    """The facts of a batch, from the primary: a replica may not have the run that has just begun."""
    async with database.read(actor, primary=True) as reading:
        facts = Facts(Names())
        fill(facts, await reading.rows(statement(facts, actor, events)))
    return facts


def statement(facts: Facts, actor: Actor, events: Sequence[SentEvent | Declined]) -> Executable:
    """One statement for everything that the events name; the instances of runs and tool calls come with them."""
    sent = [event for event in events if isinstance(event, SentEvent)]
    names = facts.names
    instances = _ids(names.instances, {event.instance_id for event in sent})
    if actor.project_id is not None:
        instances.append(actor.id)  # an agent, which need not say who it is
    runs = _ids(names.runs, {event.run_id for event in sent})
    calls = _ids(names.tool_calls, {event.tool_call_id for event in sent})
    table = AgentInstance.__table__.c
    is_named = _among(table.id, instances)
    if runs:
        is_named |= table.id.in_(_owners(Run, runs, actor))
    if calls:
        is_named |= table.id.in_(_owners(ToolCall, calls, actor))
    parts = [_part("tenant", Tenant, actor, number=Tenant.op_event_retention_days)]
    if instances or runs or calls:
        i = AgentInstance
        parts.append(
            _part("agent", i, actor, i.version_id, i.project_id, i.environment_id, text=table.state, where=is_named)
        )
    if runs:
        parts.append(_named("run", Run, actor, runs, Run.instance_id, Run.task_id, Run.project_id))
    if calls:
        parts.append(_named("call", ToolCall, actor, calls, ToolCall.instance_id, ToolCall.run_id, ToolCall.task_id))
    if tasks := _ids(names.tasks, {event.task_id for event in sent}):
        parts.append(_named("task", Task, actor, tasks, Task.project_id))
    if flows := _ids(names.workflow_runs, {event.workflow_run_id for event in sent}):
        parts.append(_named("flow", WorkflowRun, actor, flows, WorkflowRun.project_id))
    if projects := _ids(names.projects, {event.project_id for event in sent}):
        parts.append(_named("project", Project, actor, projects))
    return union_all(*parts)


def fill(facts: Facts, rows: Sequence[Any]) -> None:
    """Take the rows of `statement` in."""
    for kind, row_id, one, two, three, text, number in rows:
        match kind:
            case "tenant":
                facts.retention = timedelta(days=number or DEFAULT_RETENTION_DAYS)
            case "agent":
                facts.agents[row_id] = Agent(one, two, three, InstanceState(text))
            case "run":
                facts.runs[row_id] = RunFact(one, two, three)
            case "call":
                facts.tool_calls[row_id] = CallFact(one, two, three)
            case "task":
                facts.tasks[row_id] = one
            case "flow":
                facts.workflow_runs[row_id] = one
            case "project":
                facts.projects.add(row_id)


def _ids(known: RowIds, given: Collection[Any]) -> list[UUID]:
    """The ids among what was given; what is none is refused event by event, later."""
    found = []
    for one in given:
        if one is not None:
            try:
                found.append(known[one])
            except Declined:
                continue
    return found


def _owners(model: Any, row_ids: list[UUID], actor: Actor) -> Any:
    return select(model.instance_id).where(within_tenant(model.__table__, actor), _among(model.id, row_ids))


def _among(column: Any, row_ids: list[UUID]) -> ColumnElement[bool]:
    """The ids as one parameter, so that Postgres plans the statement once, however many there are."""
    found: ColumnElement[bool] = column == any_(literal(row_ids, ARRAY(Uuid)))
    return found


def _named(kind: str, model: type[Model], actor: Actor, row_ids: list[UUID], *keys: Any) -> Any:
    return _part(kind, model, actor, *keys, where=_among(cast("Table", model.__table__).c.id, row_ids))


def _part(
    kind: str,
    model: type[Model],
    actor: Actor,
    *keys: Any,
    text: Any = None,
    number: Any = None,
    where: ColumnElement[bool] | None = None,
) -> Any:
    table = cast("Table", model.__table__)
    columns = [*keys, *(null().cast(Uuid) for _ in range(3 - len(keys)))]
    made = select(
        literal(kind, String),
        table.c.id,
        *columns,
        (null() if text is None else text).cast(String),
        (null() if number is None else number).cast(Integer),
    ).where(within_tenant(table, actor))
    return made if where is None else made.where(where)
