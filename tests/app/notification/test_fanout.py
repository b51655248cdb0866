"""From events to notifications: whom they concern, who has switched them off, and that nobody hears twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.notification.fanout import fan_out
from app.notification.rules import passes
from app.registry.rules import genome_hash
from db import models
from db.enums import NotificationChannel, NotificationSeverity, OperatorStatus, RiskLevel
from db.ids import new_id
from tests.app.governance.scene import genome
from tests.asking import data_of
from tests.conftest import TenantUnderTest
from tests.notified import everybodys
from tests.serving import grant


async def person(tenant: TenantUnderTest, name: str, role: str | None = None, **assignment: Any) -> models.Operator:
    operator = models.Operator(id=new_id(), auth_id=name, name=name, email=f"{name}@example.com")
    await tenant.add(operator)
    if role:
        await grant(tenant, operator.id, role, **assignment)
    return operator


async def request(tenant: TenantUnderTest, **more: Any) -> models.ApprovalRecord:
    approval = models.ApprovalRecord(
        id=new_id(), request_type="DEPLOYMENT", action_summary="Deploy v2", justification="because", **more
    )
    await tenant.add(approval)
    return approval


async def tell(tenant: TenantUnderTest, event_type: str, source: Any, **payload: Any) -> None:
    event = models.NotificationEvent(
        event_type=event_type, source_entity=type(source).__name__, source_id=source.id, payload=payload
    )
    await tenant.add(event)


async def agent_version(tenant: TenantUnderTest) -> models.AgentVersion:
    """A version of a template of its own."""
    template, built = models.AgentTemplate(id=new_id(), name="Scout"), genome()
    version = models.AgentVersion(id=new_id(), template_id=template.id, genome=built, genome_hash=genome_hash(built))
    await tenant.add(template)
    await tenant.add(version)
    return version


async def told(tenant: TenantUnderTest) -> list[tuple[str, str, str]]:
    return sorted((one.name, one.type, one.severity) for one in await everybodys(tenant))


async def test_not_3_approvers_in_scope_hear_of_a_request(tenant: TenantUnderTest) -> None:
    """Tenant-wide or in the project; not elsewhere, not with an expired grant, not without the permission."""
    other = models.Project(id=new_id(), name="Other", slug="other")
    await tenant.add(other)
    await person(tenant, "everywhere", "Approver")
    await person(tenant, "here", "Approver", project_id=tenant.project.id)
    await person(tenant, "elsewhere", "Approver", project_id=other.id)
    await person(tenant, "formerly", "Approver", expires_at=datetime.now(UTC) - timedelta(days=1))
    await person(tenant, "viewer", "Viewer")
    gone = await person(tenant, "suspended", "Approver")
    async with tenant.database.transaction(tenant.actor()) as session:
        row = await session.get(models.Operator, (tenant.id, gone.id))
        assert row is not None
        row.status = OperatorStatus.SUSPENDED
    approval = await request(tenant, project_id=tenant.project.id)
    await tell(tenant, "APPROVAL_REQUIRED", approval, actionSummary="Deploy v2")
    await fan_out(tenant.database, tenant.id)
    assert await told(tenant) == [
        ("everywhere", "APPROVAL_REQUESTED", "INFO"),
        ("here", "APPROVAL_REQUESTED", "INFO"),
    ]


@pytest.mark.parametrize(
    ("level", "expected"), [(1, {"approver"}), (2, {"approver", "admin"}), (3, {"approver", "admin", "viewer"})]
)
async def test_apr_8_each_level_is_raised_further(tenant: TenantUnderTest, level: int, expected: set[str]) -> None:
    """Approvers, then those who may assign roles as well, then everybody."""
    await person(tenant, "approver", "Approver")
    admin = await person(tenant, "admin")
    role = models.Role(id=new_id(), name="Roles", permissions=["assign:roles"])
    await tenant.add(
        role,
        models.RoleAssignment(role_id=role.id, operator_id=admin.id, assigned_at=tenant.project.created_at),
    )
    await person(tenant, "viewer", "Viewer")
    await tell(tenant, "APPROVAL_ESCALATED", await request(tenant), level=level)
    await fan_out(tenant.database, tenant.id)
    assert {name for name, _, _ in await told(tenant)} == expected


async def test_not_2_nobody_hears_twice(tenant: TenantUnderTest) -> None:
    """Two gateways at once, the job run again, the same text within five minutes: one message."""
    await person(tenant, "everywhere", "Approver")
    approval = await request(tenant)
    await tell(tenant, "APPROVAL_REQUIRED", approval, actionSummary="Deploy v2")
    await asyncio.gather(*(fan_out(tenant.database, tenant.id) for _ in range(3)))
    await tell(tenant, "APPROVAL_REQUIRED", approval, actionSummary="Deploy v2")
    await fan_out(tenant.database, tenant.id)
    assert len(await told(tenant)) == 1
    data = await data_of(tenant, tenant.actor(), "{ notificationEvents { edges { node { processedAt } } } }")
    assert all(edge["node"]["processedAt"] for edge in data["notificationEvents"]["edges"])


async def test_not_2_the_same_text_is_told_again_after_five_minutes(tenant: TenantUnderTest) -> None:
    """Six minutes after the first it is news."""
    await person(tenant, "everywhere", "Approver")
    approval = await request(tenant)
    for number in (1, 2):
        await tell(tenant, "APPROVAL_REQUIRED", approval, actionSummary="Deploy v2")
        await fan_out(tenant.database, tenant.id)
        assert len(await told(tenant)) == number
        async with tenant.database.platform() as connection:
            await connection.execute(
                update(models.Notification)
                .where(models.Notification.tenant_id == tenant.id)
                .values(created_at=datetime.now(UTC) - timedelta(minutes=6))
            )


async def test_not_3_the_requester_and_the_watchers_hear_of_the_decision(tenant: TenantUnderTest) -> None:
    """A denial is a warning."""
    asker, watcher = await person(tenant, "asker"), await person(tenant, "watcher")
    approval = await request(tenant, requester_id=asker.id)
    await tenant.add(models.WatchSubscription(operator_id=watcher.id, entity_type="APPROVAL", entity_id=approval.id))
    await tell(tenant, "APPROVAL_DECIDED", approval, status="DENIED")
    await fan_out(tenant.database, tenant.id)
    assert await told(tenant) == [
        ("asker", "APPROVAL_DECIDED", "WARNING"),
        ("watcher", "APPROVAL_DECIDED", "WARNING"),
    ]


async def test_not_3_a_violation_is_for_those_who_read_policies_in_the_agents_project(tenant: TenantUnderTest) -> None:
    """A grant for the agent's project suffices; one for another project does not."""
    other = models.Project(id=new_id(), name="Other", slug="other")
    await tenant.add(other)
    version = await agent_version(tenant)
    agent = models.AgentInstance(
        id=new_id(), version_id=version.id, project_id=tenant.project.id, environment_id=tenant.environment.id
    )
    await tenant.add(agent)
    await person(tenant, "everywhere", "Approver")
    await person(tenant, "here", "Approver", project_id=tenant.project.id)
    await person(tenant, "elsewhere", "Approver", project_id=other.id)
    await tell(tenant, "POLICY_VIOLATION", agent, reason="no")
    await fan_out(tenant.database, tenant.id)
    assert await told(tenant) == [("everywhere", "ALERT", "WARNING"), ("here", "ALERT", "WARNING")]


async def test_not_3_who_watches_and_has_left_hears_nothing(tenant: TenantUnderTest) -> None:
    """A watch outlives its operator's account, and tells nobody then."""
    for name, status in (("here", OperatorStatus.ACTIVE), ("gone", OperatorStatus.DEACTIVATED)):
        one = models.Operator(id=new_id(), auth_id=name, name=name, email=f"{name}@example.com", status=status)
        watch = models.WatchSubscription(operator_id=one.id, entity_type="PROJECT", entity_id=tenant.project.id)
        await tenant.add(one)
        await tenant.add(watch)
    await tell(tenant, "DEPLOYMENT_ACTIVATED", tenant.project)
    await fan_out(tenant.database, tenant.id)
    assert [name for name, _, _ in await told(tenant)] == ["here"]


@pytest.mark.parametrize(("event", "severity"), [("VERSION_APPROVED", "SUCCESS"), ("VERSION_REJECTED", "WARNING")])
async def test_not_3_a_templates_owners_hear_what_became_of_its_version(
    tenant: TenantUnderTest, event: str, severity: str
) -> None:
    """They alone."""
    owner = await person(tenant, "owner")
    await person(tenant, "everywhere", "Approver")
    version = await agent_version(tenant)
    await tenant.add(models.AgentTemplateOwner(template_id=version.template_id, operator_id=owner.id, position=0))
    await tell(tenant, event, version)
    await fan_out(tenant.database, tenant.id)
    assert await told(tenant) == [("owner", "SYSTEM", severity)]


async def test_not_3_an_unlisted_event_is_everybodys(tenant: TenantUnderTest) -> None:
    """Every active operator."""
    for name in ("a", "b"):
        await person(tenant, name)
    await tell(tenant, "SOMETHING_NEW", tenant.project)
    await fan_out(tenant.database, tenant.id)
    assert [name for name, _, _ in await told(tenant)] == ["a", "b"]


async def test_not_4_a_preference_silences(tenant: TenantUnderTest) -> None:
    """Switched off, or filtered, whatever the severity."""
    off = await person(tenant, "off", "Approver")
    picky = await person(tenant, "picky", "Approver")
    await tenant.add(
        models.NotificationPreference(operator_id=off.id, channel=NotificationChannel.IN_APP, enabled=False),
        models.NotificationPreference(
            operator_id=picky.id,
            channel=NotificationChannel.IN_APP,
            enabled=True,
            filters={"minSeverity": "WARNING"},
        ),
    )
    await tell(tenant, "APPROVAL_REQUIRED", await request(tenant), actionSummary="green")
    red = await request(tenant, risk_level=RiskLevel.RED)
    await tell(tenant, "APPROVAL_REQUIRED", red, actionSummary="red", riskLevel="RED")
    await tell(tenant, "APPROVAL_REQUIRED", await request(tenant), actionSummary="bad", severity="ERROR")
    await fan_out(tenant.database, tenant.id)
    assert await told(tenant) == [
        ("picky", "APPROVAL_REQUESTED", "ERROR"),
        ("picky", "APPROVAL_REQUESTED", "WARNING"),
    ]


@pytest.mark.parametrize(
    ("event", "payload", "is_shown"),
    [
        ("ALERT_OPENED", {"severity": "CRITICAL"}, True),
        ("ALERT_OPENED", {"severity": "ERROR"}, False),
        ("EMERGENCY_MODE_CHANGED", {"mode": "PAUSED"}, True),
        ("SOUL_CHANGED", {}, True),
        ("DEPLOYMENT_ROLLED_BACK", {"severity": "ERROR"}, False),
    ],
)
async def test_not_4_security_notices_and_critical_alerts_show_whatever_is_wanted(
    tenant: TenantUnderTest, event: str, payload: dict[str, Any], is_shown: bool
) -> None:
    """And nothing else does."""
    off, on = await person(tenant, "off", "Approver"), await person(tenant, "on", "Approver")
    version = await agent_version(tenant)
    await tenant.add(
        models.AgentTemplateOwner(template_id=version.template_id, operator_id=off.id, position=0),
        models.AgentTemplateOwner(template_id=version.template_id, operator_id=on.id, position=1),
        models.NotificationPreference(operator_id=off.id, channel=NotificationChannel.IN_APP, enabled=False),
    )
    async with tenant.database.transaction(tenant.actor()) as session:
        source: Any = await session.get(models.AgentTemplate, (tenant.id, version.template_id))
    await tell(tenant, event, source, **payload)
    await fan_out(tenant.database, tenant.id)
    assert [name for name, _, _ in await told(tenant)] == (["off", "on"] if is_shown else ["on"])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, True),
        ({}, True),
        ({"eventTypes": ["X"]}, True),
        ({"eventTypes": ["Y"]}, False),
        ({"projectIds": ["p"]}, True),
        ({"projectIds": ["q"]}, False),
        ({"minSeverity": "WARNING"}, True),
        ({"minSeverity": "ERROR"}, False),
        ({"minSeverity": "nonsense"}, True),
    ],
)
def test_not_4_filters(filters: dict[str, Any] | None, expected: bool) -> None:
    """An absent key lets everything through."""
    assert passes(filters, "X", NotificationSeverity.WARNING, "p") is expected
