"""Which events are taken, and what becomes of each: pure, given the facts (OPE-1, decision 5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from app.auth.actor import Actor, ActorKind
from app.telemetry.facts import Agent, Facts
from app.telemetry.wire import Declined, SentEvent, Why, payload_text
from db.enums import InstanceState, OpEventType
from db.ids import EPOCH
from db.logs import EVENT_COLUMNS, EventColumns, fresh_id, resent_id

PERMISSION: Final = "write:op-events"
SKEW: Final = timedelta(minutes=5)
"""How far ahead of the gateway's clock an event may be dated (decision 5)."""
ACCEPTED, DUPLICATE, REFUSED = range(3)
"""What became of an event."""
_NO_HEARTBEATS: Final = (InstanceState.PAUSED, InstanceState.QUARANTINED, InstanceState.RETIRED)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Judged:
    """A batch of events, each with what becomes of it, in the order in which they were sent."""

    __slots__ = ("columns", "declined", "ids", "outcomes", "signs")

    def __init__(self) -> None:
        self.columns = EventColumns()
        """What is to be appended."""
        self.ids: list[UUID | None] = []
        self.outcomes = bytearray()
        self.declined: dict[int, Declined] = {}
        """By position: why it was refused."""
        self.signs: dict[UUID, datetime] = {}
        """When each agent last gave a sign of life, by its HEARTBEAT events."""

    def settle(self, repeated: Collection[UUID]) -> None:
        """These were in the log already, as the append found."""
        if repeated:
            for position, row_id in enumerate(self.ids):
                if row_id in repeated:
                    self.outcomes[position] = DUPLICATE

    def count(self, outcome: int) -> int:
        """How many events came to this."""
        return self.outcomes.count(outcome)

    @property
    def denied(self) -> int:
        """How many the caller has no right to write."""
        return sum(one.why is Why.FORBIDDEN for one in self.declined.values())


def judge(events: Sequence[SentEvent | Declined], facts: Facts, actor: Actor, now: datetime) -> Judged:
    """Judge a batch. An event that has its sender's event id twice in it is taken once, the first time."""
    judge_one = _Judge(facts, actor, now).judge
    judged, rows, seen = Judged(), [], set()
    ids, outcomes = judged.ids, judged.outcomes
    for position, event in enumerate(events):
        try:
            if isinstance(event, Declined):
                raise event
            row = judge_one(event)
        except Declined as declined:
            judged.declined[position] = declined
            ids.append(None)
            outcomes.append(REFUSED)
            continue
        row_id = row[0]
        ids.append(row_id)
        if event.type is OpEventType.HEARTBEAT and (instance_id := row[3]) is not None:
            judged.signs[instance_id] = max(row[2], judged.signs.get(instance_id, EPOCH))
        if row_id in seen:
            outcomes.append(DUPLICATE)
            continue
        seen.add(row_id)
        outcomes.append(ACCEPTED)
        rows.append(row)
        if event.event_id is not None:
            judged.columns.may_repeat = True
    if rows:
        judged.columns.lists = dict(zip(EVENT_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    return judged


class _Judge:
    """Judges the events of one batch."""

    def __init__(self, facts: Facts, actor: Actor, now: datetime) -> None:
        self._facts = facts
        self._tenant_id = actor.tenant_id
        self._own = actor.id if actor.kind is ActorKind.INSTANCE else None
        self._reach = actor.scope(PERMISSION)
        self._now = now
        self._newest = now + SKEW
        self._oldest = now - facts.retention
        self._permitted: set[UUID] = set()

    def judge(self, event: SentEvent) -> tuple[Any, ...]:
        """The row of an event, in the order of `EVENT_COLUMNS`. Raises Declined."""
        names, facts = self._facts.names, self._facts
        if event.type is OpEventType.COST_TICK:
            raise Declined(
                Why.ELSEWHERE,
                "A cost tick moves counters of money: report it with `runCostRecord`, or send traces (COST-1).",
                "type",
            )
        instance_id = self._own if event.instance_id is None else names.instances[event.instance_id]
        run_id = task_id = tool_call_id = workflow_run_id = None
        if event.task_id is not None:
            task_id = names.tasks[event.task_id]
        if event.tool_call_id is not None:
            tool_call_id = names.tool_calls[event.tool_call_id]
            call = facts.tool_calls.get(tool_call_id)
            if call is None:
                raise _not_found("toolCallId")
            instance_id = _agreed(instance_id, call.instance_id, "toolCallId", "tool call", "agent")
            run_id = call.run_id
            task_id = _agreed(task_id, call.task_id, "toolCallId", "tool call", "task")
        if event.run_id is not None:
            run_id = _agreed(names.runs[event.run_id], run_id, "runId", "tool call", "run")
            run = facts.runs.get(run_id)
            if run is None:
                raise _not_found("runId")
            instance_id = _agreed(instance_id, run.instance_id, "runId", "run", "agent")
            task_id = _agreed(task_id, run.task_id, "runId", "run", "task")
        version_id: UUID | None = None
        project_id: UUID | None = None
        if instance_id is not None:
            agent = facts.agents.get(instance_id)
            if agent is None:
                raise _not_found("instanceId")
            if instance_id not in self._permitted:
                self._permit(instance_id, agent)
            version_id, project_id = agent.version_id, agent.project_id
            if event.type is OpEventType.HEARTBEAT and agent.state in _NO_HEARTBEATS:
                raise Declined(
                    Why.STATE_FORBIDS, f"An agent that is {agent.state} gives no heartbeat (INS-4).", "instanceId"
                )
        if event.task_id is not None:
            found = facts.tasks.get(names.tasks[event.task_id])
            if found is None:
                raise _not_found("taskId")
            project_id = _agreed(project_id, found, "taskId", "task", "project")
        if event.workflow_run_id is not None:
            workflow_run_id = names.workflow_runs[event.workflow_run_id]
            if workflow_run_id not in facts.workflow_runs:
                raise _not_found("workflowRunId")
            project_id = _agreed(
                project_id, facts.workflow_runs[workflow_run_id], "workflowRunId", "workflow run", "project"
            )
        if event.project_id is not None:
            project_id = _agreed(self._project(event), project_id, "projectId", "event", "project")
        if instance_id is None and not self._reach.covers(project_id):
            raise Declined(
                Why.FORBIDDEN, f"You have no `{PERMISSION}` there. Name the agent, or a project of yours.", "instanceId"
            )
        at, since_epoch = self._time(event)
        if event.event_id is None:
            row_id = fresh_id(since_epoch)
        else:
            if "\0" in event.event_id:
                raise Declined(Why.MALFORMED, "`eventId` has a NUL character, which cannot be stored.", "eventId")
            row_id = resent_id(self._tenant_id, instance_id, event.event_id, since_epoch)
        return (
            *(row_id, event.type.value, at, instance_id, version_id, project_id, task_id, run_id, tool_call_id),
            *(workflow_run_id, None, payload_text(event.payload), event.event_id, None, None),
        )

    def _time(self, event: SentEvent) -> tuple[datetime, int]:
        """When it happened, in whole milliseconds, and how many those are since the epoch."""
        at = event.timestamp
        if at is None:
            if event.event_id is not None:
                raise Declined(
                    Why.TIMESTAMP_REQUIRED, "An event with an `eventId` needs its `timestamp` as well.", "timestamp"
                )
            at = self._now
        elif at > self._newest:
            raise Declined(
                Why.AHEAD_OF_TIME, "The event is dated more than 5 minutes ahead of the gateway's clock.", "timestamp"
            )
        elif at < self._oldest:
            days = self._facts.retention.days
            raise Declined(Why.TOO_OLD, f"The tenant keeps events for {days} days; this one is older.", "timestamp")
        since = at - EPOCH
        since_epoch = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
        if at.tzinfo is not UTC or since.microseconds % 1_000:
            at = EPOCH + since_epoch * _MILLISECOND
        return at, since_epoch

    def _permit(self, instance_id: UUID, agent: Agent) -> None:
        """Raise Declined unless the caller may write this agent's events."""
        if self._own is not None and instance_id != self._own:
            raise Declined(Why.FORBIDDEN, "An agent writes its own events alone (RBAC-11).", "instanceId")
        if not self._reach.covers(agent.project_id, agent.environment_id, instance_id):
            raise Declined(Why.FORBIDDEN, f"You have no `{PERMISSION}` for this agent.", "instanceId")
        self._permitted.add(instance_id)

    def _project(self, event: SentEvent) -> UUID:
        project_id = self._facts.names.projects[event.project_id]
        if project_id not in self._facts.projects:
            raise _not_found("projectId")
        return project_id


def _agreed(one: UUID | None, other: UUID | None, field: str, of: str, what: str) -> Any:
    """The one of two that is there. Raises Declined where they differ."""
    if one is None:
        return other
    if other is None or one == other:
        return one
    raise Declined(Why.MISMATCH, f"The {of} belongs to another {what}.", field)


def _not_found(field: str) -> Declined:
    return Declined(Why.NOT_FOUND, f"The tenant has no row with this `{field}`.", field)
