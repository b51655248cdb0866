"""The tenant's own settings change (RET, BUD-2, POL-5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.audit.retention import Policy
from app.commands import Done, Refusal, Refused
from app.unit_of_work import PermissionDenied
from db.models import Tenant
from tests.app.identity.stage import Stage, bootstrap


async def test_ret_a_tenant_says_how_long_it_keeps_what(stage: Stage) -> None:
    """What is given changes, what is left out stays; the purge goes by it, and the audit log has both as a warning."""
    tenant = await stage.done(
        "update_tenant",
        op_event_retention_days=7,
        audit_retention_days=365,
        settings={"retention": {"notificationDays": 10}},
    )
    policy = Policy.of(tenant)
    assert (policy.op_events.days, policy.audit_logs.days, policy.notifications.days) == (7, 365, 10)
    assert (tenant.name, tenant.timezone) == ("Acme", "UTC")
    (note,) = await stage.audits("TENANT_UPDATED")
    assert (note.severity.value, note.resource_id) == ("WARNING", str(stage.tenant_id))
    assert note.metadata_["before"]["opEventRetentionDays"] is None  # type: ignore[index]
    assert note.metadata_["after"]["auditRetentionDays"] == 365  # type: ignore[index]
    await stage.done("update_tenant", op_event_retention_days=7)
    assert len(await stage.audits("TENANT_UPDATED")) == 1
    assert (await stage.done("update_tenant", op_event_retention_days=None)).op_event_retention_days is None


async def test_bud_2_the_name_and_the_time_zone_change(stage: Stage) -> None:
    tenant = await stage.done(
        "update_tenant",
        name=" Acme Works ",
        timezone="Europe/Berlin",
        billing_email="bills@acme.example",
        gdpr_data_region="eu",
        metadata={"a": 1},
    )
    assert (tenant.name, tenant.timezone, tenant.slug) == ("Acme Works", "Europe/Berlin", stage.slug)
    assert (tenant.billing_email, tenant.gdpr_data_region, tenant.metadata_) == ("bills@acme.example", "eu", {"a": 1})
    (note,) = await stage.audits("TENANT_UPDATED")
    assert note.severity.value == "INFO"


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"name": "  "}, "name", "blank"),
        ({"timezone": "Europe/Atlantis"}, "timezone", "IANA"),
        ({"timezone": None}, "timezone", "IANA"),
        ({"billing_email": "nobody"}, "billing_email", "name@example.com"),
        ({"op_event_retention_days": 0}, "op_event_retention_days", "1 to 3650"),
        ({"op_event_retention_days": 3651}, "op_event_retention_days", "1 to 3650"),
        ({"audit_retention_days": -1}, "audit_retention_days", "1 to 3650"),
        ({"audit_retention_days": None}, "audit_retention_days", "Leave it out"),
        ({"settings": []}, "settings", "JSON object"),
        ({"settings": {"heartbeat": 5}}, "settings", "`heartbeat`"),
        ({"settings": {"heartbeat": {"staleMs": 0}}}, "settings", "staleMs"),
        ({"settings": {"approvalSlaMinutes": True}}, "settings", "approvalSlaMinutes"),
        ({"settings": {"approvalSlaMinutes": 1.5}}, "settings", "approvalSlaMinutes"),
        ({"settings": {"missionStatement": 7}}, "settings", "missionStatement"),
        ({"settings": {"safetyFloor": {"maxTier": 6}}}, "settings", "0 to 5"),
        ({"settings": {"retention": {"evaluationRunDays": 0}}}, "settings", "evaluationRunDays"),
    ],
)
async def test_ret_what_is_wrong_is_named_and_changes_nothing(
    stage: Stage, given: dict[str, Any], field: str, says: str
) -> None:
    refused = await stage.do("update_tenant", **{"gdpr_data_region": "moon", **given})
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, field)
    assert says in refused.message
    assert await stage.audits("TENANT_UPDATED") == []
    assert (await stage.done("update_tenant")).gdpr_data_region is None


async def test_pol_5_a_safety_floor_is_only_made_stricter(stage: Stage) -> None:
    """Else policies would reach tiers without the approval of POL-14; also by leaving the floor out."""
    first = await stage.done("update_tenant", settings={"safetyFloor": {"maxTier": 3}, "own": 1})
    assert first.settings == {"safetyFloor": {"maxTier": 3}, "own": 1}
    await stage.done("update_tenant", settings={"safetyFloor": {"maxTier": 2}})
    looser: list[dict[str, Any] | None] = [{"safetyFloor": {"maxTier": 3}}, {"safetyFloor": {}}, {"own": 2}, None]
    for settings in looser:
        refused = await stage.do("update_tenant", settings=settings)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "settings")
    kept = await stage.done("update_tenant", settings={"safetyFloor": {"maxTier": 2}, "own": 2})
    assert kept.settings == {"safetyFloor": {"maxTier": 2}, "own": 2}
    notes = await stage.audits("TENANT_UPDATED")
    assert [note.severity.value for note in notes] == ["WARNING", "WARNING", "INFO"]


async def test_rbac_6_a_grant_for_a_project_does_not_reach_the_tenant(stage: Stage) -> None:
    """Nor does a role that only reads."""
    await stage.done("update_tenant", name="Kept")
    scoped = await stage.newcomer("Nia", "Admin", project_id=stage.project_id)
    reader = await stage.newcomer("Rob", "Viewer")
    for person in (scoped, reader):
        with pytest.raises(PermissionDenied):
            await stage.do("update_tenant", by=person, name="Taken")
    assert (await stage.done("update_tenant")).name == "Kept"


async def test_ten_1_another_tenant_stays_as_it_is(stage: Stage) -> None:
    other = await bootstrap(stage.database)
    await stage.done("update_tenant", name="Mine", timezone="Asia/Tokyo")
    async with other.database.transaction(other.reader) as session:
        row = await session.get(Tenant, other.tenant_id)
        assert row is not None
        assert (row.name, row.timezone) == ("Acme", "UTC")


async def test_two_changes_at_once_keep_both(stage: Stage) -> None:
    """The second waits for the first and finds it."""
    outcomes = await asyncio.gather(
        stage.do("update_tenant", name="Both"), stage.do("update_tenant", timezone="Asia/Tokyo")
    )
    assert all(isinstance(one, Done) for one in outcomes)
    tenant = await stage.done("update_tenant")
    assert (tenant.name, tenant.timezone) == ("Both", "Asia/Tokyo")
