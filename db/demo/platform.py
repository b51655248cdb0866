"""Flags, experiments, views, watches, webhooks and pictures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from db.demo.people import founder
from db.demo.stage import Stage, text_of
from db.demo.tasks import Piece
from db.enums import (
    ApprovalDecision,
    CaptureType,
    DeploymentStatus,
    ExperimentStatus,
    InstanceState,
    OperatorStatus,
    SavedViewScope,
    TaskStatus,
    WatchEntityType,
    WebhookDeliveryStatus,
)
from db.models import (
    AgentInstance,
    ApprovalRecord,
    Capture,
    Experiment,
    ExperimentAssignment,
    ExperimentEvent,
    FeatureFlag,
    Operator,
    SavedView,
    WatchSubscription,
    Webhook,
    WebhookDelivery,
)

_FLAGS: Final = (
    ("new-board", True, "The task board with swim lanes.", 100, ["prod"]),
    ("budget-forecast", True, "Shows where the month's spend is heading.", 40, None),
    ("voice-reports", False, "Reads the morning report aloud.", 0, None),
    ("strict-manifest", True, "Refuses tools that the genome does not name.", 100, ["staging", "prod"]),
)
_PICTURES: Final = (
    (CaptureType.SCREENSHOT, "The page before the change", "before.png", "image/png"),
    (CaptureType.SCREENSHOT, "The page after the change", "after.png", "image/png"),
    (CaptureType.CHART, "Median loading time by day", "median.svg", "image/svg+xml"),
    (CaptureType.DIAGRAM, "How the data flows", "flow.svg", "image/svg+xml"),
)


def build(stage: Stage, pieces: list[Piece]) -> None:
    """What people set up around the fleet."""
    _flags(stage)
    _experiment(stage)
    _views(stage)
    _watches(stage, pieces)
    _webhooks(stage, pieces)
    _captures(stage, pieces)


def _flags(stage: Stage) -> None:
    for number, (key, enabled, description, rollout, environments) in enumerate(_FLAGS):
        at = stage.ago(30 - 3 * number)
        conditions: dict[str, Any] = {"rolloutPercentage": rollout}
        if environments:
            conditions["targetEnvironments"] = environments
        if key == "budget-forecast":
            conditions["targetOperators"] = [str(one.id) for one in list(stage.people.values())[:2]]
        stage.add(
            FeatureFlag(
                id=stage.id(at), key=key, enabled=enabled, description=description, conditions=conditions, updated_at=at
            )
        )


def bucket(experiment_id: Any, entity_id: Any) -> int:
    """The hundredth that an entity falls into in an experiment: the int32 hash of EXP-3."""
    value = 0
    for unit in f"{experiment_id}_{entity_id}":
        value = (value * 31 + ord(unit)) & 0xFFFFFFFF
    signed = value - (1 << 32) if value >> 31 else value
    return abs(signed) % 100


def _experiment(stage: Stage) -> None:
    """One that runs, with the variants that its entities drew, and one that is being written."""
    at = stage.ago(14)
    variants = [
        {"id": "plain", "name": "Plan as a list", "weight": 50, "config": {"plan": "list"}},
        {"id": "timed", "name": "Plan with hours", "weight": 50, "config": {"plan": "hours"}},
    ]
    running = stage.add(
        Experiment(
            id=stage.id(at),
            name="Do hours in the plan help?",
            description="Whether tasks are accepted at once more often when the plan names hours.",
            variants=variants,
            status=ExperimentStatus.ACTIVE,
            started_at=at + timedelta(hours=1),
            key="plan-hours",
            updated_at=at + timedelta(hours=1),
        )
    )
    later = stage.ago(2)
    stage.add(
        Experiment(
            id=stage.id(later),
            name="Shorter first answers",
            description="Whether people ask back less often.",
            variants=[
                {"id": "long", "name": "As today", "weight": 80},
                {"id": "short", "name": "Three sentences", "weight": 20},
            ],
            key="short-answers",
            updated_at=later,
        )
    )
    entities = [one for one in stage.people.values() if one.status is OperatorStatus.ACTIVE][:3]
    agents = [one for one in stage.instances.values() if one.state is InstanceState.ACTIVE][:4]
    everybody: list[Operator | AgentInstance] = [*entities, *agents]
    for number, entity in enumerate(everybody):
        drawn = stage.ago(12 - number)
        kind = type(entity).__name__
        variant = "plain" if bucket(running.id, entity.id) < 50 else "timed"
        stage.add(
            ExperimentAssignment(
                id=stage.id(drawn),
                experiment_id=running.id,
                entity_type=kind,
                entity_id=entity.id,
                variant_id=variant,
                assigned_at=drawn,
            )
        )
        for step, event in enumerate(("exposure", "conversion")[: 2 - number % 2]):
            seen = drawn + timedelta(hours=3 * (step + 1))
            stage.add(
                ExperimentEvent(
                    id=stage.id(seen),
                    experiment_id=running.id,
                    variant_id=variant,
                    event_type=event,
                    entity_type=kind,
                    entity_id=entity.id,
                    value=1.0 if event == "conversion" else None,
                    timestamp=seen,
                )
            )


def _views(stage: Stage) -> None:
    project = next(iter(stage.projects.values()))
    owner = founder(stage)
    other = list(stage.people.values())[3]
    for number, (name, scope, filters, shared, person) in enumerate(
        (
            (
                "Urgent and open",
                SavedViewScope.KANBAN,
                {"priority": [1, 2], "status": ["INBOX", "ASSIGNED"]},
                True,
                owner,
            ),
            ("Red requests", SavedViewScope.APPROVALS, {"riskLevel": ["RED"]}, True, other),
            ("My agents", SavedViewScope.AGENTS, {"state": ["ACTIVE", "PAUSED"]}, False, owner),
        )
    ):
        at = stage.ago(18 - number)
        stage.add(
            SavedView(
                id=stage.id(at),
                project_id=project.id,
                owner_operator_id=person.id,
                name=name,
                scope=scope,
                filters=filters,
                is_shared=shared,
                updated_at=at,
            )
        )


def _watches(stage: Stage, pieces: list[Piece]) -> None:
    people = [one for one in stage.people.values() if one.status is OperatorStatus.ACTIVE]
    busy = next(one.task for one in pieces if one.task.status is TaskStatus.IN_PROGRESS)
    waiting = next(one for one in stage.all(ApprovalRecord) if one.status is ApprovalDecision.PENDING)
    release = next(one for one in stage.deployments if one.status is DeploymentStatus.PENDING)
    held = next(one for one in stage.instances.values() if one.state is InstanceState.QUARANTINED)
    project = next(iter(stage.projects.values()))
    for number, (kind, row_id, project_id) in enumerate(
        (
            (WatchEntityType.TASK, busy.id, busy.project_id),
            (WatchEntityType.APPROVAL, waiting.id, waiting.project_id),
            (WatchEntityType.INSTANCE, held.id, held.project_id),
            (WatchEntityType.PROJECT, project.id, project.id),
            (WatchEntityType.DEPLOYMENT, release.id, None),
        )
    ):
        at = stage.ago(minutes=7 - number)
        stage.add(
            WatchSubscription(
                id=stage.id(at),
                project_id=project_id,
                operator_id=people[number % len(people)].id,
                entity_type=kind,
                entity_id=row_id,
            )
        )


def _webhooks(stage: Stage, pieces: list[Piece]) -> None:
    """One that is heard, one that was switched off after its failures; nothing waits to be sent."""
    project = next(iter(stage.projects.values()))
    maker = founder(stage)
    finished = [one.task for one in pieces if one.task.completed_at and one.task.project_id == project.id]
    heard = _webhook(
        stage, maker, "Operations channel", "hooks", ["task.transitioned", "approval.requested"], project.id
    )
    deaf = _webhook(stage, maker, "Old dashboard", "dashboard", ["*"], None)
    deaf.active = False
    for number, task in enumerate(finished[:6]):
        at = task.completed_at or stage.now
        again = number == 1
        _deliver(stage, heard, task.id, project.id, at, 2 if again else 1, WebhookDeliveryStatus.DELIVERED)
    for task in finished[:2]:
        _deliver(stage, deaf, task.id, project.id, task.completed_at or stage.now, 3, WebhookDeliveryStatus.FAILED)


def _webhook(stage: Stage, maker: Operator, name: str, path: str, events: list[str], project_id: Any) -> Webhook:
    at = stage.ago(45)
    return stage.add(
        Webhook(
            id=stage.id(at),
            project_id=project_id,
            name=name,
            url=f"https://{path}.{stage.slug}.example/fleet",
            secret=stage.seal(f"whsec_demo_{stage.slug}_{path}"),
            events=events,
            filters={"statuses": ["DONE"]},
            active=True,
            delivery_count=0,
            failure_count=0,
            created_by_operator_id=maker.id,
            updated_at=at,
        )
    )


def _deliver(
    stage: Stage,
    hook: Webhook,
    task_id: Any,
    project_id: Any,
    at: Any,
    attempts: int,
    status: WebhookDeliveryStatus,
) -> None:
    delivered = status is WebhookDeliveryStatus.DELIVERED
    ended = at + timedelta(seconds=2 * attempts)
    stage.add(
        WebhookDelivery(
            id=stage.id(at),
            webhook_id=hook.id,
            project_id=project_id,
            event="task.transitioned",
            payload={"event": "task.transitioned", "taskId": str(task_id), "status": "DONE", "at": text_of(at)},
            url=hook.url,
            status=status,
            attempts=attempts,
            response_status=204 if delivered else None,
            error=None if delivered else "The name of the host is not known.",
            delivered_at=ended if delivered else None,
            updated_at=ended,
        )
    )
    if delivered:
        hook.delivery_count += 1
        hook.last_delivery_at = max(hook.last_delivery_at or ended, ended)
    else:
        hook.failure_count += 1
        hook.last_failure_at = max(hook.last_failure_at or ended, ended)
    hook.updated_at = max(hook.updated_at, ended)


def _captures(stage: Stage, pieces: list[Piece]) -> None:
    done = [one for one in pieces if one.agent is not None and one.task.submitted_at is not None]
    for number, (kind, title, name, media) in enumerate(_PICTURES):
        piece = done[number % len(done)]
        at = (piece.task.submitted_at or stage.now) - timedelta(minutes=4)
        stage.add(
            Capture(
                id=stage.id(at),
                project_id=piece.task.project_id,
                task_id=piece.task.id,
                instance_id=piece.agent.id if piece.agent else None,
                title=title,
                description=f"Made for «{piece.task.title}».",
                type=kind,
                file_storage_id=f"captures/{stage.slug}/{piece.task.id.hex[-8:]}/{name}",
                width=1280,
                height=800,
                file_size=stage.between(20_000, 400_000),
                mime_type=media,
                tags=[piece.task.type.value.lower()],
                captured_at=at,
                updated_at=at,
            )
        )
