"""Peer reviews of results, and work that was handed to executors outside the fleet."""

from __future__ import annotations

from datetime import timedelta

from db.demo.stage import Stage
from db.demo.tasks import Piece
from db.enums import (
    ExecutionRequestStatus,
    ExecutionRequestType,
    ExecutorKind,
    OpEventType,
    ReviewSeverity,
    ReviewStatus,
    ReviewTargetType,
    ReviewType,
)
from db.models import ExecutionRequest, Review


def build(stage: Stage, pieces: list[Piece]) -> None:
    """The reviews that the stories tell, and four requests to executors."""
    for piece in pieces:
        if "review" in piece.story:
            _review(stage, piece)
    _executions(stage, pieces)


def _review(stage: Stage, piece: Piece) -> None:
    kind, who, summary, *rest = piece.story["review"]
    kind = ReviewType(kind)
    task, agent = piece.task, piece.agent
    submitted = task.submitted_at
    if submitted is None or agent is None:
        raise ValueError(f"content: «{task.title}» has a review and was never submitted")
    at = submitted + timedelta(minutes=1) if kind is not ReviewType.CHANGESET else submitted - timedelta(minutes=45)
    at = min(at, stage.ago(minutes=1))
    answered = kind is not ReviewType.PRAISE or task.completed_at is not None
    asks = kind in {ReviewType.REFUTE, ReviewType.CHANGESET}
    stage.add(
        Review(
            id=stage.id(at),
            project_id=task.project_id,
            task_id=task.id,
            type=kind,
            status=ReviewStatus.ACCEPTED if answered else ReviewStatus.PENDING,
            reviewer_operator_id=stage.people[who].id if who in stage.people else None,
            reviewer_instance_id=stage.instances[who].id if who in stage.instances else None,
            target_type=ReviewTargetType.DELIVERABLE,
            target_id=task.deliverable["artifactIds"][0] if task.deliverable else None,
            summary=summary,
            score=float(rest[0]) if rest else None,
            severity=ReviewSeverity.MAJOR if asks else None,
            changeset={
                "description": summary,
                "files": [{"path": "result.md", "action": "MODIFY", "diff": None}],
            }
            if kind is ReviewType.CHANGESET
            else None,
            response_by_instance_id=agent.id if answered else None,
            response_text=("Done as asked." if asks else "Thank you.") if answered else None,
            resolved_at=at + timedelta(seconds=50) if answered else None,
            updated_at=at + timedelta(seconds=50) if answered else at,
        )
    )


def _executions(stage: Stage, pieces: list[Piece]) -> None:
    """Finished, failed, claimed and waiting, as an executor's queue has them (EXR-1)."""
    words = stage.settings("execution")
    agent = stage.instances[words["instance"]]
    mine = [one for one in pieces if one.agent is agent]
    plan = (
        (9.1, ExecutionRequestType.CODE_CHANGE, ExecutionRequestStatus.COMPLETED, {"pullRequest": 417}),
        (5.6, ExecutionRequestType.OPS, ExecutionRequestStatus.FAILED, {"error": "The machine was not reachable."}),
        (0.04, ExecutionRequestType.CODE_CHANGE, ExecutionRequestStatus.IN_PROGRESS, None),
        (0.01, ExecutionRequestType.RESEARCH, ExecutionRequestStatus.PENDING, None),
    )
    for number, (days, kind, status, result) in enumerate(plan):
        at = stage.ago(days)
        task = mine[number % len(mine)].task
        over = result is not None
        assigned = status is not ExecutionRequestStatus.PENDING
        executor = ExecutorKind.CURSOR if kind is ExecutionRequestType.CODE_CHANGE else ExecutorKind.OPENCLAW_AGENT
        ended = at + timedelta(minutes=31) if over else None
        stage.add(
            ExecutionRequest(
                id=stage.id(at),
                project_id=agent.project_id,
                task_id=task.id,
                requested_by_instance_id=agent.id,
                assigned_to=words["person"] if assigned else None,
                type=kind,
                executor=executor,
                status=status,
                payload={"instruction": f"Help with «{task.title}»", "branch": f"help/{number + 1}"},
                result=result,
                requested_at=at,
                assigned_at=at + timedelta(minutes=1) if assigned else None,
                completed_at=ended,
                metadata_={"claimedAt": (at + timedelta(minutes=2)).isoformat()} if assigned else None,
                updated_at=ended or at,
            )
        )
        if ended is not None:
            stage.event(
                OpEventType.DECISION_MADE,
                ended,
                instance=agent,
                task=task,
                payload={"stage": f"EXECUTION_{status.value}"},
            )
