"""The command that moves a task: the emergency first, then the table, the actor, the guards (TSK-1 to TSK-6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.machines import TASK
from app.execution.moving import FORMER_STATUS, assign_to, assignees_of, move_task
from app.execution.rules import work as rules
from app.execution.standing import (
    COMPLETE_TASK,
    Override,
    Permit,
    agent_may,
    approvals_of,
    completion_needs_approval,
    hold_instances,
    hold_mode,
    is_agent,
    is_undecided,
    lock_task,
    open_children,
    pass_gate,
    refuse_new_assignment,
    unmet_dependencies,
    usable_completion,
    usable_for_task,
)
from app.lifecycle import refuse_step
from app.redaction import is_hidden
from app.registry.commands import mode_of
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ActorType, ApprovalDecision, ChangeRecordType, InstanceState, OperatorMode, TaskStatus
from db.models import ApprovalRecord, ChangeRecord, Task

T = TaskStatus
_RETRY_COUNT: Final = "retryCount"
_RETURNS: Final = (T.ASSIGNED, T.IN_PROGRESS, T.REVIEW)
_BY_UNDO: Final = (T.INBOX, *_RETURNS)
"""Where the gateway takes a blocked task to only as it undoes an emergency (TSK-1)."""
_TEXTS: Final[Mapping[tuple[TaskStatus | None, TaskStatus], tuple[str, str]]] = {
    (None, T.BLOCKED): ("blocked_reason", "blockedReason"),
    (None, T.FAILED): ("error", "error"),
    (T.REVIEW, T.IN_PROGRESS): ("feedback", "feedback"),
}
"""The text that goes with a step, from one status or from any: field of the input, key of the record."""


@dataclass
class _Step:
    """A step that is asked for, with what goes with it, and what the guards found that it takes."""

    task: Task
    to: TaskStatus
    reason: str | None
    texts: Mapping[str, str | None]
    """What goes with it in words, by the input's field."""
    work: Mapping[str, Any]
    """Plan, deliverable and checklist that come with it, by column."""
    force_start: bool
    mode: OperatorMode
    """The emergency mode in force."""
    assignees: list[UUID]
    override: Override | None = None
    """A person's way past the emergency."""
    permit: Permit | None = None
    """What policy says to an agent."""
    approval: ApprovalRecord | None = None
    """The request that the step uses up."""

    @property
    def before(self) -> TaskStatus:
        """Where the task is."""
        return self.task.status

    def value(self, column: str) -> Any:
        """A part of the work as it will be."""
        return self.work[column] if column in self.work else getattr(self.task, column)

    def text(self, field: str) -> str | None:
        """A text that the step needs, or the reason in its place."""
        return (self.texts.get(field) or "").strip() or (self.reason or "").strip() or None


@command(
    "transition:tasks",
    ChangeRecordType.TASK_TRANSITIONED,
    callers=(ActorKind.OPERATOR, ActorKind.INSTANCE, ActorKind.PLATFORM),
    or_permission="delete:tasks",
)
async def transition_task(
    uow: UnitOfWork,
    task_id: UUID,
    to: TaskStatus,
    reason: str | None = None,
    expected_status: TaskStatus | None = None,
    blocked_reason: str | None = None,
    error: str | None = None,
    feedback: str | None = None,
    work_plan: JsonObject | None = None,
    deliverable: JsonObject | None = None,
    review_checklist: JsonObject | None = None,
    force_start: bool | None = None,
    confirm_override: bool | None = None,
    session_key: str | None = None,
) -> Done | Refused:
    """TSK-1 to TSK-5. Move a task to another status; the plan, the deliverable and the self-review may come with it.

    An agent moves the tasks that are assigned to it. Cancelling takes `transition:tasks` or `delete:tasks`.
    """
    work = {"work_plan": work_plan, "deliverable": deliverable, "review_checklist": review_checklist}
    found = await check_step(
        uow,
        task_id=task_id,
        to=to,
        reason=reason,
        expected_status=expected_status,
        texts={"blocked_reason": blocked_reason, "error": error, "feedback": feedback},
        work={name: value for name, value in work.items() if value is not None},
        force_start=bool(force_start),
        confirm_override=bool(confirm_override),
    )
    if not isinstance(found, _Step):
        return found
    if found.permit is not None and (refused := await found.permit.use(uow)):
        return refused
    if found.override is not None:
        found.override.use(uow, found.task, reason)
    return Done(found.task, change_id=await _take(uow, found, session_key))


async def check_step(
    uow: UnitOfWork,
    *,
    task_id: UUID,
    to: TaskStatus,
    reason: str | None = None,
    expected_status: TaskStatus | None = None,
    texts: Mapping[str, str | None] | None = None,
    work: Mapping[str, Any] | None = None,
    force_start: bool = False,
    confirm_override: bool = False,
) -> _Step | Done | Refused:
    """TSK-4. Whether a step may be taken: the emergency, the table, the actor, the guards. Locks, and changes nothing
    but the journals; `Done` is what an idempotency key brings back.

    `texts` are what goes with the step in words, `work` its plan, deliverable and checklist.
    """
    if refused := refuse_work(work or {}):
        return refused
    await hold_mode(uow)
    if is_agent(uow):
        await hold_instances(uow, [uow.actor.id])
    task = await lock_task(uow, task_id, _permission(uow, to))
    if isinstance(task, Refused):
        return task
    if (known := await _known(uow, task, to)) is not None:
        return known
    mode = await mode_of(uow, task.project_id)
    override = await pass_gate(uow, task, mode, confirm_override=confirm_override, reason=reason)
    if isinstance(override, Refused):
        return override
    if refused := refuse_step(TASK, task.status, to, uow.actor_type, expected_status, expected_field="expected_status"):
        return refused
    step = _Step(
        task=task,
        to=to,
        reason=reason,
        texts=texts or {},
        work=work or {},
        force_start=force_start,
        mode=mode,
        assignees=await assignees_of(uow, task.id),
        override=override,
    )
    if is_agent(uow):
        permit = await _refuse_agent(uow, step)
        if isinstance(permit, Refused):
            return permit
        step.permit = permit
    return await _guard(uow, step) or step


def refuse_work(work: Mapping[str, Any]) -> Refused | None:
    """Why a plan, a deliverable or a checklist is none."""
    faults = {
        "work_plan": rules.plan_fault,
        "deliverable": rules.deliverable_fault,
        "review_checklist": rules.checklist_fault,
    }
    for name, value in work.items():
        if value is not None and (fault := faults[name](value)):
            return Refused(Refusal.VALIDATION_ERROR, fault, name)
    return None


def _permission(uow: UnitOfWork, to: TaskStatus) -> str | None:
    """Who may cancel may do that, though they may take no other step."""
    is_canceller = to is T.CANCELED and not uow.actor.can("transition:tasks")
    return "delete:tasks" if is_canceller else None


async def _known(uow: UnitOfWork, task: Task, to: TaskStatus) -> Done | Refused | None:
    """TSK-5, SM-3. The step that this key took before, however long ago; on another task or to another status it is a
    conflict."""
    if uow.key is None:
        return None
    statement = select(
        ChangeRecord.id, ChangeRecord.target_id, ChangeRecord.after_state["status"].astext.label("status")
    ).where(ChangeRecord.tenant_id == uow.tenant_id, ChangeRecord.idempotency_key == uow.key)
    found = (await uow.session.execute(statement)).first()
    if found is None:
        return None
    if (found.target_id, found.status) == (task.id, to.value):
        return Done(task, change_id=found.id, is_replay=True)
    message = "The idempotency key was used for another step. Use a new key for a new request."
    return Refused(Refusal.CONFLICT, message, "idempotency_key")


# --- Guards -----------------------------------------------------------------------------------------------------------


async def _refuse_agent(uow: UnitOfWork, step: _Step) -> Permit | Refused:
    """TSK-1, TSK-8. An agent takes work that is nobody else's, and moves what is assigned to it."""
    me, is_claim = uow.actor.id, step.before is T.INBOX
    if is_claim and set(step.assignees) - {me}:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The task is meant for another agent.", "task_id")
    if not is_claim and me not in step.assignees:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "An agent moves the tasks alone that are assigned to it.", "task_id")
    if is_claim and uow.actor.instance_state != InstanceState.ACTIVE:
        message = f"The agent is {uow.actor.instance_state}; one that is ACTIVE takes work."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    return await agent_may(uow, me, step.before, step.to, step.task)


def _missing(step: _Step, field: str, what: str) -> Refused | None:
    return None if step.text(field) else Refused(Refusal.VALIDATION_ERROR, what, field)


async def _guard(uow: UnitOfWork, step: _Step) -> Refused | None:
    """TSK-1. What must be so for the step, the actor apart."""
    match step.to:
        case T.ASSIGNED:
            refused = await _before_assigned(uow, step)
        case T.IN_PROGRESS:
            refused = await _before_work(uow, step)
        case T.REVIEW:
            refused = await _before_review(uow, step)
        case T.BLOCKED:
            refused = _missing(step, "blocked_reason", "Say what the task is blocked by.")
        case T.FAILED:
            refused = await _before_failure(uow, step)
        case T.NEEDS_APPROVAL if step.before is T.IN_PROGRESS and not await approvals_of(uow, step.task.id):
            refused = Refused(Refusal.DEPENDENCY_NOT_MET, "There is no request for approval that it could wait for.")
        case T.DONE:
            refused = await _before_done(uow, step)
        case _:
            refused = None
    return refused or await _leaving(uow, step)


async def _leaving(uow: UnitOfWork, step: _Step) -> Refused | None:
    """What must be so where the task comes from."""
    is_return = step.before is T.NEEDS_APPROVAL and step.to in _RETURNS
    if is_return and is_undecided(await approvals_of(uow, step.task.id)):
        return Refused(Refusal.DEPENDENCY_NOT_MET, "A request for approval of the task is not decided yet.")
    is_undo = step.before is T.BLOCKED and uow.actor_type is ActorType.SYSTEM and step.to in _BY_UNDO
    if is_undo and (step.task.metadata_ or {}).get(FORMER_STATUS) != step.to:
        message = "The gateway takes a blocked task back only to where an emergency took it from (EMG-6)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "to")
    if step.before is T.FAILED and step.to in (T.INBOX, T.ASSIGNED) and _retries(step.task) >= rules.MOST_RETRIES:
        step.approval = await usable_for_task(uow, "TRANSITION", step.task.id)
        if step.approval is None:
            message = (
                f"The task was tried again {rules.MOST_RETRIES} times. Another try needs an approved request of type"
                " TRANSITION for it (LOOP-3)."
            )
            return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    return None


def _retries(task: Task) -> int:
    found = (task.metadata_ or {}).get(_RETRY_COUNT)
    return found if isinstance(found, int) else 0


async def _before_assigned(uow: UnitOfWork, step: _Step) -> Refused | None:
    if step.before is T.INBOX and (refused := await refuse_new_assignment(uow, step.task.project_id)):
        return refused
    if not step.assignees and not is_agent(uow):
        return Refused(Refusal.DEPENDENCY_NOT_MET, "Nobody is assigned to the task. Use `taskAssign`.", "task_id")
    return None


async def _before_work(uow: UnitOfWork, step: _Step) -> Refused | None:
    if not step.assignees:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "Nobody is assigned to the task. Use `taskAssign`.", "task_id")
    if step.before is T.REVIEW:
        return _missing(step, "feedback", "Say what is to be changed.")
    if step.before is not T.ASSIGNED and step.task.started_at is not None:
        return None  # it goes on with what it was begun with
    plan = step.value("work_plan")
    if fault := "A task begins with a work plan." if plan is None else rules.plan_fault(plan):
        return Refused(Refusal.DEPENDENCY_NOT_MET, fault, "work_plan")
    waits_for = await unmet_dependencies(uow, step.task.id)
    if step.force_start and uow.actor_type is ActorType.HUMAN:
        waits_for = [one for one in waits_for if one[1] is not T.CANCELED]
    if waits_for:
        named = ", ".join(f"“{title}” is {status.value}" for title, status in waits_for[:3])
        hint = " A person may start it with `forceStart`." if all(one[1] is T.CANCELED for one in waits_for) else ""
        message = f"It waits for {len(waits_for)} tasks that are not DONE: {named}.{hint}"
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    return None


async def _before_review(uow: UnitOfWork, step: _Step) -> Refused | None:
    if step.before is not T.IN_PROGRESS and step.task.submitted_at is not None:
        return None  # it was submitted already
    if uow.actor_type is ActorType.SYSTEM and step.before in (T.NEEDS_APPROVAL, T.BLOCKED):
        return None  # it is given back
    if fault := rules.submission_fault(step.value("deliverable"), step.value("review_checklist")):
        return Refused(Refusal.DEPENDENCY_NOT_MET, fault[1], fault[0])
    if count := await open_children(uow, step.task.id):
        message = f"{count} parts of the task are not DONE (DAG-4)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    return None


async def _before_failure(uow: UnitOfWork, step: _Step) -> Refused | None:
    if step.before is T.IN_PROGRESS:
        return _missing(step, "error", "Say what went wrong.")
    if step.before is T.NEEDS_APPROVAL and ApprovalDecision.DENIED not in await approvals_of(uow, step.task.id):
        return Refused(Refusal.DEPENDENCY_NOT_MET, "No request for approval of the task was denied.")
    return None


async def _before_done(uow: UnitOfWork, step: _Step) -> Refused | None:
    """APR-13. The approval of a completion is used up by it."""
    task = step.task
    step.approval = await usable_completion(uow, task)
    if step.approval is not None:
        return None
    if step.before is T.NEEDS_APPROVAL or await completion_needs_approval(uow, task.id):
        message = f"This needs an approved request of type {COMPLETE_TASK} for the task."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    return None


# --- The step ---------------------------------------------------------------------------------------------------------


async def _take(uow: UnitOfWork, step: _Step, session_key: str | None) -> UUID:
    """TSK-6. Every guard has been passed: change the rows, and record it."""
    task, before, to = step.task, step.before, step.to
    for name, value in step.work.items():
        setattr(task, name, value)
    if before is T.FAILED and to is not T.CANCELED:
        task.metadata_ = {**(task.metadata_ or {}), _RETRY_COUNT: _retries(task) + 1}
    if to is T.ASSIGNED and not step.assignees:
        await assign_to(uow, task, [uow.actor.id])
    after: JsonObject = {}
    if step.approval is not None:
        step.approval.used_at = uow.now
        after["approvalId"] = str(step.approval.id)
    field, name = _TEXTS.get((before, to)) or _TEXTS.get((None, to)) or (None, "")
    text = None if field is None else step.text(field)
    if text is not None:
        after[name] = text
    metadata: JsonObject = {"operatorMode": step.mode.value}
    if session_key is not None:
        metadata["sessionKey"] = session_key
    if to in (T.REVIEW, T.DONE):
        work = {"deliverable": task.deliverable, "reviewChecklist": task.review_checklist}
        metadata["artifactsSnapshot"] = {name: None if is_hidden(task, name) else one for name, one in work.items()}
    return await move_task(
        uow,
        task,
        to,
        reason=step.reason or text,
        after=after,
        metadata=metadata,
        blocked_reason=text,
        idempotency_key=uow.key,
        instance_id=uow.actor.id if is_agent(uow) else None,
    )
