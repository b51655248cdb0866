"""Command of the tenant's own settings (RET, BUD-2, HB-4, APR-8)."""

from __future__ import annotations

from typing import Any, Final
from zoneinfo import ZoneInfo

from app.commands import Refusal, Refused, command
from app.identity.commands.places import blank
from app.identity.rules import LONGEST_KEPT_DAYS, highest_tier, is_address, settings_fault
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import AuditSeverity
from db.models import Tenant

_RETENTION: Final = ("op_event_retention_days", "audit_retention_days")


@command("write:tenant", "TENANT_UPDATED")
async def update_tenant(uow: UnitOfWork, **changes: Any) -> Tenant | Refused:
    """RET, BUD-2. Change the caller's tenant; what is left out stays.

    Its slug, plan and limits are not its own to change. What is kept for a shorter time is removed by the next purge,
    and a safety floor is only ever made stricter: without one, policies reach tiers that nobody has approved (POL-5,
    POL-14). Both are warnings in the audit log.
    """
    uow.permit()
    tenant = await uow.tenant(lock=True)
    if refused := _bad(tenant, changes):
        return refused
    if "name" in changes:
        changes["name"] = changes["name"].strip()
    before, after = edit(tenant, changes)
    if after:
        uow.audit(
            "TENANT_UPDATED",
            resource="Tenant",
            resource_id=tenant.id,
            severity=AuditSeverity.WARNING if _is_grave(after, before) else AuditSeverity.INFO,
            metadata={"before": before, "after": after},
        )
    return tenant


def _bad(tenant: Tenant, changes: JsonObject) -> Refused | None:
    if refused := blank("name", changes):
        return refused
    if "timezone" in changes and (refused := bad_timezone(changes["timezone"])):
        return refused
    address = changes.get("billing_email")
    if address is not None and not is_address(address):
        message = "This is no e-mail address. Write it as name@example.com."
        return Refused(Refusal.VALIDATION_ERROR, message, "billing_email")
    for name in _RETENTION:
        days = changes.get(name)
        if days is not None and not 1 <= days <= LONGEST_KEPT_DAYS:
            message = f"Rows are kept 1 to {LONGEST_KEPT_DAYS} days (RET)."
            return Refused(Refusal.VALIDATION_ERROR, message, name)
    if "audit_retention_days" in changes and changes["audit_retention_days"] is None:
        message = "Audit logs are kept for a number of days. Leave it out to change nothing."
        return Refused(Refusal.VALIDATION_ERROR, message, "audit_retention_days")
    return _bad_settings(tenant, changes)


def _bad_settings(tenant: Tenant, changes: JsonObject) -> Refused | None:
    if "settings" not in changes:
        return None
    if fault := settings_fault(changes["settings"]):
        return Refused(Refusal.VALIDATION_ERROR, fault, "settings")
    floor, wanted = highest_tier(tenant.settings), highest_tier(changes["settings"])
    if floor is not None and (wanted is None or wanted > floor):
        message = (
            f"`safetyFloor.maxTier` is {floor} and can only be made stricter: policies would reach tiers that nobody"
            " has approved. Give it again as it is, or lower."
        )
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "settings")
    return None


def _is_grave(after: JsonObject, before: JsonObject) -> bool:
    kept = {"opEventRetentionDays", "auditRetentionDays"} & after.keys()
    floors = [highest_tier(one.get("settings")) for one in (before, after)]
    return bool(kept) or floors[0] != floors[1]


def bad_timezone(name: str | None) -> Refused | None:
    """A time zone is one of IANA's."""
    try:
        ZoneInfo(name or "")
    except (ValueError, OSError, KeyError):
        message = "A time zone is named as IANA does, such as Europe/Berlin."
        return Refused(Refusal.VALIDATION_ERROR, message, "timezone")
    return None
