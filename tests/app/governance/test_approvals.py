"""APR-1 to APR-13: requests, votes, deadlines and what follows, against a database."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.auth.actor import Actor
from app.auth.scope import Grants, Scope
from app.commands import Done, Refused
from app.governance.machines import APPROVAL
from app.governance.rules import ALWAYS_DECIDED, REQUEST_TARGETS, REQUEST_TYPES, ApprovalChoice
from app.lifecycle import allowed_from, refuse_step
from app.unit_of_work import PermissionDenied, run, run_as_system
from db import models
from db.enums import (
    ActorType,
    ApprovalDecision,
    InstanceState,
    LifecycleState,
    OperatorMode,
    PauseCause,
    RiskLevel,
    RunStatus,
    TaskStatus,
    TaskType,
    ToolCallStatus,
)
from db.ids import new_id
from tests.asking import ask
from tests.governed import Registry

A = ApprovalDecision
APPROVE, DENY = ApprovalChoice
H, S, G = ActorType.HUMAN, ActorType.SYSTEM, ActorType.AGENT
APPROVAL_ROWS = {
    (at, to): who
    for at in (A.PENDING, A.ESCALATED)
    for to, who in {
        A.ESCALATED: {S},
        A.APPROVED: {H, S},
        A.DENIED: {H},
        A.EXPIRED: {S},
        A.CANCELED: {H, S},
    }.items()
}


@dataclass
class Desk:
    """A tenant with people who ask and people who decide."""

    registry: Registry
    people: list[models.Operator]

    @property
    def asker(self) -> Actor:
        return self.registry.actor

    def person(self, at: int) -> Actor:
        """One of the others, who may do everything."""
        return self.registry.tenant.actor(operator_id=self.people[at].id)

    async def request(self, risk: RiskLevel = RiskLevel.YELLOW, **more: Any) -> models.ApprovalRecord:
        """A request by the asker."""
        given = {
            "request_type": "OPERATOR_OVERRIDE",
            "action_summary": "Do it.",
            "justification": "Because.",
            "risk_level": risk,
            "rollback_plan": "Undo it.",
            **more,
        }
        row: models.ApprovalRecord = await self.registry.done("request_approval", **given)
        return row

    async def decide(
        self, approval: models.ApprovalRecord, choice: ApprovalChoice, who: Actor | int = 0, **more: Any
    ) -> Done | Refused:
        """A vote."""
        actor = who if isinstance(who, Actor) else self.person(who)
        given = {"approval_id": approval.id, "decision": choice, "reason": "fine", **more}
        return await run(self.registry.tenant.database, actor, "decide_approval", given)

    async def system(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A command of the jobs."""
        tenant = self.registry.tenant
        outcome = await run_as_system(tenant.database, tenant.id, name, arguments)
        assert isinstance(outcome, Done)
        return outcome.extras

    async def rows(self, model: Any) -> list[Any]:
        """Every row of a kind, oldest first."""
        tenant = self.registry.tenant
        async with tenant.database.transaction(tenant.actor()) as session:
            return list(await session.scalars(select(model).where(model.tenant_id == tenant.id).order_by(model.id)))

    async def row(self, approval: models.ApprovalRecord) -> models.ApprovalRecord:
        """The request as it is now."""
        (found,) = [one for one in await self.rows(models.ApprovalRecord) if one.id == approval.id]
        assert isinstance(found, models.ApprovalRecord)
        return found

    async def change(self, approval: models.ApprovalRecord, **values: Any) -> None:
        """Put a request into a state, without the commands."""
        tenant = self.registry.tenant
        table = models.ApprovalRecord
        async with tenant.database.transaction(tenant.actor()) as session:
            await session.execute(
                update(table).where(table.tenant_id == tenant.id, table.id == approval.id).values(**values)
            )

    async def stages(self) -> list[str]:
        """Stages of the events, in order."""
        return [row.payload["stage"] for row in await self.rows(models.OpEvent) if "stage" in (row.payload or {})]

    async def told(self) -> list[str]:
        """Types of the notification events, in order."""
        return [row.event_type for row in await self.rows(models.NotificationEvent)]


@pytest.fixture
async def desk(registry: Registry) -> Desk:
    """An asker and three others."""
    people = [models.Operator(id=new_id(), auth_id=f"p{n}", name=f"P{n}", email=f"p{n}@example.com") for n in range(3)]
    await registry.tenant.add(*people)
    return Desk(registry, people)


def done(outcome: Done | Refused) -> Done:
    """The success that it must be."""
    assert isinstance(outcome, Done), outcome
    return outcome


def refused(outcome: Done | Refused) -> Refused:
    """The refusal that it must be."""
    assert isinstance(outcome, Refused), outcome
    return outcome


# --- The machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "target", "actor"), [*product(A, A, ActorType)])
def test_approval_machine(state: ApprovalDecision, target: ApprovalDecision, actor: ActorType) -> None:
    """Behaviour 1.4, row by row: each step by whom it names, every other refused with what is legal (SM-2)."""
    found = refuse_step(APPROVAL, state, target, actor)
    assert (found is None) is (actor in APPROVAL_ROWS.get((state, target), set()))
    legal = {to.value for (at, to), who in APPROVAL_ROWS.items() if at is state and actor in who}
    assert set(allowed_from(APPROVAL, state, actor)) == legal


# --- Asking -----------------------------------------------------------------------------------------------------------


async def test_apr_1_a_request_with_its_record_event_and_notification(desk: Desk) -> None:
    """APR-10, APR-11. One record, one event linked to it, one notification for approvers."""
    approval = await desk.request(evidence_links=["https://example.com/log"], estimated_cost=2.5)
    assert (approval.status, approval.requester_id) == (A.PENDING, desk.registry.operator.id)
    assert await desk.registry.types() == ["APPROVAL_REQUESTED"]
    assert await desk.stages() == ["REQUESTED"]
    assert await desk.told() == ["APPROVAL_REQUIRED"]
    (record,), (event,) = await desk.rows(models.ChangeRecord), await desk.rows(models.OpEvent)
    assert event.change_record_id == record.id


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"request_type": "DANCE"}, "request_type"),
        ({"action_summary": " "}, "action_summary"),
        ({"justification": "\n"}, "justification"),
        ({"risk_level": RiskLevel.RED, "rollback_plan": None}, "rollback_plan"),
        ({"risk_level": RiskLevel.RED, "required_decision_count": 1}, "required_decision_count"),
        ({"required_decision_count": 0}, "required_decision_count"),
        ({"required_decision_count": 11}, "required_decision_count"),
        ({"expires_at": datetime.now(UTC) - timedelta(minutes=1)}, "expires_at"),
        ({"expires_at": datetime.now(UTC) + timedelta(days=8)}, "expires_at"),
    ],
)
async def test_apr_1_what_a_request_must_have(desk: Desk, more: dict[str, Any], field: str) -> None:
    """APR-1, APR-2, APR-6. The refusal names the field, and nothing is left behind."""
    base = {"request_type": "OPERATOR_OVERRIDE", "action_summary": "Do.", "justification": "Why.", "rollback_plan": "x"}
    found = await desk.registry.refused("request_approval", **{"risk_level": RiskLevel.YELLOW, **base, **more})
    assert (found.code, found.field) == ("VALIDATION_ERROR", field)
    assert await desk.rows(models.ApprovalRecord) == []


@pytest.mark.parametrize("request_type", REQUEST_TARGETS)
async def test_apr_13_what_is_looked_for_by_its_row_names_it(desk: Desk, request_type: str) -> None:
    """Without its target, or with another kind of row, an approval would never be found again."""
    given = {"request_type": request_type, "action_summary": "a", "justification": "b", "rollback_plan": "c"}
    for target in (None, ("Operator", desk.people[0].id)):
        found = await desk.registry.refused("request_approval", risk_level=RiskLevel.YELLOW, target_id=target, **given)
        assert (found.code, found.field) == ("VALIDATION_ERROR", "target_id")
    unknown = await desk.registry.refused(
        "request_approval",
        risk_level=RiskLevel.YELLOW,
        target_id=(REQUEST_TARGETS[request_type], new_id()),
        **given,
    )
    assert unknown.code == "NOT_FOUND"


@pytest.mark.parametrize("request_type", sorted(set(REQUEST_TYPES) - set(REQUEST_TARGETS)))
async def test_apr_3_green_is_approved_as_it_is_made(desk: Desk, request_type: str) -> None:
    """With both records, and nobody as its decider; the types that a person always decides have a target each."""
    assert set(REQUEST_TARGETS) >= ALWAYS_DECIDED
    approval = await desk.request(RiskLevel.GREEN, request_type=request_type)
    assert (approval.status, approval.decided_by_operator_id) == (A.APPROVED, None)
    assert approval.decision_reason == "auto-approved (GREEN)"
    assert await desk.registry.types() == ["APPROVAL_REQUESTED", "APPROVAL_DECIDED"]


async def test_apr_3_a_green_promotion_waits_for_a_person(desk: Desk) -> None:
    """Some types are decided by a person whatever their risk."""
    version = await desk.registry.version(LifecycleState.CANDIDATE)
    approval = await desk.request(
        RiskLevel.GREEN, request_type="VERSION_PROMOTION", target_id=("AgentVersion", version.id)
    )
    assert approval.status is A.PENDING
    assert approval.version_id == version.id


async def test_rbac_7_a_request_belongs_to_the_project_of_its_target(desk: Desk) -> None:
    """Whoever may decide in one project does not come by a request about another project's row."""
    tenant = desk.registry.tenant
    other = models.Project(id=new_id(), name="Other", slug="other")
    task = models.Task(id=new_id(), project_id=other.id, title="t", type=TaskType.OPS)
    await tenant.add(other, task)
    found = await desk.registry.refused(
        "request_approval",
        request_type="COMPLETE_TASK",
        action_summary="a",
        justification="b",
        risk_level=RiskLevel.YELLOW,
        target_id=("Task", task.id),
        project_id=tenant.project.id,
    )
    assert (found.code, found.field) == ("VALIDATION_ERROR", "project_id")
    approval = await desk.request(request_type="COMPLETE_TASK", target_id=("Task", task.id))
    assert approval.project_id == other.id
    here = Scope(projects=frozenset({tenant.project.id}))
    decider = tenant.actor(grants=Grants({"approve:approvals": here}), operator_id=desk.people[0].id)
    with pytest.raises(PermissionDenied):
        await desk.decide(approval, APPROVE, decider)
    there = Grants({"approve:approvals": Scope(projects=frozenset({other.id}))})
    done(await desk.decide(approval, APPROVE, tenant.actor(grants=there, operator_id=desk.people[0].id)))


# --- Deciding ---------------------------------------------------------------------------------------------------------

_DECISIONS: Sequence[tuple[RiskLevel, list[ApprovalChoice], ApprovalDecision, int, list[str]]] = [
    (RiskLevel.YELLOW, [APPROVE], A.APPROVED, 1, ["APPROVED"]),
    (RiskLevel.YELLOW, [DENY], A.DENIED, 0, ["DENIED"]),
    (RiskLevel.RED, [APPROVE], A.PENDING, 1, ["FIRST_APPROVAL"]),
    (RiskLevel.RED, [APPROVE, APPROVE], A.APPROVED, 2, ["FIRST_APPROVAL", "APPROVED"]),
    (RiskLevel.RED, [DENY], A.DENIED, 0, ["DENIED"]),
    (RiskLevel.RED, [APPROVE, DENY], A.DENIED, 1, ["FIRST_APPROVAL", "DENIED"]),
]


@pytest.mark.parametrize(("risk", "choices", "status", "count", "stages"), _DECISIONS)
@pytest.mark.parametrize("begins", [A.PENDING, A.ESCALATED])
async def test_apr_4_votes(
    desk: Desk,
    begins: ApprovalDecision,
    risk: RiskLevel,
    choices: list[ApprovalChoice],
    status: ApprovalDecision,
    count: int,
    stages: list[str],
) -> None:
    """RED takes two people who approve, and one who denies; an escalated request is decided as a pending one."""
    approval = await desk.request(risk)
    await desk.change(approval, status=begins)
    for at, choice in enumerate(choices):
        outcome = done(await desk.decide(approval, choice, at))
    row = await desk.row(approval)
    is_open = status is A.PENDING
    assert row.status is (begins if is_open else status)
    assert outcome.extras["pending_second_decision"] is is_open
    assert row.decision_count == count
    assert [vote["operatorId"] for vote in row.decisions or []] == [str(desk.people[n].id) for n in range(len(choices))]
    assert row.decided_by_operator_id == (None if is_open else desk.people[len(choices) - 1].id)
    assert await desk.stages() == ["REQUESTED", *stages]
    types = await desk.registry.types()
    assert types == ["APPROVAL_REQUESTED"] + ([] if is_open else ["APPROVAL_DECIDED"])
    assert await desk.told() == ["APPROVAL_REQUIRED"] + ([] if is_open else ["APPROVAL_DECIDED"])


@pytest.mark.parametrize("state", [A.APPROVED, A.DENIED, A.EXPIRED, A.CANCELED])
@pytest.mark.parametrize("choice", ApprovalChoice)
async def test_apr_4_only_open_requests_are_decided(
    desk: Desk, state: ApprovalDecision, choice: ApprovalChoice
) -> None:
    """What has ended stays as it is; the refusal says that nothing is legal any more, and writes no record."""
    approval = await desk.request()
    await desk.change(approval, status=state)
    found = refused(await desk.decide(approval, choice))
    assert (found.code, found.allowed) == ("INVALID_STATE_TRANSITION", ())
    assert await desk.registry.types() == ["APPROVAL_REQUESTED"]


@pytest.mark.parametrize(
    ("risk", "choice"), [(RiskLevel.YELLOW, DENY), (RiskLevel.RED, APPROVE), (RiskLevel.RED, DENY)]
)
async def test_apr_4_a_reason_is_needed(desk: Desk, risk: RiskLevel, choice: ApprovalChoice) -> None:
    """To deny, and for RED; to approve something else it is not."""
    approval = await desk.request(risk)
    found = refused(await desk.decide(approval, choice, reason=" "))
    assert (found.code, found.field) == ("VALIDATION_ERROR", "reason")
    done(await desk.decide(await desk.request(), APPROVE, reason=None))


async def test_apr_4_the_second_vote_is_somebody_elses(desk: Desk) -> None:
    """Dual control means two people; who approved may still deny."""
    approval = await desk.request(RiskLevel.RED)
    done(await desk.decide(approval, APPROVE, 0))
    assert refused(await desk.decide(approval, APPROVE, 0)).code == "DEPENDENCY_NOT_MET"
    assert (await desk.row(approval)).decision_count == 1
    done(await desk.decide(approval, DENY, 0))
    assert (await desk.row(approval)).status is A.DENIED


async def test_apr_2_a_caller_may_raise_the_number_of_votes(desk: Desk) -> None:
    """Three are asked for, and it takes three."""
    approval = await desk.request(required_decision_count=3)
    for at in range(3):
        assert (await desk.row(approval)).status is A.PENDING
        done(await desk.decide(approval, APPROVE, at))
    assert (await desk.row(approval)).status is A.APPROVED
    assert await desk.stages() == ["REQUESTED", "FIRST_APPROVAL", "FURTHER_APPROVAL", "APPROVED"]


@pytest.mark.parametrize("choice", ApprovalChoice)
async def test_apr_5_nobody_decides_on_their_own_request(desk: Desk, choice: ApprovalChoice) -> None:
    """Neither way, and the attempt is noted; nothing else changes."""
    approval = await desk.request()
    found = refused(await desk.decide(approval, choice, desk.asker))
    assert (found.code, found.field) == ("DEPENDENCY_NOT_MET", "approval_id")
    assert (await desk.row(approval)).decisions is None
    (noted,) = [row for row in await desk.rows(models.AuditLog) if row.action == "ACCESS_DENIED"]
    assert (noted.actor_id, noted.resource_id) == (desk.registry.operator.id, str(approval.id))


async def test_apr_5_nor_on_the_version_or_the_release_that_they_made(desk: Desk) -> None:
    """Somebody else may ask for the promotion; the maker of the version still does not decide on it."""
    registry = desk.registry
    version = await registry.version(LifecycleState.CANDIDATE)
    deployment = models.Deployment(
        id=new_id(),
        template_id=registry.template.id,
        environment_id=registry.tenant.environment.id,
        target_version_id=version.id,
        created_by_operator_id=desk.people[1].id,
    )
    await registry.tenant.add(deployment)
    tenant = registry.tenant
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.execute(
            update(models.AgentVersion)
            .where(models.AgentVersion.tenant_id == tenant.id)
            .values(created_by_operator_id=desk.people[0].id)
        )
    promotion = await desk.request(request_type="VERSION_PROMOTION", target_id=("AgentVersion", version.id))
    release = await desk.request(request_type="DEPLOYMENT", target_id=("Deployment", deployment.id))
    assert refused(await desk.decide(promotion, APPROVE, 0)).code == "DEPENDENCY_NOT_MET"
    assert refused(await desk.decide(release, APPROVE, 1)).code == "DEPENDENCY_NOT_MET"
    done(await desk.decide(promotion, APPROVE, 1))
    done(await desk.decide(release, APPROVE, 0))


async def test_apr_4_each_permission_for_its_own_answer(desk: Desk) -> None:
    """approve:approvals does not deny, reject:approvals does not approve; one of them lets in."""
    tenant = desk.registry.tenant
    for permission, may, may_not in (
        ("approve:approvals", APPROVE, DENY),
        ("reject:approvals", DENY, APPROVE),
    ):
        approval = await desk.request()
        actor = tenant.actor(permission, operator_id=desk.people[0].id)
        with pytest.raises(PermissionDenied):
            await desk.decide(approval, may_not, actor)
        done(await desk.decide(approval, may, actor))
    with pytest.raises(PermissionDenied):
        await desk.decide(await desk.request(), APPROVE, tenant.actor("read:approvals"))


async def test_apr_4_two_deciders_at_once(desk: Desk) -> None:
    """One wins, the other is told; there is one record and one decision."""
    approval = await desk.request()
    outcomes = await asyncio.gather(desk.decide(approval, APPROVE, 0), desk.decide(approval, DENY, 1))
    (won,) = [one for one in outcomes if isinstance(one, Done)]
    (lost,) = [one for one in outcomes if isinstance(one, Refused)]
    assert lost.code == "INVALID_STATE_TRANSITION"
    row = await desk.row(approval)
    assert row.status is (A.APPROVED if won is outcomes[0] else A.DENIED)
    assert (await desk.registry.types()).count("APPROVAL_DECIDED") == 1


async def test_apr_4_two_votes_at_once_both_count(desk: Desk) -> None:
    """Dual control with both people at the same moment; the same person twice counts once."""
    both = await desk.request(RiskLevel.RED)
    for outcome in await asyncio.gather(desk.decide(both, APPROVE, 0), desk.decide(both, APPROVE, 1)):
        done(outcome)
    assert (await desk.row(both)).status is A.APPROVED
    twice = await desk.request(RiskLevel.RED)
    outcomes = await asyncio.gather(desk.decide(twice, APPROVE, 0), desk.decide(twice, APPROVE, 0))
    assert sorted(type(one).__name__ for one in outcomes) == ["Done", "Refused"]
    assert (await desk.row(twice)).decision_count == 1


async def test_sm_3_a_stale_belief_is_a_conflict(desk: Desk) -> None:
    """Whoever believes it to be pending while it was escalated is told."""
    approval = await desk.request()
    await desk.change(approval, status=A.ESCALATED)
    assert refused(await desk.decide(approval, APPROVE, expected_status=A.PENDING)).code == "CONFLICT"


# --- Withdrawing ------------------------------------------------------------------------------------------------------


async def test_apr_9_only_the_requester_withdraws(desk: Desk) -> None:
    """A person's request by that person; an agent's by whoever may write approvals; once only."""
    database = desk.registry.tenant.database
    approval = await desk.request()
    stranger = await run(database, desk.person(0), "cancel_approval", {"approval_id": approval.id})
    assert refused(stranger).code == "DEPENDENCY_NOT_MET"
    await desk.registry.done("cancel_approval", approval_id=approval.id, reason="not needed")
    row = await desk.row(approval)
    assert (row.status, row.decided_by_operator_id) == (A.CANCELED, None)
    record = (await desk.registry.journal())[-1]
    assert record["type"] == "APPROVAL_DECIDED"
    assert record["afterState"]["decision"] == "CANCELED"
    again = await desk.registry.refused("cancel_approval", approval_id=approval.id)
    assert again.code == "INVALID_STATE_TRANSITION"
    agents = await desk.request()
    agent = await _agent(desk)
    await desk.change(agents, requester_id=None, requester_instance_id=agent.id)
    done(await run(database, desk.person(0), "cancel_approval", {"approval_id": agents.id}))


# --- Time -------------------------------------------------------------------------------------------------------------


async def test_apr_7_expiry(desk: Desk) -> None:
    """Strictly after its time: EXPIRED, its record says so, the requester is told; others stay. Twice is once."""
    late, other = await desk.request(), await desk.request()
    escalated = await desk.request()
    past = datetime.now(UTC) - timedelta(seconds=1)
    await desk.change(late, expires_at=past)
    await desk.change(escalated, expires_at=past, status=A.ESCALATED)
    assert await desk.system("expire_approvals") == {"expired": 2, "more": False}
    assert await desk.system("expire_approvals") == {"expired": 0, "more": False}
    states = [(await desk.row(one)).status for one in (late, escalated, other)]
    assert states == [A.EXPIRED, A.EXPIRED, A.PENDING]
    ends = [one for one in await desk.registry.journal() if one["type"] == "APPROVAL_DECIDED"]
    assert [(one["actorType"], one["afterState"]["decision"]) for one in ends] == [("SYSTEM", "EXPIRED")] * 2
    assert (await desk.told()).count("APPROVAL_DECIDED") == 2


async def test_apr_7_expiry_goes_in_batches(desk: Desk) -> None:
    """A batch says whether more may be due."""
    for _ in range(5):
        await desk.change(await desk.request(), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    found = [await desk.system("expire_approvals", limit=2) for _ in range(3)]
    assert found == [{"expired": 2, "more": True}, {"expired": 2, "more": True}, {"expired": 1, "more": False}]


async def test_apr_7_the_job_and_a_person_at_once(desk: Desk) -> None:
    """A request ends once, whoever comes first."""
    approval = await desk.request()
    await desk.change(approval, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await asyncio.gather(
        desk.system("expire_approvals"),
        desk.decide(approval, APPROVE),
        desk.system("expire_approvals"),
        desk.decide(approval, DENY, 1),
    )
    assert (await desk.row(approval)).status is A.EXPIRED
    assert (await desk.registry.types()).count("APPROVAL_DECIDED") == 1


@pytest.mark.parametrize("action", [APPROVE, DENY, None])
async def test_apr_4_an_expired_request_ends_when_somebody_touches_it(
    desk: Desk, action: ApprovalChoice | None
) -> None:
    """Approving, denying and withdrawing look at the time too; the refusal keeps the expiry and its record."""
    approval = await desk.request()
    await desk.change(approval, expires_at=datetime.now(UTC) - timedelta(milliseconds=50))
    if action is None:
        found = await desk.registry.refused("cancel_approval", approval_id=approval.id)
    else:
        found = refused(await desk.decide(approval, action))
    assert found.code == "INVALID_STATE_TRANSITION"
    assert (await desk.row(approval)).status is A.EXPIRED
    assert (await desk.registry.types())[-1] == "APPROVAL_DECIDED"


async def test_apr_8_escalation(desk: Desk) -> None:
    """At 30 minutes, 60 and 90: levels 1, 2 and 3, each with its event, its audit log and its notification."""
    approval = await desk.request(request_type="COMPLETE_TASK", target_id=await _task_target(desk))
    for minutes, level in ((29, 0), (30, 1), (59, 1), (60, 2), (90, 3), (500, 3)):
        await desk.change(approval, requested_at=datetime.now(UTC) - timedelta(minutes=minutes))
        await desk.system("escalate_approvals")
        row = await desk.row(approval)
        assert row.escalation_level == level, minutes
        assert row.status is (A.ESCALATED if level else A.PENDING)
    assert row.escalation_reason == "open for 90 minutes"
    assert await desk.stages() == ["REQUESTED", "ESCALATED", "ESCALATED", "ESCALATED"]
    logs = [one for one in await desk.rows(models.AuditLog) if one.action == "APPROVAL_ESCALATED"]
    assert [one.severity.value for one in logs] == ["WARNING"] * 3
    raised = [one for one in await desk.rows(models.NotificationEvent) if one.event_type == "APPROVAL_ESCALATED"]
    assert [one.payload["level"] for one in raised] == [1, 2, 3]
    (alert,) = await desk.rows(models.Alert)
    assert (alert.type, alert.severity.value) == ("APPROVAL_OVERDUE", "CRITICAL")
    assert await desk.registry.types() == ["APPROVAL_REQUESTED"]
    done(await desk.decide(approval, APPROVE))


async def test_apr_8_the_tenants_own_limit_and_what_is_not_escalated(desk: Desk) -> None:
    """`approvalSlaMinutes` takes the place of 30; what has ended or expired is not raised; one level a run."""
    tenant = desk.registry.tenant
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.execute(
            update(models.Tenant).where(models.Tenant.id == tenant.id).values(settings={"approvalSlaMinutes": 5})
        )
    long_ago = datetime.now(UTC) - timedelta(minutes=50)
    due, ended, expired = [await desk.request() for _ in range(3)]
    await desk.change(due, requested_at=long_ago)
    await desk.change(ended, requested_at=long_ago, status=A.DENIED)
    await desk.change(expired, requested_at=long_ago, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert await desk.system("escalate_approvals") == {"escalated": 1, "more": False}
    assert [(await desk.row(one)).escalation_level for one in (due, ended, expired)] == [1, 0, 0]


async def test_apr_7_people_cannot_run_the_jobs_commands(desk: Desk) -> None:
    """Time does it, not a person."""
    for name in ("expire_approvals", "escalate_approvals"):
        with pytest.raises(PermissionDenied):
            await run(desk.registry.tenant.database, desk.asker, name, {})


# --- What follows -----------------------------------------------------------------------------------------------------


async def _agent(desk: Desk, **columns: Any) -> models.AgentInstance:
    tenant = desk.registry.tenant
    version = await desk.registry.version()
    agent = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        project_id=tenant.project.id,
        environment_id=tenant.environment.id,
        **{"state": InstanceState.ACTIVE, **columns},
    )
    await tenant.add(agent)
    return agent


async def _task(desk: Desk, status: TaskStatus = TaskStatus.NEEDS_APPROVAL) -> models.Task:
    task = models.Task(
        id=new_id(), project_id=desk.registry.tenant.project.id, title="t", type=TaskType.OPS, status=status
    )
    await desk.registry.tenant.add(task)
    return task


async def _task_target(desk: Desk) -> tuple[str, UUID]:
    return "Task", (await _task(desk)).id


async def _waiting_call(desk: Desk) -> tuple[models.ApprovalRecord, models.ToolCall]:
    agent = await _agent(desk)
    now = datetime.now(UTC)
    run_row = models.Run(
        id=new_id(),
        idempotency_key="r1",
        instance_id=agent.id,
        version_id=agent.version_id,
        session_key="s",
        started_at=now,
        model="m",
        status=RunStatus.RUNNING,
    )
    call = models.ToolCall(
        id=new_id(),
        run_id=run_row.id,
        instance_id=agent.id,
        tool_name="shell",
        risk_level=RiskLevel.YELLOW,
        started_at=now,
        status=ToolCallStatus.PENDING,
    )
    await desk.registry.tenant.add(run_row, call)
    approval = await desk.request(request_type="TOOL_EXECUTION")
    await desk.change(approval, tool_call_id=call.id, requester_id=None, requester_instance_id=agent.id)
    return approval, call


@pytest.mark.parametrize(
    ("end", "status", "event"),
    [
        ("approve", ToolCallStatus.RUNNING, "TOOL_CALL_STARTED"),
        ("deny", ToolCallStatus.DENIED, "TOOL_CALL_BLOCKED"),
        ("expire", ToolCallStatus.DENIED, "TOOL_CALL_BLOCKED"),
        ("cancel", ToolCallStatus.DENIED, "TOOL_CALL_BLOCKED"),
    ],
)
async def test_apr_13_the_tool_call_that_waited(desk: Desk, end: str, status: ToolCallStatus, event: str) -> None:
    """TOL-2: approved it runs, otherwise it is denied, with an event that names the decision's record."""
    approval, call = await _waiting_call(desk)
    if end == "expire":
        await desk.change(approval, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        await desk.system("expire_approvals")
    elif end == "cancel":
        await desk.registry.done("cancel_approval", approval_id=approval.id)
    else:
        done(await desk.decide(approval, APPROVE if end == "approve" else DENY))
    (row,) = await desk.rows(models.ToolCall)
    assert row.status is status
    found = [one for one in await desk.rows(models.OpEvent) if one.tool_call_id == call.id and one.type.value == event]
    (decided,) = [one for one in await desk.rows(models.ChangeRecord) if one.type.value == "APPROVAL_DECIDED"]
    assert [one.change_record_id for one in found] == [decided.id]


async def test_apr_13_a_bigger_budget_lets_the_agent_and_its_work_go_on(desk: Desk) -> None:
    """BUDGET_OVERRIDE: what was asked for is added for today, and who was paused by the budget is active again."""
    agent = await _agent(
        desk, state=InstanceState.PAUSED, paused_by=PauseCause.BUDGET, pre_pause_state=InstanceState.ACTIVE
    )
    approval = await desk.request(
        request_type="BUDGET_OVERRIDE", target_id=("AgentInstance", agent.id), estimated_cost=12.5
    )
    done(await desk.decide(approval, APPROVE))
    (row,) = await desk.rows(models.AgentInstance)
    assert (row.state, row.paused_by) == (InstanceState.ACTIVE, None)
    assert Decimal(str(row.metadata_["budgetExtra"]["usd"])) == Decimal("12.5")
    journal = await desk.registry.journal()
    assert [one["type"] for one in journal] == ["APPROVAL_REQUESTED", "APPROVAL_DECIDED", "INSTANCE_TRANSITIONED"]
    assert journal[2]["causedBy"] == {"seq": journal[1]["seq"]}
    assert (await desk.row(approval)).used_at is not None


async def test_emg_6_a_budget_granted_during_an_emergency_waits_for_its_end(desk: Desk) -> None:
    """The agent is the emergency's now: it stays paused, and goes on when the mode is NORMAL again."""
    agent = await _agent(
        desk, state=InstanceState.PAUSED, paused_by=PauseCause.BUDGET, pre_pause_state=InstanceState.ACTIVE
    )
    approval = await desk.request(
        request_type="BUDGET_OVERRIDE", target_id=("AgentInstance", agent.id), estimated_cost=1
    )
    await desk.registry.do("set_operator_control", mode=OperatorMode.PAUSED, reason="drill")
    done(await desk.decide(approval, APPROVE))
    (row,) = await desk.rows(models.AgentInstance)
    assert (row.state, row.paused_by) == (InstanceState.PAUSED, PauseCause.EMERGENCY)
    await desk.registry.do("set_operator_control", mode=OperatorMode.NORMAL)
    (row,) = await desk.rows(models.AgentInstance)
    assert row.state is InstanceState.ACTIVE


# --- The chain --------------------------------------------------------------------------------------------------------


async def test_apr_12_the_decision_chain(desk: Desk) -> None:
    """Newest first: request, first vote, escalation and end, each with its people, record and event."""
    approval = await desk.request(RiskLevel.RED)
    done(await desk.decide(approval, APPROVE, 0, reason="one"))
    await desk.change(approval, requested_at=datetime.now(UTC) - timedelta(minutes=31))
    await desk.system("escalate_approvals")
    done(await desk.decide(approval, APPROVE, 1, reason="two"))
    other = await desk.request()
    query = """{ approvalRecords { edges { node { decisionChain {
        stage reason operator { name } changeRecord { type } opEvent { type } } } } } }"""
    answer = await ask(desk.registry.tenant.database, desk.asker, query)
    assert not answer.errors
    first, second = (edge["node"]["decisionChain"] for edge in answer.data["approvalRecords"]["edges"])
    assert [(step["stage"], step["reason"], (step["operator"] or {}).get("name")) for step in first] == [
        ("APPROVED", "two", "P1"),
        ("ESCALATED", "open for 31 minutes", None),
        ("FIRST_APPROVAL", "one", "P0"),
        ("REQUESTED", "Because.", "Ada"),
    ]
    assert [(step["changeRecord"] or {}).get("type") for step in first] == [
        "APPROVAL_DECIDED",
        None,
        None,
        "APPROVAL_REQUESTED",
    ]
    assert {step["opEvent"]["type"] for step in first} == {"DECISION_MADE"}
    assert [step["stage"] for step in second] == ["REQUESTED"]
    assert other.status is A.PENDING
    assert len(answer.statements) <= 7, "two statements for all chains, one a kind of row that they name"


async def test_apr_4_over_the_api(desk: Desk) -> None:
    """approvalRequest, approvalDecide and approvalCancel carry the entity, its record and what is missing."""
    database = desk.registry.tenant.database
    request = """mutation($input: ApprovalRequestInput!) { approvalRequest(input: $input) {
        approvalRecord { id status requiredDecisionCount } changeRecord { type } userErrors { code field } } }"""
    given = {"requestType": "OPERATOR_OVERRIDE", "actionSummary": "Do", "justification": "Why", "riskLevel": "RED"}
    lacking = await ask(database, desk.asker, request, input=given)
    assert lacking.data["approvalRequest"]["userErrors"] == [
        {"code": "VALIDATION_ERROR", "field": ["input", "rollbackPlan"]}
    ]
    made = await ask(database, desk.asker, request, input={**given, "rollbackPlan": "Undo"})
    payload = made.data["approvalRequest"]
    assert payload["approvalRecord"]["requiredDecisionCount"] == 2
    approval = payload["approvalRecord"]["id"]
    decide = """mutation($input: ApprovalDecideInput!) { approvalDecide(input: $input) {
        approvalRecord { status decisionCount } pendingSecondDecision changeRecord { type }
        userErrors { code message allowedTransitions } } }"""
    vote = {"approvalId": approval, "decision": "APPROVE", "reason": "fine"}
    own = await ask(database, desk.asker, decide, input=vote)
    assert own.data["approvalDecide"]["userErrors"][0]["code"] == "DEPENDENCY_NOT_MET"
    first = await ask(database, desk.person(0), decide, input=vote)
    assert first.data["approvalDecide"]["pendingSecondDecision"] is True
    assert first.data["approvalDecide"]["changeRecord"] is None
    second = await ask(database, desk.person(1), decide, input=vote)
    assert second.data["approvalDecide"]["approvalRecord"] == {"status": "APPROVED", "decisionCount": 2}
    assert second.data["approvalDecide"]["changeRecord"] == {"type": "APPROVAL_DECIDED"}
    late = await ask(database, desk.person(2), decide, input=vote)
    assert late.data["approvalDecide"]["userErrors"][0]["allowedTransitions"] == []
    cancel = """mutation($input: ApprovalCancelInput!) { approvalCancel(input: $input) {
        approvalRecord { status } userErrors { code } } }"""
    gone = await ask(database, desk.asker, cancel, input={"approvalId": approval})
    assert gone.data["approvalCancel"]["userErrors"] == [{"code": "INVALID_STATE_TRANSITION"}]


async def test_another_tenants_request_is_not_found(desk: Desk, other_tenant: Any) -> None:
    """Behind row-level security and the code's own wall it does not exist."""
    approval = await desk.request()
    stranger = other_tenant.actor()
    outcome = await run(
        other_tenant.database, stranger, "decide_approval", {"approval_id": approval.id, "decision": APPROVE}
    )
    assert refused(outcome).code == "NOT_FOUND"
