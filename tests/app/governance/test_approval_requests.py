"""APR-1 to APR-3, APR-6, APR-9 and APR-10: the machine of requests, asking, and withdrawing."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from app.auth.scope import Grants, Scope
from app.governance.machines import APPROVAL
from app.governance.rules import ALWAYS_DECIDED, REQUEST_TARGETS, REQUEST_TYPES
from app.graph.ids import global_id
from app.lifecycle import allowed_from, refuse_step
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    ActorType,
    ApprovalDecision,
    LifecycleState,
    RiskLevel,
    TaskType,
)
from db.ids import new_id
from tests.app.governance.desk import APPROVE, A, Desk, agent_of, done, refused
from tests.asking import ask
from tests.conftest import TenantUnderTest

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


@pytest.mark.parametrize(("state", "target", "actor"), [*product(A, A, ActorType)])
def test_approval_machine(state: ApprovalDecision, target: ApprovalDecision, actor: ActorType) -> None:
    """Behaviour 1.4, row by row: each step by whom it names, every other refused with what is legal (SM-2)."""
    found = refuse_step(APPROVAL, state, target, actor)
    assert (found is None) is (actor in APPROVAL_ROWS.get((state, target), set()))
    legal = {to.value for (at, to), who in APPROVAL_ROWS.items() if at is state and actor in who}
    assert set(allowed_from(APPROVAL, state, actor)) == legal


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
    agent = await agent_of(desk)
    await desk.change(agents, requester_id=None, requester_instance_id=agent.id)
    done(await run(database, desk.person(0), "cancel_approval", {"approval_id": agents.id}))


async def test_apr_1_a_request_about_the_tenant(desk: Desk, other_tenant: TenantUnderTest) -> None:
    """Decision 10: a tenant is known by its id alone; somebody else's is not found, and nobody's project is asked."""
    document = """
    mutation($input: ApprovalRequestInput!) { approvalRequest(input: $input) {
      approvalRecord { target { id __typename } project { id } }
      userErrors { code field }
    } }
    """
    given = {
        "requestType": "OPERATOR_OVERRIDE",
        "actionSummary": "Move house",
        "justification": "Rent.",
        "riskLevel": "YELLOW",
    }
    tenant = desk.registry.tenant

    async def about(tenant_id: UUID) -> Any:
        answer = await ask(
            tenant.database, desk.asker, document, input={**given, "targetId": global_id("ten", tenant_id)}
        )
        assert not answer.errors, answer.errors
        return answer.data["approvalRequest"]

    made = await about(tenant.id)
    assert made == {
        "approvalRecord": {"target": {"id": global_id("ten", tenant.id), "__typename": "Tenant"}, "project": None},
        "userErrors": [],
    }
    assert (await about(other_tenant.id))["userErrors"] == [{"code": "NOT_FOUND", "field": ["input", "targetId"]}]
