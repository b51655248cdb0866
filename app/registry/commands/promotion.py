"""The lifecycle of a version (VER-1): who moves it, and what must be so first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select

from app.commands import Done, Refusal, Refused, command
from app.governance.standing import effective_tier, usable_approval
from app.lifecycle import refuse_step
from app.registry.genome import genome_faults
from app.registry.integrity import refuse_tampered
from app.registry.machines import VERSION
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ChangeRecordType,
    DeploymentStatus,
    EvalStatus,
    EvaluationRunStatus,
    EvaluationTrigger,
    InstanceState,
    LifecycleState,
)
from db.models import (
    AgentInstance,
    AgentVersion,
    AgentVersionApproval,
    ApprovalRecord,
    Deployment,
    EvaluationRun,
    EvaluationSuite,
)

PROMOTION: Final = "VERSION_PROMOTION"
_TIER_FREE_TO_TEST: Final = 2
_TIER_FREE_TO_APPROVE: Final = 3
"""From these tiers on a promotion needs no approval (VER-1)."""
_TOLD: Final[Mapping[tuple[LifecycleState, LifecycleState], str]] = {
    (LifecycleState.CANDIDATE, LifecycleState.APPROVED): "VERSION_APPROVED",
    (LifecycleState.CANDIDATE, LifecycleState.DRAFT): "VERSION_REJECTED",
}
"""NOT-3. Steps of which the owners of the template hear."""
_OPEN_RUNS: Final = (EvaluationRunStatus.PENDING, EvaluationRunStatus.RUNNING)


@command("transition:versions", ChangeRecordType.VERSION_TRANSITIONED)
async def transition_version(
    uow: UnitOfWork,
    version_id: UUID,
    to: LifecycleState,
    reason: str | None = None,
    expected_state: LifecycleState | None = None,
) -> AgentVersion | Done | Refused:
    """VER-1, VER-3. Move a version along its lifecycle; testing opens an evaluation run of every suite that applies."""
    version = await uow.lock(AgentVersion, version_id)
    if version is None:
        return Refused(Refusal.NOT_FOUND, "No such agent version.", "version_id")
    uow.permit()
    before = version.lifecycle_state
    if refused := refuse_step(VERSION, before, to, uow.actor_type, expected_state):
        return refused
    if to is LifecycleState.APPROVED:
        uow.permit(permission="approve:versions")
    guard = _GUARDS.get((before, to))
    found = None if guard is None else await guard(uow, version)
    if isinstance(found, Refused):
        return found
    version.lifecycle_state = to
    after: JsonObject = {"lifecycleState": to.value, **(found or {})}
    uow.record(
        ChangeRecordType.VERSION_TRANSITIONED,
        version,
        before={"lifecycleState": before.value},
        after=after,
        reason=reason,
        version_id=version.id,
    )
    if (told := _TOLD.get((before, to))) is not None:
        uow.notify(told, version, {"name": version.version_label or str(version.id)})
    return version


async def _begin_testing(uow: UnitOfWork, version: AgentVersion) -> JsonObject | Refused:
    """DRAFT to TESTING: a complete genome, and at least one active suite that judges it (decision 37)."""
    for path, fault in genome_faults(version.genome):
        return Refused(Refusal.DEPENDENCY_NOT_MET, f"The genome is incomplete: `{path}` {fault}.", "version_id")
    suites = await applicable_suites(uow, version)
    if not suites:
        message = "No active evaluation suite applies to this version. Make one for its template, or for all templates."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    for suite in suites:
        uow.add(
            EvaluationRun(
                suite_id=suite.id,
                version_id=version.id,
                triggered_by=EvaluationTrigger.STATE_TRANSITION,
                status=EvaluationRunStatus.PENDING,
                previous_eval_status=version.eval_status,
                triggered_by_operator_id=uow.actor_id,
            )
        )
    version.eval_status = EvalStatus.RUNNING
    return {"evalStatus": EvalStatus.RUNNING.value, "evaluationRuns": len(suites)}


async def _to_candidate(uow: UnitOfWork, version: AgentVersion) -> JsonObject | Refused:
    """TESTING to CANDIDATE: evaluation passed, which no approval can stand in for; below tier 2 an approval too."""
    if version.eval_status is not EvalStatus.PASS:
        message = f"Its evaluation is {version.eval_status.value}; a candidate must have PASS (EVL-4)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    return await _carry(uow, version, _TIER_FREE_TO_TEST)


async def _to_approved(uow: UnitOfWork, version: AgentVersion) -> JsonObject | Refused:
    """CANDIDATE to APPROVED: the hash holds, and below tier 3 there is an approval."""
    if refused := await refuse_tampered(uow, version):
        return refused
    return await _carry(uow, version, _TIER_FREE_TO_APPROVE)


async def _carry(uow: UnitOfWork, version: AgentVersion, free_from: int) -> JsonObject | Refused:
    if await effective_tier(uow, version) >= free_from:
        return {}
    approval = await usable_approval(uow, PROMOTION, "AgentVersion", version.id)
    if approval is None:
        message = f"Below autonomy tier {free_from} this needs an approved request of type {PROMOTION} for the version."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    await _use(uow, version, approval)
    return {"approvalId": str(approval.id)}


async def _use(uow: UnitOfWork, version: AgentVersion, approval: ApprovalRecord) -> None:
    """An approval carries one promotion, and stands in the version's list from then on."""
    approval.used_at = uow.now
    count = await uow.session.scalar(
        select(func.count())
        .select_from(AgentVersionApproval)
        .where(AgentVersionApproval.tenant_id == uow.tenant_id, AgentVersionApproval.version_id == version.id)
    )
    link = AgentVersionApproval(version_id=version.id, approval_id=approval.id, position=count or 0)
    link.tenant_id = uow.tenant_id
    uow.session.add(link)


async def _back_to_draft(uow: UnitOfWork, version: AgentVersion) -> JsonObject | Refused:
    """TESTING to DRAFT: open evaluation runs are canceled, and the verdict is what it was before them (EVL-3)."""
    open_runs = select(EvaluationRun).where(
        EvaluationRun.tenant_id == uow.tenant_id,
        EvaluationRun.version_id == version.id,
        EvaluationRun.status.in_(_OPEN_RUNS),
    )
    runs = list(await uow.session.scalars(open_runs.order_by(EvaluationRun.id).with_for_update()))
    for run in runs:
        run.status, run.completed_at = EvaluationRunStatus.CANCELED, uow.now
    if runs:
        version.eval_status = runs[0].previous_eval_status or EvalStatus.NOT_RUN
    return {"canceledEvaluationRuns": len(runs)}


async def _retire(uow: UnitOfWork, version: AgentVersion) -> JsonObject | Refused:
    """DEPRECATED to RETIRED: nobody runs it and no release wants it."""
    running = await uow.session.scalar(
        select(func.count())
        .select_from(AgentInstance)
        .where(
            AgentInstance.tenant_id == uow.tenant_id,
            AgentInstance.version_id == version.id,
            AgentInstance.state != InstanceState.RETIRED,
        )
    )
    if running:
        message = f"{running} of its instances are not retired. Retire them first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    wanted = await uow.session.scalar(
        select(func.count())
        .select_from(Deployment)
        .where(
            Deployment.tenant_id == uow.tenant_id,
            Deployment.target_version_id == version.id,
            Deployment.status.in_((DeploymentStatus.PENDING, DeploymentStatus.ACTIVE)),
        )
    )
    if wanted:
        message = f"{wanted} deployments target it. Retire them or replace them first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    return {}


async def applicable_suites(uow: UnitOfWork, version: AgentVersion) -> list[EvaluationSuite]:
    """VER-1, EVL-4. The active suites of the version's template; where it has none, the tenant's general ones."""
    found = list(
        await uow.session.scalars(
            select(EvaluationSuite)
            .where(
                EvaluationSuite.tenant_id == uow.tenant_id,
                EvaluationSuite.active.is_(True),
                or_(EvaluationSuite.template_id == version.template_id, EvaluationSuite.template_id.is_(None)),
            )
            .order_by(EvaluationSuite.id)
        )
    )
    return [suite for suite in found if suite.template_id] or found


Guard = Callable[[UnitOfWork, AgentVersion], Awaitable["JsonObject | Refused"]]
_GUARDS: Final[Mapping[tuple[LifecycleState, LifecycleState], Guard]] = {
    (LifecycleState.DRAFT, LifecycleState.TESTING): _begin_testing,
    (LifecycleState.TESTING, LifecycleState.CANDIDATE): _to_candidate,
    (LifecycleState.TESTING, LifecycleState.DRAFT): _back_to_draft,
    (LifecycleState.CANDIDATE, LifecycleState.APPROVED): _to_approved,
    (LifecycleState.DEPRECATED, LifecycleState.RETIRED): _retire,
}
"""What must be so for a step, and what it brings along; the result goes into the record's after state."""
