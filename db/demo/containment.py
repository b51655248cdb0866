"""When something stops the agents: a loop, a budget that is used up, and the emergency that a person declared."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from db.demo import approvals, tasks
from db.demo.fleet import midnight, state_at
from db.demo.runs import close_run, open_run
from db.demo.stage import SYSTEM, Actor, Stage, actor
from db.demo.tasks import Piece
from db.enums import (
    AgentDocumentType,
    AlertSeverity,
    AlertStatus,
    ApprovalDecision,
    ChangeRecordType,
    InstanceState,
    OperatorMode,
    PauseCause,
    RiskLevel,
    TaskStatus,
)
from db.models import AgentDocument, AgentInstance, AgentVersion, Alert, OperatorControl, Project

_AT_WORK: Final = {InstanceState.ACTIVE, InstanceState.READONLY, InstanceState.DRAINING}
_UNDER_WAY: Final = {TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS, TaskStatus.REVIEW, TaskStatus.NEEDS_APPROVAL}
_GREEDY: Final = 90_000
"""Input tokens of the run that uses the budget up."""


def build(stage: Stage, pieces: list[Piece]) -> None:
    """All that stopped, and what was written about it."""
    for piece in pieces:
        if piece.story.get("loop"):
            _loop(stage, piece)
        if piece.story.get("budget"):
            _overspend(stage, piece)
    _emergency(stage, pieces)
    _drill(stage)


def _loop(stage: Stage, piece: Piece) -> None:
    """The task went in circles and is blocked (LOOP-2)."""
    at = stage.awake(stage.ago(piece.story["days"]) + timedelta(hours=piece.story["hours"]))
    agent = piece.agent
    if agent is None:
        return
    reason = piece.story["reason"]
    record = stage.change(
        ChangeRecordType.LOOP_DETECTED,
        piece.task,
        at,
        SYSTEM,
        f"«{piece.task.title}» goes in circles.",
        after={"type": "REPEATED_FAILURES", "count": 5, "threshold": 5},
        reason=reason,
        project_id=piece.task.project_id,
        instance_id=agent.id,
    )
    tasks.move(stage, piece, at, TaskStatus.BLOCKED, SYSTEM, reason=reason, caused_by_id=record)
    stage.add(
        Alert(
            id=stage.id(at),
            project_id=piece.task.project_id,
            severity=AlertSeverity.WARNING,
            type="LOOP_DETECTED",
            title=f"A loop in «{piece.task.title}»",
            description=reason,
            instance_id=agent.id,
            task_id=piece.task.id,
            loop_data={"type": "REPEATED_FAILURES", "count": 5, "threshold": 5},
            updated_at=at,
        )
    )
    stage.add(
        AgentDocument(
            id=stage.id(at),
            instance_id=agent.id,
            project_id=agent.project_id,
            type=AgentDocumentType.SESSION_MEMORY,
            content=f"## Loop\n\n{reason}. Five runs failed alike: «{piece.task.title}». Do not try the same again.\n",
            updated_at=at,
        )
    )


def _overspend(stage: Stage, piece: Piece) -> None:
    """The instance used up its day's budget and is paused until midnight or an approval (BUD-4)."""
    agent = piece.agent
    if agent is None or agent.cost_caps is None:
        raise ValueError(f"content: «{piece.task.title}» needs an agent with a cap")
    today = stage.now - midnight(stage)
    at = stage.now - min(timedelta(minutes=25), today / 2)
    run = open_run(stage, piece, at - min(timedelta(minutes=4), today / 4))
    limit = Decimal(str(agent.cost_caps["dailyUsd"]))
    record = stage.change(
        ChangeRecordType.BUDGET_EXCEEDED,
        agent,
        at,
        SYSTEM,
        f"{agent.name} used up its budget of the day.",
        after={"limit": float(limit), "scope": "INSTANCE_DAY"},
        reason=f"More than {limit} USD today.",
        project_id=agent.project_id,
        instance_id=agent.id,
        version_id=agent.version_id,
    )
    close_run(stage, piece, run, at, input_tokens=_GREEDY, over_budget=record)
    agent.state = InstanceState.PAUSED
    agent.paused_by = PauseCause.BUDGET
    agent.updated_at = at
    _record_state(
        stage, agent, at, InstanceState.ACTIVE, InstanceState.PAUSED, SYSTEM, record, "Its budget is used up."
    )
    tasks.move(stage, piece, at, TaskStatus.NEEDS_APPROVAL, SYSTEM, caused_by_id=record)
    stage.add(
        Alert(
            id=stage.id(at),
            project_id=agent.project_id,
            severity=AlertSeverity.ERROR,
            type="BUDGET_EXCEEDED",
            title=f"{agent.name} is over its budget",
            description=f"The daily limit of {limit} USD is used up; the agent is paused until midnight.",
            instance_id=agent.id,
            task_id=piece.task.id,
            run_id=run.id,
            updated_at=at,
        )
    )
    approvals.request(
        stage,
        "BUDGET_OVERRIDE",
        agent,
        at,
        agent,
        summary=f"Let {agent.name} spend {limit / 2} USD more today",
        why=f"«{piece.task.title}» is nearly done.",
        risk=RiskLevel.YELLOW,
        status=ApprovalDecision.PENDING,
        lifetime=timedelta(hours=24),
        envelope=stage.envelopes["tenant"],
        project=next(one for one in stage.all(Project) if one.id == agent.project_id),
        task=piece.task,
        version=next(one for one in stage.all(AgentVersion) if one.id == agent.version_id),
        cost=limit / 2,
    )


def _record_state(
    stage: Stage,
    agent: AgentInstance,
    at: datetime,
    before: InstanceState,
    after: InstanceState,
    by: Actor,
    caused_by: UUID | None,
    reason: str,
) -> None:
    stage.change(
        ChangeRecordType.INSTANCE_TRANSITIONED,
        agent,
        at,
        by,
        f"{agent.name} went from {before} to {after}.",
        before={"state": before.value},
        after={"state": after.value},
        reason=reason,
        project_id=agent.project_id,
        instance_id=agent.id,
        version_id=agent.version_id,
        caused_by_id=caused_by,
    )


def _emergency(stage: Stage, pieces: list[Piece]) -> None:
    """A person stopped one project, and let it go on when the cause was gone (EMG-4, EMG-6)."""
    words = stage.settings("emergency")
    project = stage.projects[words["project"]]
    by = stage.people[words["by"]]
    began, ended = stage.quiet
    held = [
        (one, state)
        for one in stage.instances.values()
        if one.project_id == project.id and (state := state_at(stage, one, began)) in _AT_WORK and state is not None
    ]
    names = {one.id for one, _ in held}
    blocked = [
        (one, status)
        for one in pieces
        if one.agent is not None and one.agent.id in names and (status := one.status_at(began)) in _UNDER_WAY
    ]
    control = _control(stage, began, OperatorMode.PAUSED, words["reason"], by.id, project)
    first = stage.change(
        ChangeRecordType.EMERGENCY_PAUSE,
        control,
        began,
        actor(by),
        f"{project.name} was paused.",
        after={
            "mode": OperatorMode.PAUSED.value,
            "scope": "PROJECT",
            "counts": {"instances": len(held), "tasks": len(blocked)},
            "instanceIds": [str(one.id) for one, _ in held],
            "taskIds": [str(one.task.id) for one, _ in blocked],
        },
        reason=words["reason"],
        project_id=project.id,
    )
    for agent, state in held:
        _record_state(stage, agent, began, state, InstanceState.PAUSED, actor(by), first, words["reason"])
        _record_state(stage, agent, ended, InstanceState.PAUSED, state, actor(by), None, words["resumed_reason"])
    for piece, status in blocked:
        _block(stage, piece, began, ended, status, actor(by), first)
    _control(stage, ended, OperatorMode.NORMAL, words["resumed_reason"], by.id, project)
    stage.add(
        Alert(
            id=stage.id(began),
            project_id=project.id,
            severity=AlertSeverity.WARNING,
            type="OPERATOR_CONTROL_MODE",
            title=f"{project.name} is paused",
            description=words["reason"],
            status=AlertStatus.RESOLVED,
            acknowledged_by_operator_id=by.id,
            acknowledged_at=began + timedelta(minutes=1),
            resolved_at=ended,
            resolution_note=words["resumed_reason"],
            updated_at=ended,
        )
    )


def _block(
    stage: Stage, piece: Piece, began: datetime, ended: datetime, status: TaskStatus, by: Actor, cause: UUID
) -> None:
    """The task was blocked with its agent, and went on where it stood."""
    steps: list[tuple[datetime, TaskStatus, TaskStatus, dict[str, Any]]] = [
        (began, status, TaskStatus.BLOCKED, {"reason": "emergency pause", "caused_by_id": cause}),
        (ended, TaskStatus.BLOCKED, status, {"reason": "The emergency is over."}),
    ]
    for at, before, after, more in steps:
        stage.change(
            ChangeRecordType.TASK_TRANSITIONED,
            piece.task,
            at,
            by,
            f"«{piece.task.title}» went from {before} to {after}.",
            before={"status": before.value},
            after={"status": after.value},
            project_id=piece.task.project_id,
            idempotency_key=f"emergency-{piece.task.id}-{after}",
            **more,
        )
        piece.moves.append((at, after))
    piece.moves.sort(key=lambda one: one[0])
    piece.task.metadata_ = {**(piece.task.metadata_ or {}), "preBlockStatus": status.value}


def _control(
    stage: Stage, at: datetime, mode: OperatorMode, reason: str, by: UUID, project: Project | None
) -> OperatorControl:
    return stage.add(
        OperatorControl(
            id=stage.id(at),
            project_id=project.id if project else None,
            mode=mode,
            reason=reason,
            updated_by_operator_id=by,
            updated_at=at,
        )
    )


def _drill(stage: Stage) -> None:
    """Long ago the whole tenant practised draining, before there was an agent to drain."""
    by = next(iter(stage.people.values()))
    at = stage.ago(stage.company["tenant"]["founded"] - 8)
    _control(stage, at, OperatorMode.DRAINING, "Drill.", by.id, None)
    _control(stage, at + timedelta(minutes=20), OperatorMode.NORMAL, "Drill is over.", by.id, None)
