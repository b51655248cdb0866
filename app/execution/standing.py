"""What holds for a task at this moment: who asks, which emergency is in force, and what policy says to an agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, text

from app.auth.actor import ActorKind
from app.commands import Refusal, Refused
from app.execution.rules.work import NEEDS_TIER, TERMINAL
from app.governance.approving import GRANT
from app.governance.deciding import OPEN
from app.governance.granting import find_grant, grant_of, take_grant
from app.governance.loading import policies_for, policy_in, situation_for
from app.governance.policy import Action, ActionType, EffectivePolicy, evaluate
from app.governance.policy.action import args_hash
from app.governance.policy.gate import gate
from app.governance.question import ENVELOPES, Question
from app.redaction import title_of
from app.registry.commands import mode_of
from app.unit_of_work import UnitOfWork
from db.base import JsonObject, Model
from db.enums import (
    ActorType,
    ApprovalDecision,
    AuditSeverity,
    ChangeRecordType,
    InstanceState,
    OperatorMode,
    OpEventType,
    OrgPosition,
    PolicyVerdict,
    TaskStatus,
    TaskType,
)
from db.models import AgentInstance, ApprovalRecord, OrgAssignment, Task, TaskDependency, Tenant

ASSIGNABLE: Final = (InstanceState.ACTIVE, InstanceState.READONLY)
"""TASK-3. The states in which an agent is given work."""
COMPLETE_TASK: Final = "COMPLETE_TASK"
"""Type of the request that lets a person accept a task (REV-3)."""
OPERATOR_OVERRIDE: Final = "OPERATOR_OVERRIDE"
"""Type of the request, and action of the security journal, of a step past an emergency (EMG-3)."""
_LEADS: Final = (OrgPosition.LEAD, OrgPosition.CEO)
_NO_TASK: Final = "No such task."


def is_agent(uow: UnitOfWork) -> bool:
    """Whether an agent asks, with a token of its own."""
    return uow.actor.kind is ActorKind.INSTANCE


async def hold_mode(uow: UnitOfWork) -> None:
    """EMG-1. Let no emergency begin or end before this transaction does: the first lock of all."""
    await uow.session.execute(select(Tenant.id).where(Tenant.id == uow.tenant_id).with_for_update(read=True))


async def lock_task(uow: UnitOfWork, task_id: UUID, permission: str | None = None) -> Task | Refused:
    """The task, locked, where the caller may change it; an agent sees the tasks of its own project alone (RBAC-11)."""
    task = await uow.lock(Task, task_id)
    if task is None or (is_agent(uow) and task.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, _NO_TASK, "task_id")
    uow.permit(project_id=task.project_id, instance_id=uow.actor.id if is_agent(uow) else None, permission=permission)
    return task


async def hold_instances(uow: UnitOfWork, instance_ids: Sequence[UUID]) -> dict[UUID, AgentInstance]:
    """Agents whose state must not change before this transaction ends; others may give them work meanwhile."""
    statement = (
        select(AgentInstance)
        .where(AgentInstance.tenant_id == uow.tenant_id, AgentInstance.id.in_(instance_ids))
        .order_by(AgentInstance.id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )
    return {one.id: one for one in await uow.session.scalars(statement)}


async def refuse_assignees(
    uow: UnitOfWork,
    instance_ids: Sequence[UUID],
    project_id: UUID,
    task_type: TaskType,
    *,
    field: str = "instance_ids",
) -> Refused | None:
    """TASK-3. Why a task is not given to these agents: of the same project, ACTIVE or READONLY, allowed its type."""
    found = await hold_instances(uow, instance_ids)
    policies = await policies_for(uow, instance_ids)
    for position, instance_id in enumerate(instance_ids):
        where = f"{field}[{position}]"
        instance = found.get(instance_id)
        if instance is None or (is_agent(uow) and instance.project_id != uow.actor.project_id):
            return Refused(Refusal.NOT_FOUND, "No such agent instance.", where)
        if instance.project_id != project_id:
            return Refused(Refusal.VALIDATION_ERROR, "The agent works for another project than the task's.", where)
        if instance.state not in ASSIGNABLE:
            message = f"The agent is {instance.state.value}; one that is ACTIVE or READONLY can be given work."
            return Refused(Refusal.DEPENDENCY_NOT_MET, message, where)
        if not allows(policies[instance_id], task_type):
            message = f"The agent's policy does not allow tasks of type {task_type.value}."
            return Refused(Refusal.DEPENDENCY_NOT_MET, message, where)
    return None


def allows(policy: EffectivePolicy, task_type: TaskType) -> bool:
    """Whether a policy lets its agent do tasks of this type; without a list any (POL-4, POL-8)."""
    return policy.task_types is None or task_type in policy.task_types


async def refuse_new_assignment(uow: UnitOfWork, project_id: UUID) -> Refused | None:
    """EMG-4. Nobody is given new work while an emergency is in force, however mild; for nobody, with no override."""
    mode = await mode_of(uow, project_id)
    if mode is OperatorMode.NORMAL:
        return None
    message = f"The emergency mode is {mode.value}: nobody is given new work until it is NORMAL (EMG-4)."
    return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")


# --- The emergency gate (EMG-2, EMG-3) --------------------------------------------------------------------------------


@dataclass
class Override:
    """A person's way past an emergency: it is on record once the step is taken."""

    mode: OperatorMode
    approval: ApprovalRecord | None = None

    def use(self, uow: UnitOfWork, task: Task, reason: str | None) -> None:
        """EMG-3. Note it in the security journal, and use up the approval."""
        if self.approval is not None:
            self.approval.used_at = uow.now
        uow.audit(
            OPERATOR_OVERRIDE,
            severity=AuditSeverity.WARNING,
            resource="Task",
            resource_id=task.id,
            description=reason,
            metadata={
                "operatorMode": self.mode.value,
                "approvalId": None if self.approval is None else str(self.approval.id),
            },
        )


async def pass_gate(
    uow: UnitOfWork, task: Task, mode: OperatorMode, *, confirm_override: bool, reason: str | None
) -> Override | Refused | None:
    """EMG-2, EMG-3. Whether the emergency lets the caller move the task; a person may go past it, on record."""
    verdict = gate(mode, ActionType.TRANSITION, uow.actor_type)
    if verdict is PolicyVerdict.ALLOW:
        return None
    if uow.actor_type is not ActorType.HUMAN:
        message = f"The emergency mode is {mode.value}: only a person moves tasks (EMG-2)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    if mode is OperatorMode.QUARANTINED:
        approval = await usable_for_task(uow, OPERATOR_OVERRIDE, task.id)
        if approval is None:
            message = (
                "The emergency mode is QUARANTINED: this needs an approved OPERATOR_OVERRIDE for the task (EMG-3)."
            )
            return Refused(Refusal.DEPENDENCY_NOT_MET, message)
        return Override(mode, approval)
    if not confirm_override:
        message = f"The emergency mode is {mode.value}. To go ahead all the same, set `confirmOverride`, and say why."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "confirm_override")
    if not (reason or "").strip():
        return Refused(Refusal.VALIDATION_ERROR, "To override an emergency, say why (EMG-3).", "reason")
    return Override(mode)


# --- Approvals of a task ----------------------------------------------------------------------------------------------


async def usable_for_task(uow: UnitOfWork, request_type: str, task_id: UUID) -> ApprovalRecord | None:
    """The oldest granted approval of this type for a task that has not carried a step yet, locked (APR-13).

    It names the task as its target, or as the task that it is for. A grant to an agent for one exact action (POL-12) is
    for that agent alone.
    """
    return await _usable(
        uow, task_id, ApprovalRecord.request_type == request_type, ApprovalRecord.metadata_[GRANT].is_(None)
    )


async def usable_completion(uow: UnitOfWork, task: Task) -> ApprovalRecord | None:
    """The oldest unused approval that lets a person accept a task, locked: COMPLETE_TASK, whoever asked for it, decided
    since the task was submitted, for an earlier one was about an earlier deliverable; for an imported task any that
    Mission Control knew (section 0b)."""
    is_imported = ApprovalRecord.legacy_approval_id.is_not(None)
    is_about_this = ApprovalRecord.request_type == COMPLETE_TASK
    if task.submitted_at is not None:
        is_about_this &= func.coalesce(ApprovalRecord.decided_at, ApprovalRecord.created_at) >= task.submitted_at
    return await _usable(uow, task.id, or_(is_about_this, is_imported))


async def _usable(uow: UnitOfWork, task_id: UUID, *conditions: ColumnElement[bool]) -> ApprovalRecord | None:
    statement = (
        select(ApprovalRecord)
        .where(
            *_about_task(uow, task_id),
            *conditions,
            ApprovalRecord.status == ApprovalDecision.APPROVED,
            ApprovalRecord.used_at.is_(None),
        )
        .order_by(ApprovalRecord.id)
        .limit(1)
        .with_for_update(key_share=True)
    )
    return (await uow.session.scalars(statement)).first()


def _about_task(uow: UnitOfWork, task_id: UUID) -> tuple[ColumnElement[bool], ...]:
    is_target = and_(ApprovalRecord.target_entity == Task.__name__, ApprovalRecord.target_id == task_id)
    return ApprovalRecord.tenant_id == uow.tenant_id, or_(ApprovalRecord.task_id == task_id, is_target)


async def approvals_of(uow: UnitOfWork, task_id: UUID) -> Sequence[ApprovalDecision]:
    """How the requests stand that are for a task or about it."""
    statement = select(ApprovalRecord.status).where(*_about_task(uow, task_id)).distinct()
    return list(await uow.session.scalars(statement))


def is_undecided(statuses: Sequence[ApprovalDecision]) -> bool:
    """Whether any request waits for its decision."""
    return any(one in OPEN for one in statuses)


# --- What a task waits for --------------------------------------------------------------------------------------------


async def unmet_dependencies(uow: UnitOfWork, task_id: UUID) -> Sequence[tuple[str, TaskStatus]]:
    """DAG-2. Title and status of each task that this one waits for and that is not DONE."""
    statement = (
        select(Task.title, Task.redacted_fields, Task.status)
        .join(
            TaskDependency,
            (TaskDependency.tenant_id == Task.tenant_id) & (TaskDependency.depends_on_task_id == Task.id),
        )
        .where(Task.tenant_id == uow.tenant_id, TaskDependency.task_id == task_id, Task.status != TaskStatus.DONE)
        .order_by(Task.id)
    )
    return [(title_of(row), row.status) for row in await uow.session.execute(statement)]


# --- Policy -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Permit:
    """What lets an agent take a step: policy itself, or a grant that is still to be used up (POL-12)."""

    policy: EffectivePolicy
    grant: JsonObject | None = None

    async def use(self, uow: UnitOfWork) -> Refused | None:
        """Use the grant up; refused where somebody was faster. The last check, since it changes a row."""
        if self.grant is None or await take_grant(uow, self.grant, Decimal(0)) is not None:
            return None
        return Refused(Refusal.CONFLICT, "The approval of this step was used by another request. Ask for a new one.")


async def agent_may(
    uow: UnitOfWork, instance_id: UUID, before: TaskStatus, to: TaskStatus, task: Task | None
) -> Permit | Refused:
    """TSK-8, POL-2. Whether an agent may take a step: its state, its tier, and what policy says to a TRANSITION.

    A DENY is on record (decision 4); where policy asks for a person, an approved request for exactly this step lets it
    through once. Changes nothing but the journals.
    """
    question = Question(
        tenant_id=uow.tenant_id, now=uow.now, instance_id=instance_id, task_id=None if task is None else task.id
    )
    found = await situation_for(uow, question)
    if found is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    policy = found.facts.policy
    needed = NEEDS_TIER.get((before, to), 1)
    if policy.tier < needed:
        message = f"An agent of tier {policy.tier} does not take this step; from tier {needed} on it does (TSK-8)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "to")
    action = Action(type=ActionType.TRANSITION, transition_to=to)
    decision = evaluate(found.facts, action)
    if decision.verdict is PolicyVerdict.ALLOW:
        return Permit(policy)
    if decision.verdict is PolicyVerdict.DENY:
        about: JsonObject = {
            "project_id": found.project_id,
            "instance_id": found.instance_id,
            "version_id": found.version_id,
        }
        payload = {
            "decision": decision.verdict.value,
            "reason": decision.reason,
            "actionType": action.type.value,
            "transitionTo": to.value,
            "risk": decision.risk.value,
        }
        target: Model = AgentInstance(id=instance_id)
        change_id = uow.record(
            ChangeRecordType.POLICY_EVALUATED,
            target,
            after={**payload, "violations": list(decision.violations)},
            reason=decision.reason,
            **about,
        )
        task_id = None if task is None else task.id
        uow.emit(OpEventType.DECISION_MADE, payload=payload, change_record_id=change_id, task_id=task_id, **about)
        hint = " ".join([decision.reason, *decision.hints[:1]])
        return Refused(Refusal.DEPENDENCY_NOT_MET, hint, keeps=True)
    grant = grant_of(action, args_hash({}), instance_id=instance_id, task_id=None if task is None else task.id)
    if await find_grant(uow, grant, Decimal(0)) is None:
        message = (
            f"{decision.reason} Ask for it with `policyEvaluate` (actionType TRANSITION), and take the step once it is"
            " approved."
        )
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    return Permit(policy, grant)


_SUBJECTS: Final = text(
    f"""
WITH subject AS (
    SELECT task.tenant_id, task.project_id, instance.id AS instance_id, instance.version_id,
        instance.policy_envelope_id, version.template_id
    FROM tasks task
    LEFT JOIN task_assignees assignee ON assignee.tenant_id = task.tenant_id AND assignee.task_id = task.id
    LEFT JOIN agent_instances instance
        ON instance.tenant_id = assignee.tenant_id AND instance.id = assignee.instance_id
    LEFT JOIN agent_versions version ON version.tenant_id = instance.tenant_id AND version.id = instance.version_id
    WHERE task.tenant_id = :tenant AND task.id = :task
)
SELECT subject.policy_envelope_id, {ENVELOPES}::text AS envelopes,
    tenant.settings -> 'safetyFloor' ->> 'maxTier' AS max_tier
FROM subject JOIN tenants tenant ON tenant.id = subject.tenant_id
"""
)


async def completion_needs_approval(uow: UnitOfWork, task_id: UUID) -> bool:
    """TSK-1. Whether the policy in force for any of a task's agents, or for its project where it has none, wants a
    person's approval before it is DONE: the trigger `transition:DONE` (POL-7)."""
    rows = await uow.session.execute(_SUBJECTS, {"tenant": uow.tenant_id, "task": task_id})
    return any("transition:DONE" in (policy_in(row).values["approval_triggers"] or ()) for row in rows)


async def leads(uow: UnitOfWork, instance: AgentInstance) -> bool:
    """TSK-8. Whether an agent may give work to others: LEAD or CEO of its project, or once of the legacy system."""
    if (instance.metadata_ or {}).get("legacyRole") in _LEADS:
        return True
    statement = (
        select(OrgAssignment.id)
        .where(
            OrgAssignment.tenant_id == uow.tenant_id,
            OrgAssignment.instance_id == instance.id,
            OrgAssignment.project_id == instance.project_id,
            OrgAssignment.org_position.in_(_LEADS),
        )
        .limit(1)
    )
    return await uow.session.scalar(statement) is not None


async def open_children(uow: UnitOfWork, task_id: UUID) -> int:
    """DAG-4. How many parts of a task are neither DONE nor dropped."""
    statement = select(func.count()).where(
        Task.tenant_id == uow.tenant_id, Task.parent_task_id == task_id, Task.status.not_in(TERMINAL)
    )
    return await uow.session.scalar(statement) or 0
