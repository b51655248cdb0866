"""approvalQueue: the queue as it is, then each step; RED first, what is due soonest first within a colour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.live.queue_group import QueueStep, steps
from db import models
from db.enums import ApprovalDecision, RiskLevel
from db.ids import new_id
from tests.app.governance.desk import APPROVE, DENY, Desk, done
from tests.app.live.gateway import Gateway, Subscription, socket_of

QUEUE = """subscription ($filter: ApprovalQueueFilter) { approvalQueue(filter: $filter) {
    step pendingCount place approval { id status riskLevel decisionCount project { slug } requester { name } }
    queue { id riskLevel } } }"""


@pytest.fixture
def rung(desk: Desk, gateway: Gateway) -> Desk:
    """The commands of the test ring the gateway's bell, as those of the gateway do."""
    desk.registry.tenant.database.bell = gateway.application.gateway.database.bell
    return desk


def apr(row: Any) -> str:
    return f"apr_{row.id.hex}"


async def step(queue: Subscription) -> tuple[str, str | None, int, int | None]:
    said = await queue.data()
    return said["step"], said["approval"] and said["approval"]["id"], said["pendingCount"], said["place"]


async def test_apr_12_the_snapshot_has_red_first_and_within_a_colour_what_is_due_soonest(
    rung: Desk, gateway: Gateway
) -> None:
    now = datetime.now(UTC)
    rows = {}
    for name, risk, minutes in (
        ("green", RiskLevel.GREEN, 1),
        ("yellow late", RiskLevel.YELLOW, 60),
        ("red late", RiskLevel.RED, 90),
        ("red soon", RiskLevel.RED, 5),
        ("yellow soon", RiskLevel.YELLOW, 2),
    ):
        rows[name] = await rung.request(RiskLevel.YELLOW)
        await rung.change(rows[name], risk_level=risk, expires_at=now + timedelta(minutes=minutes))
    over = await rung.request()
    done(await rung.decide(over, DENY))
    async with socket_of(gateway, await gateway.token(rung.registry.tenant)) as socket:
        said = await (await socket.subscribe(QUEUE)).data()
    assert (said["step"], said["pendingCount"], said["approval"]) == ("SNAPSHOT", 5, None)
    order = ["red soon", "red late", "yellow soon", "yellow late", "green"]
    assert [one["id"] for one in said["queue"]] == [apr(rows[name]) for name in order]


async def test_each_step_is_told_once_with_the_count_after_it(rung: Desk, gateway: Gateway) -> None:
    """APR-1, APR-2, APR-4, APR-7, APR-8, APR-9."""
    async with socket_of(gateway, await gateway.token(rung.registry.tenant)) as socket:
        queue = await socket.subscribe(QUEUE)
        assert await step(queue) == ("SNAPSHOT", None, 0, None)
        red = await rung.request(RiskLevel.RED)
        assert await step(queue) == ("REQUESTED", apr(red), 1, 0)
        yellow = await rung.request(RiskLevel.YELLOW)
        assert await step(queue) == ("REQUESTED", apr(yellow), 2, 1)
        done(await rung.decide(red, APPROVE, 0))
        assert await step(queue) == ("VOTED", apr(red), 2, 0)
        await rung.change(yellow, status=ApprovalDecision.ESCALATED, escalation_level=1)
        assert await step(queue) == ("ESCALATED", apr(yellow), 2, 1)
        done(await rung.decide(red, APPROVE, 1))
        assert await step(queue) == ("DECIDED", apr(red), 1, None)
        await rung.change(yellow, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        await rung.system("expire_approvals")
        assert await step(queue) == ("EXPIRED", apr(yellow), 0, None)
        gone = await rung.request(RiskLevel.YELLOW)
        assert await step(queue) == ("REQUESTED", apr(gone), 1, 0)
        await rung.registry.done("cancel_approval", approval_id=gone.id)
        assert await step(queue) == ("CANCELED", apr(gone), 0, None)
        await rung.change(red, used_at=datetime.now(UTC))  # no step of the queue
        await queue.quiet()


async def test_after_a_reconnect_it_begins_with_the_queue_as_it_is(rung: Desk, gateway: Gateway) -> None:
    token = await gateway.token(rung.registry.tenant)
    async with socket_of(gateway, token) as socket:
        assert await step(await socket.subscribe(QUEUE)) == ("SNAPSHOT", None, 0, None)
    await rung.request()
    async with socket_of(gateway, token) as socket:
        assert await step(await socket.subscribe(QUEUE)) == ("SNAPSHOT", None, 1, None)


async def test_a_filter_and_a_scope_narrow_the_queue_and_its_count(rung: Desk, gateway: Gateway) -> None:
    """Decision 29: a grant for one project shows the requests that carry it."""
    tenant = rung.registry.tenant
    other = models.Project(id=new_id(), name="Other", slug=f"o{new_id().hex[-6:]}")
    await tenant.add(other)
    scoped = await gateway.token(tenant, "Approver", project_id=other.id)
    async with socket_of(gateway, await gateway.token(tenant)) as socket, socket_of(gateway, scoped) as narrow:
        red = await socket.subscribe(QUEUE, filter={"riskLevels": ["RED"]})
        own = await narrow.subscribe(QUEUE)
        assert (await step(red))[0] == (await step(own))[0] == "SNAPSHOT"
        await rung.request(RiskLevel.YELLOW)
        mine = await rung.request(RiskLevel.YELLOW, project_id=other.id)
        assert await step(own) == ("REQUESTED", apr(mine), 1, 0)
        loud = await rung.request(RiskLevel.RED)
        assert await step(red) == ("REQUESTED", apr(loud), 1, 0)
        await red.quiet(0.2)
        await own.quiet(0.2)


async def test_steps_that_came_between_two_looks_are_each_told() -> None:
    """A request that was made, voted on and decided before anybody looked."""

    def row(status: ApprovalDecision, votes: int, level: int = 0) -> models.ApprovalRecord:
        decisions = [{"decision": "APPROVED"}] * votes
        return models.ApprovalRecord(status=status, decisions=decisions, escalation_level=level)

    pending, approved = row(ApprovalDecision.PENDING, 0), row(ApprovalDecision.APPROVED, 2)
    assert list(steps(None, approved)) == [QueueStep.REQUESTED, QueueStep.VOTED, QueueStep.DECIDED]
    assert list(steps(pending, approved)) == [QueueStep.VOTED, QueueStep.DECIDED]
    assert list(steps(pending, pending)) == []
    raised = row(ApprovalDecision.ESCALATED, 1, 2)
    assert list(steps(pending, raised)) == [QueueStep.VOTED, QueueStep.ESCALATED, QueueStep.ESCALATED]
    assert list(steps(pending, row(ApprovalDecision.EXPIRED, 0))) == [QueueStep.EXPIRED]
