"""Alerts: their life (ALR-1), each problem once (ALR-2), and who hears of them (NOT-3)."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.auth.actor import ActorKind
from app.auth.scope import Assignment, Grants
from app.commands import Done, Refusal, Refused, command
from app.notification.fanout import fan_out
from app.platform.machines import ALERT
from app.running import run_as_system
from app.unit_of_work import PermissionDenied, UnitOfWork
from db import models
from db.enums import AlertSeverity, AlertStatus
from db.ids import new_id
from tests.asking import recorded
from tests.conftest import TenantUnderTest
from tests.governed import Registry
from tests.serving import grant


@command("write:alerts", "TEST_ALERTED", callers=(ActorKind.PLATFORM,))
async def raise_alerts_for_test(uow: UnitOfWork, drafts: list[dict[str, Any]], wait: bool = False) -> Done:
    """Raise these alerts."""
    for one in drafts:
        uow.alert(one["type"], one.get("severity", AlertSeverity.WARNING), one["title"], "Look.", **one.get("of", {}))
    if wait:
        await asyncio.sleep(0.05)
    return Done(None)


async def raise_(tenant: TenantUnderTest, *drafts: dict[str, Any], wait: bool = False) -> None:
    arguments = {"drafts": list(drafts), "wait": wait}
    assert isinstance(await run_as_system(tenant.database, tenant.id, "raise_alerts_for_test", arguments), Done)


async def alerts(tenant: TenantUnderTest) -> list[models.Alert]:
    async with tenant.database.transaction(tenant.actor()) as session:
        return list(await session.scalars(select(models.Alert).order_by(models.Alert.id)))


async def put(tenant: TenantUnderTest, status: AlertStatus = AlertStatus.OPEN, **columns: Any) -> models.Alert:
    made = models.Alert(
        id=new_id(),
        type="STUCK_TASK",
        severity=AlertSeverity.WARNING,
        title="t",
        description="d",
        status=status,
        **columns,
    )
    await tenant.add(made)
    return made


STEPS: dict[AlertStatus, tuple[str, dict[str, Any]]] = {
    AlertStatus.ACKNOWLEDGED: ("acknowledge_alert", {}),
    AlertStatus.RESOLVED: ("resolve_alert", {"note": "mended"}),
    AlertStatus.IGNORED: ("ignore_alert", {"reason": "known"}),
}


@pytest.mark.parametrize("target", STEPS)
@pytest.mark.parametrize("start", list(AlertStatus))
async def test_alr_1_every_step(registry: Registry, start: AlertStatus, target: AlertStatus) -> None:
    """What the table has is done and audited; what it has not is refused with the steps that there are."""
    alert = await put(registry.tenant, start)
    name, arguments = STEPS[target]
    outcome = await registry.do(name, alert_id=alert.id, **arguments)
    (after,) = await alerts(registry.tenant)
    if target in ALERT[start]:
        assert isinstance(outcome, Done)
        assert after.status is target
        assert after.acknowledged_by_operator_id == registry.operator.id
    else:
        assert isinstance(outcome, Refused)
        assert outcome.code is Refusal.INVALID_STATE_TRANSITION
        assert outcome.allowed == tuple(one.value for one in ALERT[start])
        assert after.status is start
        assert after.acknowledged_by_operator_id is None


async def test_alr_1_what_is_kept_of_each_step(registry: Registry) -> None:
    """Who took it up stays, however it ends; resolving stamps the time, ignoring keeps the reason."""
    other = models.Operator(id=new_id(), auth_id="bob", name="Bob", email="bob@example.com")
    await registry.tenant.add(other)
    first, second = await put(registry.tenant), await put(registry.tenant)
    await registry.done("acknowledge_alert", alert_id=first.id, note="on it")
    bob = registry.tenant.actor(operator_id=other.id)
    assert isinstance(await registry.do("resolve_alert", actor=bob, alert_id=first.id, note="mended"), Done)
    await registry.done("ignore_alert", alert_id=second.id, reason="known")
    resolved, ignored = await alerts(registry.tenant)
    assert (resolved.acknowledged_by_operator_id, resolved.resolution_note) == (registry.operator.id, "mended")
    assert resolved.resolved_at is not None
    assert (ignored.resolution_note, ignored.resolved_at) == ("known", None)
    async with registry.tenant.database.transaction(registry.tenant.actor()) as session:
        found = await session.scalars(select(models.AuditLog).order_by(models.AuditLog.id))
        assert [(one.action, one.description) for one in found] == [
            ("ALERT_ACKNOWLEDGED", "on it"),
            ("ALERT_RESOLVED", "mended"),
            ("ALERT_IGNORED", "known"),
        ]


async def test_alr_1_refusals(registry: Registry, other_tenant: TenantUnderTest) -> None:
    """A foreign alert is not found, a stale view is a conflict, a blank reason is none."""
    foreign = await put(other_tenant)
    alert = await put(registry.tenant)
    assert (await registry.refused("resolve_alert", alert_id=foreign.id)).code is Refusal.NOT_FOUND
    blank = await registry.refused("ignore_alert", alert_id=alert.id, reason="  ")
    assert (blank.code, blank.field) == (Refusal.VALIDATION_ERROR, "reason")
    stale = await registry.refused("resolve_alert", alert_id=alert.id, expected_status=AlertStatus.ACKNOWLEDGED)
    assert (stale.code, stale.field) == (Refusal.CONFLICT, "expected_status")


async def test_alr_1_a_grant_for_another_project_does_not_reach_it(registry: Registry) -> None:
    """RBAC-7."""
    alert = await put(registry.tenant, project_id=registry.tenant.project.id)
    narrow = Grants.union(
        [Assignment(frozenset({"write:alerts"}), project_id=new_id(), environment_id=None, expires_at=None)],
        registry.tenant.project.created_at,
    )
    with pytest.raises(PermissionDenied):
        await registry.do("resolve_alert", actor=registry.tenant.actor(grants=narrow), alert_id=alert.id)


async def test_alr_1_two_at_once_take_it_up_once(registry: Registry) -> None:
    """The row's lock decides; the second is told so."""
    alert = await put(registry.tenant)
    outcomes = await asyncio.gather(*(registry.do("acknowledge_alert", alert_id=alert.id) for _ in range(6)))
    assert sum(isinstance(one, Done) for one in outcomes) == 1


async def test_alr_2_an_open_alert_is_updated(tenant: TenantUnderTest) -> None:
    """The same type, agent and task: one row, its count, its newest words."""
    await raise_(tenant, {"type": "X", "title": "first"})
    await raise_(tenant, {"type": "X", "title": "second", "severity": AlertSeverity.ERROR})
    (found,) = await alerts(tenant)
    assert (found.title, found.severity, found.occurrences) == ("second", AlertSeverity.ERROR, 2)


async def test_alr_2_another_type_place_or_subject_is_another_problem(tenant: TenantUnderTest) -> None:
    """Two requests that are overdue are two alerts; so are two projects in an emergency."""
    await raise_(
        tenant,
        {"type": "X", "title": "t"},
        {"type": "Y", "title": "t"},
        {"type": "X", "title": "t", "of": {"project_id": tenant.project.id}},
        {"type": "X", "title": "t", "of": {"about_id": new_id()}},
        {"type": "X", "title": "t", "of": {"about_id": new_id()}},
    )
    assert [one.occurrences for one in await alerts(tenant)] == [1] * 5


@pytest.mark.parametrize("status", [AlertStatus.ACKNOWLEDGED, AlertStatus.RESOLVED, AlertStatus.IGNORED])
async def test_alr_2_what_is_not_open_is_left_alone(registry: Registry, status: AlertStatus) -> None:
    """What comes back after somebody took it up or closed it is another alert."""
    await raise_(registry.tenant, {"type": "X", "title": "first"})
    (first,) = await alerts(registry.tenant)
    name, arguments = STEPS[status]
    await registry.done(name, alert_id=first.id, **arguments)
    await raise_(registry.tenant, {"type": "X", "title": "second"})
    assert [(one.title, one.status) for one in await alerts(registry.tenant)] == [
        ("first", status),
        ("second", AlertStatus.OPEN),
    ]


async def test_alr_2_twenty_at_once_leave_one(tenant: TenantUnderTest) -> None:
    """A unique index decides between transactions; nothing is lost, and the order of topics is the same for all."""
    one, two = {"type": "X", "title": "t"}, {"type": "Y", "title": "t"}
    await asyncio.gather(*(raise_(tenant, *((one, two) if turn % 2 else (two, one)), wait=True) for turn in range(20)))
    assert sorted((found.type, found.occurrences) for found in await alerts(tenant)) == [("X", 20), ("Y", 20)]


async def test_alr_2_a_hundred_alerts_are_two_statements(tenant: TenantUnderTest) -> None:
    """However many a cascade raises."""
    drafts = [{"type": "X", "title": "t", "of": {"about_id": new_id()}} for _ in range(100)]
    with recorded(tenant.database.engine) as statements:
        await raise_(tenant, *drafts)
    assert [one.split()[0] for one in statements if "alerts" in one] == ["SELECT", "INSERT"]
    assert len(await alerts(tenant)) == 100


async def _told(tenant: TenantUnderTest) -> list[UUID | None]:
    await fan_out(tenant.database, tenant.id)
    async with tenant.database.transaction(tenant.actor()) as session:
        return list(await session.scalars(select(models.Notification.operator_id)))


async def test_not_3_those_in_scope_hear_of_an_alert_once(tenant: TenantUnderTest) -> None:
    """Whoever may read alerts there; an update tells nobody, one that is worse does; CRITICAL tells everybody."""
    here, elsewhere, nobody = (
        models.Operator(id=new_id(), auth_id=name, name=name, email=f"{name}@example.com") for name in "abc"
    )
    other = models.Project(id=new_id(), name="Other", slug="other")
    await tenant.add(here, elsewhere, nobody, other)
    await grant(tenant, here.id, "Viewer", project_id=tenant.project.id)
    await grant(tenant, elsewhere.id, "Viewer", project_id=other.id)
    mild = {"type": "X", "title": "t", "of": {"project_id": tenant.project.id}}
    await raise_(tenant, mild)
    assert await _told(tenant) == [here.id]
    await raise_(tenant, mild)
    assert await _told(tenant) == [here.id]
    await raise_(tenant, {**mild, "title": "worse", "severity": AlertSeverity.CRITICAL})
    assert set(await _told(tenant)) == {here.id, elsewhere.id, nobody.id}


async def test_a_refusal_with_an_alert_says_so(tenant: TenantUnderTest) -> None:
    """An alert is a change: a command that raised one and refuses is a mistake unless it keeps it."""

    @command("write:alerts", "TEST_REFUSED", callers=(ActorKind.PLATFORM,))
    async def refuse_after_alert_for_test(uow: UnitOfWork) -> Refused:
        """Raise and refuse."""
        uow.alert("X", AlertSeverity.INFO, "t", "d")
        return Refused(Refusal.CONFLICT, "no")

    with pytest.raises(Exception, match="refuse_after_alert_for_test"):
        await run_as_system(tenant.database, tenant.id, "refuse_after_alert_for_test", {})
    assert await alerts(tenant) == []
