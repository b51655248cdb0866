"""Commands of approvals: asked for, decided on by somebody else, withdrawn (APR-1 to APR-5, APR-9)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from app.commands import Done, Refusal, Refused, command
from app.governance.approving import make_request
from app.governance.deciding import has_expired, lock_requests, note_stage, request_records, settle
from app.governance.machines import APPROVAL
from app.governance.rules import (
    LONGEST_REQUEST,
    REQUEST_TARGETS,
    REQUEST_TYPES,
    ApprovalChoice,
    needs_reason,
    needs_way_back,
    votes_needed,
)
from app.lifecycle import refuse_step
from app.unit_of_work import UnitOfWork
from db import models
from db.base import Model
from db.enums import ApprovalDecision, AuditSeverity, ChangeRecordType, RiskLevel
from db.models import AgentVersion, ApprovalRecord, Deployment, Project, Task, Tenant

_MOST_VOTES = 10


@command("write:approvals", ChangeRecordType.APPROVAL_REQUESTED)
async def request_approval(
    uow: UnitOfWork,
    request_type: str,
    action_summary: str,
    justification: str,
    risk_level: RiskLevel,
    target_id: tuple[str, UUID] | None = None,
    rollback_plan: str | None = None,
    estimated_cost: float | None = None,
    required_decision_count: int | None = None,
    expires_at: datetime | None = None,
    evidence_links: list[str] | None = None,
    action_payload: object = None,
    project_id: UUID | None = None,
    task_id: UUID | None = None,
) -> ApprovalRecord | Refused:
    """APR-1 to APR-3, APR-6. Ask for approval of an action; whoever asks does not decide."""
    if refused := _bad_request(
        uow, request_type, action_summary, justification, risk_level, rollback_plan, required_decision_count, expires_at
    ):
        return refused
    needed = REQUEST_TARGETS.get(request_type)
    if needed is not None and (target_id is None or target_id[0] != needed):
        message = f"A request of type {request_type} names as its target what it is about, by the id of its {needed}."
        return Refused(Refusal.VALIDATION_ERROR, message, "target_id")
    target = None if target_id is None else await _target(uow, *target_id)
    if target_id is not None and target is None:
        return Refused(Refusal.NOT_FOUND, f"No such {target_id[0]}.", "target_id")
    task = await uow.get(Task, task_id)
    if task_id is not None and task is None:
        return Refused(Refusal.NOT_FOUND, "No such task.", "task_id")
    if project_id is not None and await uow.get(Project, project_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    project = _project_of(target, task, project_id)
    if project != (project_id or project):
        message = "What the request is about belongs to another project, or to none. Leave the project out."
        return Refused(Refusal.VALIDATION_ERROR, message, "project_id")
    if task is not None and task.project_id != project:
        return Refused(Refusal.VALIDATION_ERROR, "The task belongs to another project than the request.", "task_id")
    uow.permit(project_id=project, environment_id=getattr(target, "environment_id", None))
    return make_request(
        uow,
        request_type,
        action_summary=action_summary.strip(),
        justification=justification.strip(),
        risk_level=risk_level,
        target=target,
        expires_at=expires_at,
        required_decision_count=required_decision_count,
        estimated_cost=estimated_cost,
        project_id=project,
        task_id=task_id,
        version_id=target_id[1] if target_id is not None and isinstance(target, AgentVersion) else None,
        evidence_links=evidence_links,
        rollback_plan=rollback_plan,
        action_payload=action_payload,
    ).approval


def _bad_request(
    uow: UnitOfWork,
    request_type: str,
    action_summary: str,
    justification: str,
    risk_level: RiskLevel,
    rollback_plan: str | None,
    votes: int | None,
    expires_at: datetime | None,
) -> Refused | None:
    """What APR-1, APR-2 and APR-6 ask of a request."""
    least = votes_needed(risk_level)
    latest = uow.now + LONGEST_REQUEST
    faults = (
        (request_type not in REQUEST_TYPES, f"`requestType` is one of {', '.join(REQUEST_TYPES)}.", "request_type"),
        (not action_summary.strip(), "Say in a sentence what is to be approved.", "action_summary"),
        (not justification.strip(), "Say why the action is needed.", "justification"),
        (
            needs_way_back(request_type, risk_level) and not (rollback_plan or "").strip(),
            "A RED request, a deployment and a promotion say how to put things back.",
            "rollback_plan",
        ),
        (
            votes is not None and not least <= votes <= _MOST_VOTES,
            f"This needs {least} votes at least, and {_MOST_VOTES} at most can be asked for.",
            "required_decision_count",
        ),
        (
            expires_at is not None and not uow.now < expires_at <= latest,
            f"A request stays open for {LONGEST_REQUEST.days} days at most, and does not end in the past.",
            "expires_at",
        ),
    )
    for is_so, message, field in faults:
        if is_so:
            return Refused(Refusal.VALIDATION_ERROR, message, field)
    return None


async def _target(uow: UnitOfWork, type_name: str, row_id: UUID) -> Model | None:
    """The row that a request is about; the tenant is known by its id alone (decision 10)."""
    if type_name == Tenant.__name__:
        return await uow.tenant() if row_id == uow.tenant_id else None
    model: type[Model] = getattr(models, type_name)
    return await uow.get(model, row_id)


def _project_of(target: Model | None, task: Task | None, given: UUID | None) -> UUID | None:
    """Whose approvers may decide: the project of what the request is about, whatever the request says."""
    if target is not None:
        own: UUID | None = getattr(target, "id" if isinstance(target, Project) else "project_id", None)
        return own
    return given or (None if task is None else task.project_id)


@command("approve:approvals", ChangeRecordType.APPROVAL_DECIDED, is_sensitive=True, or_permission="reject:approvals")
async def decide_approval(
    uow: UnitOfWork,
    approval_id: UUID,
    decision: ApprovalChoice,
    reason: str | None = None,
    expected_status: ApprovalDecision | None = None,
) -> Done | Refused:
    """APR-4, APR-5. Approve or deny somebody else's request; RED takes two people, and denying takes one."""
    approval = await _open_request(uow, approval_id)
    if isinstance(approval, Refused):
        return approval
    is_denial = decision is ApprovalChoice.DENY
    uow.permit(
        project_id=approval.project_id,
        environment_id=await _environment_of(uow, approval),
        permission="reject:approvals" if is_denial else "approve:approvals",
    )
    goal = ApprovalDecision.DENIED if is_denial else ApprovalDecision.APPROVED
    if refused := await _not_open(uow, approval, goal, "decision", expected_status):
        return refused
    if refused := await _own_request(uow, approval):
        return refused
    if needs_reason(decision, approval.risk_level) and not (reason or "").strip():
        return Refused(Refusal.VALIDATION_ERROR, "Denying, and deciding on RED, takes a reason.", "reason")
    votes = [*(approval.decisions or [])]
    if not is_denial and any(vote.get("operatorId") == str(uow.actor.id) for vote in votes):
        message = "You have approved this already; the second vote is somebody else's (APR-4)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "approval_id")
    vote = {"operatorId": str(uow.actor.id), "decision": goal.value, "reason": reason, "at": uow.now.isoformat()}
    approval.decisions = [*votes, vote]
    if not is_denial:
        approval.decision_count += 1
    missing = 0 if is_denial else max(0, approval.required_decision_count - approval.decision_count)
    if missing:
        asked = await request_records(uow, [approval.id])
        stage = "FIRST_APPROVAL" if approval.decision_count == 1 else "FURTHER_APPROVAL"
        note_stage(
            uow, approval, stage, asked.get(approval.id), operatorId=str(uow.actor.id), reason=reason, missing=missing
        )
    else:
        await settle(uow, approval, goal, reason)
    return Done(approval, {"pending_second_decision": missing > 0})


@command("write:approvals", ChangeRecordType.APPROVAL_DECIDED)
async def cancel_approval(
    uow: UnitOfWork, approval_id: UUID, reason: str | None = None, expected_status: ApprovalDecision | None = None
) -> ApprovalRecord | Refused:
    """APR-9. Withdraw one's own request that is still open, or one that an agent has made."""
    approval = await _open_request(uow, approval_id)
    if isinstance(approval, Refused):
        return approval
    uow.permit(project_id=approval.project_id, environment_id=await _environment_of(uow, approval))
    if refused := await _not_open(uow, approval, ApprovalDecision.CANCELED, "approval_id", expected_status):
        return refused
    if approval.requester_id is not None and approval.requester_id != uow.actor.id:
        message = "Only whoever made the request withdraws it; it can be denied instead (APR-9)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "approval_id")
    await settle(uow, approval, ApprovalDecision.CANCELED, reason)
    return approval


async def _open_request(uow: UnitOfWork, approval_id: UUID) -> ApprovalRecord | Refused:
    found = await lock_requests(uow, [approval_id])
    return found[0] if found else Refused(Refusal.NOT_FOUND, "No such approval.", "approval_id")


async def _environment_of(uow: UnitOfWork, approval: ApprovalRecord) -> UUID | None:
    """Where a deployment or an agent that the request is about runs: a grant for that environment covers it."""
    if approval.target_entity not in ("Deployment", "AgentInstance"):
        return None
    target = await uow.get(getattr(models, approval.target_entity), approval.target_id)
    environment: UUID | None = getattr(target, "environment_id", None)
    return environment


async def _not_open(
    uow: UnitOfWork,
    approval: ApprovalRecord,
    goal: ApprovalDecision,
    field: str,
    expected: ApprovalDecision | None,
) -> Refused | None:
    """SM-2, SM-3, APR-7. Why it can no longer be decided; one that is past its time is ended here and now."""
    if refused := refuse_step(
        APPROVAL, approval.status, goal, uow.actor_type, expected, expected_field="expected_status"
    ):
        return refused if refused.code is Refusal.CONFLICT else replace(refused, field=field)
    if not has_expired(uow, approval):
        return None
    await settle(uow, approval, ApprovalDecision.EXPIRED, "nobody decided in time")
    message = "The request has expired. Make a new one."
    return Refused(Refusal.INVALID_STATE_TRANSITION, message, field, (), keeps=True)


async def _own_request(uow: UnitOfWork, approval: ApprovalRecord) -> Refused | None:
    """APR-5. Nobody decides on their own request, on the promotion of a version or on a release that they made."""
    makers = {approval.requester_id}
    if approval.request_type == "VERSION_PROMOTION" and approval.target_entity == AgentVersion.__name__:
        version = await uow.get(AgentVersion, approval.target_id)
        makers.add(None if version is None else version.created_by_operator_id)
    if approval.request_type == "DEPLOYMENT" and approval.target_entity == Deployment.__name__:
        deployment = await uow.get(Deployment, approval.target_id)
        makers.add(None if deployment is None else deployment.created_by_operator_id)
    if uow.actor.id not in makers:
        return None
    uow.audit(
        "ACCESS_DENIED",
        severity=AuditSeverity.WARNING,
        resource=ApprovalRecord.__name__,
        resource_id=approval.id,
        description="They tried to decide on a request of their own.",
    )
    message = "Nobody decides on their own request, version or release. Ask somebody else (APR-5)."
    return Refused(Refusal.DEPENDENCY_NOT_MET, message, "approval_id")
