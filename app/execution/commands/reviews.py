"""Commands of peer reviews: judge, answer, withdraw; and what a judgement does to its task (REV-1 to REV-4)."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.commands.threads import refuse_agent
from app.execution.commands.transitions import transition_task
from app.execution.machines import REVIEW
from app.execution.moving import assignees_of, move_task
from app.execution.standing import COMPLETE_TASK, hold_mode, is_agent, lock_task
from app.governance.approving import make_request
from app.governance.policy.risk import redact_value
from app.lifecycle import refuse_step
from app.redaction import title_of
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ChangesetFileAction,
    OpEventType,
    ReviewSeverity,
    ReviewStatus,
    ReviewTargetType,
    ReviewType,
    RiskLevel,
    TaskStatus,
)
from db.models import Review, Task

_AGENT_OR_PERSON: Final = (ActorKind.OPERATOR, ActorKind.INSTANCE)
_WEIGHED: Final = (ReviewType.REFUTE, ReviewType.CHANGESET)
_SCORES: Final = (1.0, 5.0)
_MOST_FILES: Final = 200


@command("write:reviews", OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def create_review(
    uow: UnitOfWork,
    task_id: UUID,
    type: ReviewType,
    summary: str,
    target_type: ReviewTargetType | None = None,
    target_id: str | None = None,
    details: str | None = None,
    score: float | None = None,
    severity: ReviewSeverity | None = None,
    changeset: JsonObject | None = None,
    complete_task: bool | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """REV-1 to REV-3. Judge a task's work. On a task in REVIEW a CHANGESET sends it back, a REFUTE counts as a cycle,
    an agent's APPROVE asks a person to accept it; a person's may accept it at once.

    Nobody judges their own work. A CHANGESET that would send back a task which is nobody's is refused. A newer
    judgement of the same thing by the same reviewer takes the older one's place.
    """
    if refused := _refuse_form(type, summary, score, severity, changeset):
        return refused
    await hold_mode(uow)
    task = await lock_task(uow, task_id)
    if isinstance(task, Refused):
        return task
    if refused := await refuse_agent(uow, task.project_id):
        return refused
    assignees = await assignees_of(uow, task.id)
    if is_agent(uow) and uow.actor.id in assignees:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "An agent does not judge its own work (REV-2).", "task_id")
    if type is ReviewType.CHANGESET and task.status is TaskStatus.REVIEW and not assignees:
        # What refuses the step refuses the judgement, here as where a person's completes the task.
        message = (
            "Nobody is assigned to the task, so nobody would make the changes. Use `taskAssign` first, or judge with"
            " REFUTE, which leaves it in REVIEW (TSK-1)."
        )
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    if complete_task and (refused := await _complete(uow, task, type, summary)):
        return refused
    mine = Review.reviewer_instance_id if is_agent(uow) else Review.reviewer_operator_id
    looked_at = target_type or ReviewTargetType.TASK
    older = select(Review.id).where(
        Review.tenant_id == uow.tenant_id,
        Review.task_id == task.id,
        Review.status == ReviewStatus.PENDING,
        Review.target_type == looked_at,
        Review.target_id.is_not_distinct_from(target_id),
        mine == uow.actor.id,
    )
    review = uow.add(
        Review(
            project_id=task.project_id,
            task_id=task.id,
            type=type,
            status=ReviewStatus.PENDING,
            reviewer_instance_id=uow.actor.id if is_agent(uow) else None,
            reviewer_operator_id=None if is_agent(uow) else uow.actor.id,
            target_type=looked_at,
            target_id=target_id,
            summary=redact_value(summary.strip()),
            details=redact_value(details),
            score=score,
            severity=severity,
            changeset=changeset,
            metadata_=metadata,
        )
    )
    _note(uow, review, "REVIEW_CREATED", type=type.value)
    for former in await uow.lock_all(Review, [one for one in await uow.session.scalars(older) if one != review.id]):
        _settle(uow, former, ReviewStatus.SUPERSEDED, "A newer review takes its place.")
    await _act(uow, task, review)
    return Done(review)


def _refuse_form(
    kind: ReviewType,
    summary: str,
    score: float | None,
    severity: ReviewSeverity | None,
    changeset: JsonObject | None,
) -> Refused | None:
    """REV-2. What goes with which judgement."""
    if not summary.strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say what was found, in a sentence.", "summary")
    if score is not None and kind is not ReviewType.PRAISE:
        return Refused(Refusal.VALIDATION_ERROR, "A score goes with PRAISE alone.", "score")
    if score is not None and not _SCORES[0] <= score <= _SCORES[1]:
        return Refused(Refusal.VALIDATION_ERROR, "A score is 1 to 5.", "score")
    if severity is not None and kind not in _WEIGHED:
        return Refused(Refusal.VALIDATION_ERROR, "A severity goes with REFUTE and CHANGESET.", "severity")
    if (changeset is not None) is not (kind is ReviewType.CHANGESET):
        message = "A CHANGESET has a `changeset` with the changes that it asks for, and nothing else has one."
        return Refused(Refusal.VALIDATION_ERROR, message, "changeset")
    fault = None if changeset is None else changeset_fault(changeset)
    return None if fault is None else Refused(Refusal.VALIDATION_ERROR, fault, "changeset")


def changeset_fault(changeset: Any) -> str | None:
    """Why an object is no changeset: it has a description and files, each with a path and an action."""
    files = changeset.get("files") if isinstance(changeset, dict) else None
    if not isinstance(files, list) or not 0 < len(files) <= _MOST_FILES:
        return f"It names 1 to {_MOST_FILES} `files`."
    if not str(changeset.get("description") or "").strip():
        return "Its `description` says what is to change, and why."
    for position, file in enumerate(files):
        if not isinstance(file, dict) or not str(file.get("path") or "").strip():
            return f"`files[{position}]` has no `path`."
        if file.get("action") not in list(ChangesetFileAction):
            return f"`files[{position}].action` is one of {', '.join(ChangesetFileAction)}."
        if not isinstance(file.get("diff"), str | None):
            return f"`files[{position}].diff` is a text."
    return None


async def _complete(uow: UnitOfWork, task: Task, kind: ReviewType, summary: str) -> Refused | None:
    """REV-3. A person's APPROVE carries the step to DONE; what refuses the step refuses the review."""
    if is_agent(uow) or kind is not ReviewType.APPROVE:
        message = "Only a person's APPROVE completes a task at once; an agent's asks a person."
        return Refused(Refusal.VALIDATION_ERROR, message, "complete_task")
    uow.permit(project_id=task.project_id, permission="transition:tasks")
    outcome = await transition_task(uow, task.id, TaskStatus.DONE, reason=summary.strip())
    return outcome if isinstance(outcome, Refused) else None


async def _act(uow: UnitOfWork, task: Task, review: Review) -> None:
    """REV-3. What a judgement does to a task in REVIEW; to another it does nothing."""
    if task.status is not TaskStatus.REVIEW:
        return
    match review.type:
        case ReviewType.CHANGESET:
            after = {"feedback": review.summary, "reviewId": str(review.id)}
            await move_task(uow, task, TaskStatus.IN_PROGRESS, reason=review.summary, by_system=True, after=after)
        case ReviewType.REFUTE:
            task.review_cycles += 1
        case ReviewType.APPROVE if is_agent(uow):
            make_request(
                uow,
                COMPLETE_TASK,
                action_summary=f"Accept “{title_of(task)}”.",
                justification=review.summary,
                risk_level=RiskLevel.YELLOW,
                target=task,
                instance_id=uow.actor.id,
                project_id=task.project_id,
                task_id=task.id,
                metadata={"reviewId": str(review.id)},
            )


@command("write:reviews", OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def respond_review(uow: UnitOfWork, review_id: UUID, to: ReviewStatus, text: str) -> Done | Refused:
    """REV-1. Accept or reject a judgement, and say why; agents answer for the tasks that are assigned to them."""
    review = await _own(uow, review_id)
    if isinstance(review, Refused):
        return review
    if to is ReviewStatus.SUPERSEDED:
        message = "An answer is ACCEPTED or REJECTED; `reviewSupersede` withdraws."
        return Refused(Refusal.VALIDATION_ERROR, message, "to")
    if is_agent(uow) and uow.actor.id not in await assignees_of(uow, review.task_id):
        return Refused(Refusal.DEPENDENCY_NOT_MET, "Only those whose work it is answer (REV-1).", "review_id")
    if refused := refuse_step(REVIEW, review.status, to, uow.actor_type):
        return refused
    if not text.strip():
        return Refused(Refusal.VALIDATION_ERROR, "An answer has a text.", "text")
    if refused := await refuse_agent(uow, review.project_id):
        return refused
    review.response_by_instance_id = uow.actor.id if is_agent(uow) else None
    review.response_by_operator_id = None if is_agent(uow) else uow.actor.id
    _settle(uow, review, to, redact_value(text.strip()))
    return Done(review)


@command("write:reviews", OpEventType.DECISION_MADE)
async def supersede_review(uow: UnitOfWork, review_id: UUID, reason: str) -> Done | Refused:
    """REV-1. Withdraw a judgement that nobody has answered; it stays on record (REV-4)."""
    review = await _own(uow, review_id)
    if isinstance(review, Refused):
        return review
    if refused := refuse_step(REVIEW, review.status, ReviewStatus.SUPERSEDED, uow.actor_type):
        return Refused(refused.code, refused.message, "review_id", refused.allowed)
    if not reason.strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say why.", "reason")
    _settle(uow, review, ReviewStatus.SUPERSEDED, redact_value(reason.strip()))
    return Done(review)


async def _own(uow: UnitOfWork, review_id: UUID) -> Review | Refused:
    review = await uow.lock(Review, review_id)
    if review is None or (is_agent(uow) and review.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, "No such review.", "review_id")
    uow.permit(project_id=review.project_id, instance_id=uow.actor.id if is_agent(uow) else None)
    return review


def _settle(uow: UnitOfWork, review: Review, status: ReviewStatus, text: str) -> None:
    """End a judgement: it was answered, or another took its place."""
    review.status, review.response_text, review.resolved_at = status, text, uow.now
    _note(uow, review, f"REVIEW_{status.value}")


def _note(uow: UnitOfWork, review: Review, stage: str, **more: str) -> None:
    uow.emit(
        OpEventType.DECISION_MADE,
        instance_id=uow.actor.id if is_agent(uow) else None,
        project_id=review.project_id,
        task_id=review.task_id,
        payload={"stage": stage, "reviewId": str(review.id), **more},
    )
