"""APR-2, APR-4 and APR-5: who decides on what, alone and together; and the same over the API."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.commands import Done, Refused
from app.governance.rules import ApprovalChoice
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    ApprovalDecision,
    LifecycleState,
    RiskLevel,
)
from db.ids import new_id
from tests.app.governance.desk import (
    APPROVE,
    DENY,
    A,
    Desk,
    done,
    refused,
)
from tests.asking import ask

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
