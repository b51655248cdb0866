"""Commands of webhooks: made, changed, given a new secret, switched; a delivery is sent again (WHK-1, WHK-6, PII-4).

A secret is sealed before it is stored. It leaves the gateway once, in the answer to whoever had it generated, and is in
no journal and no record of an idempotency key.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.commands import Done, Refusal, Refused, command
from app.identity.commands.places import blank, no_seal
from app.identity.standing import open_project
from app.platform.addresses import destination_fault
from app.platform.rules.webhooks import SHORTEST_SECRET, events_fault, host_of
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import AuditSeverity, TaskType, WebhookDeliveryStatus
from db.models import AgentInstance, Webhook, WebhookDelivery

LONGEST_SECRET: Final = 200
_NO_WEBHOOK: Final = Refused(Refusal.NOT_FOUND, "No such webhook.", "webhook_id")
_PREFIX: Final = "whsec_"
_RANDOM_BYTES: Final = 32


@command("write:webhooks", "WEBHOOK_CREATED")
async def create_webhook(
    uow: UnitOfWork,
    name: str,
    url: str,
    events: list[str],
    project_id: UUID | None = None,
    secret: str | None = None,
    filters: JsonObject | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """WHK-1. Have an address outside told of events. Without a secret one is made, and shown this once."""
    uow.permit(project_id=project_id)
    if project_id is not None:
        project = await open_project(uow, project_id)
        if isinstance(project, Refused):
            return project
    if refused := blank("name", {"name": name}) or _bad_events(events) or await _bad_filters(uow, filters):
        return refused
    sealed = _sealed(uow, secret)
    if isinstance(sealed, Refused):
        return sealed
    if fault := await destination_fault(url):
        return Refused(Refusal.VALIDATION_ERROR, fault, "url")
    webhook = uow.add(
        Webhook(
            project_id=project_id,
            name=name.strip(),
            url=url,
            secret=sealed.stored,
            events=list(dict.fromkeys(events)),
            filters=_stored(filters),
            active=True,
            created_by_operator_id=uow.actor_id,
            metadata_=metadata,
        )
    )
    _note(uow, "WEBHOOK_CREATED", webhook, host=host_of(url), events=webhook.events)
    return Done(webhook, unkept={"secret": sealed.shown})


@command("write:webhooks", "WEBHOOK_UPDATED")
async def update_webhook(uow: UnitOfWork, webhook_id: UUID, **changes: Any) -> Webhook | Refused:
    """WHK-1. Change a webhook; what is left out stays. Deliveries under way go to where they were meant for."""
    seen = await uow.get(Webhook, webhook_id)
    if seen is None:
        return _NO_WEBHOOK
    uow.permit(project_id=seen.project_id)
    if refused := blank("name", changes) or await _bad_filters(uow, changes.get("filters")):
        return refused
    if "events" in changes and (refused := _bad_events(changes["events"] or [])):
        return refused
    if "url" in changes and (fault := await destination_fault(changes["url"] or "")):
        return Refused(Refusal.VALIDATION_ERROR, fault, "url")
    webhook = await uow.lock(Webhook, webhook_id)
    if webhook is None:
        return _NO_WEBHOOK
    edited = dict(changes)
    if "events" in edited:
        edited["events"] = list(dict.fromkeys(edited["events"]))
    if "filters" in edited:
        edited["filters"] = _stored(edited["filters"])
    _, after = edit(webhook, edited)
    if after:
        _note(uow, "WEBHOOK_UPDATED", webhook, changed=sorted(after), host=host_of(webhook.url), events=webhook.events)
    return webhook


@command("write:webhooks", "WEBHOOK_SECRET_ROTATED")
async def rotate_webhook_secret(uow: UnitOfWork, webhook_id: UUID, secret: str | None = None) -> Done | Refused:
    """WHK-1, PII-4. Sign with another secret from now on. Without one a new one is made, and shown this once."""
    webhook = await _locked(uow, webhook_id)
    if isinstance(webhook, Refused):
        return webhook
    sealed = _sealed(uow, secret)
    if isinstance(sealed, Refused):
        return sealed
    webhook.secret = sealed.stored
    _note(uow, "WEBHOOK_SECRET_ROTATED", webhook, severity=AuditSeverity.WARNING)
    return Done(webhook, unkept={"secret": sealed.shown})


@command("write:webhooks", "WEBHOOK_ACTIVATED")
async def activate_webhook(uow: UnitOfWork, webhook_id: UUID) -> Webhook | Refused:
    """WHK-2. Tell a webhook of events again; what happened meanwhile is not made up for."""
    return await _switch(uow, webhook_id, to=True)


@command("write:webhooks", "WEBHOOK_DEACTIVATED")
async def deactivate_webhook(uow: UnitOfWork, webhook_id: UUID, reason: str | None = None) -> Webhook | Refused:
    """WHK-2, decision 19. Tell a webhook of nothing more; it stays, and so do its deliveries until their time."""
    return await _switch(uow, webhook_id, to=False, reason=reason)


async def _switch(uow: UnitOfWork, webhook_id: UUID, *, to: bool, reason: str | None = None) -> Webhook | Refused:
    webhook = await _locked(uow, webhook_id)
    if isinstance(webhook, Refused):
        return webhook
    if webhook.active is to:
        return Refused(Refusal.CONFLICT, f"The webhook is {'active' if to else 'inactive'} already.", "webhook_id")
    webhook.active = to
    _note(uow, "WEBHOOK_ACTIVATED" if to else "WEBHOOK_DEACTIVATED", webhook, reason=reason)
    return webhook


@command("write:webhooks", "WEBHOOK_REDELIVERED")
async def redeliver_webhook(uow: UnitOfWork, delivery_id: UUID) -> WebhookDelivery | Refused:
    """WHK-6. Send an event again, as a delivery of its own: to where the webhook points now, with all its attempts."""
    seen = await uow.get(WebhookDelivery, delivery_id)
    if seen is None:
        return Refused(Refusal.NOT_FOUND, "No such delivery.", "delivery_id")
    webhook = await _locked(uow, seen.webhook_id)
    if isinstance(webhook, Refused):
        return webhook
    if not webhook.active:
        message = "The webhook is not active; nothing is delivered to it. Activate it first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "delivery_id")
    delivery = uow.add(
        WebhookDelivery(
            webhook_id=webhook.id,
            project_id=seen.project_id,
            event=seen.event,
            payload=seen.payload,
            url=webhook.url,
            status=WebhookDeliveryStatus.PENDING,
            attempts=0,
            max_attempts=seen.max_attempts,
        )
    )
    uow.audit(
        "WEBHOOK_REDELIVERED",
        resource=WebhookDelivery.__name__,
        resource_id=delivery.id,
        metadata={"webhookId": str(webhook.id), "originalId": str(seen.id), "event": seen.event},
    )
    return delivery


# --- Parts ------------------------------------------------------------------------------------------------------------


class _Secret:
    """A secret as it is stored, and as it is shown: only one that was made here."""

    def __init__(self, stored: str, shown: str | None) -> None:
        self.stored, self.shown = stored, shown


def _sealed(uow: UnitOfWork, given: str | None) -> _Secret | Refused:
    if given is not None and not SHORTEST_SECRET <= len(given) <= LONGEST_SECRET:
        message = f"A secret has {SHORTEST_SECRET} to {LONGEST_SECRET} characters; leave it out to have one made."
        return Refused(Refusal.VALIDATION_ERROR, message, "secret")
    if uow.seal is None:
        return no_seal("secret")
    made = None if given is not None else _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return _Secret(uow.seal.seal(given or made or ""), made)


async def _locked(uow: UnitOfWork, webhook_id: UUID) -> Webhook | Refused:
    webhook = await uow.lock(Webhook, webhook_id)
    if webhook is None:
        return _NO_WEBHOOK
    uow.permit(project_id=webhook.project_id)
    return webhook


def _bad_events(events: list[str]) -> Refused | None:
    fault = events_fault(events)
    return None if fault is None else Refused(Refusal.VALIDATION_ERROR, fault, "events")


async def _bad_filters(uow: UnitOfWork, filters: JsonObject | None) -> Refused | None:
    """Agents that a filter names are the tenant's."""
    ids = (filters or {}).get("instance_ids")
    if not ids:
        return None
    statement = select(AgentInstance.id).where(AgentInstance.tenant_id == uow.tenant_id, AgentInstance.id.in_(ids))
    found = set(await uow.session.scalars(statement))
    missing = next((at for at, one in enumerate(ids) if one not in found), None)
    if missing is None:
        return None
    return Refused(Refusal.NOT_FOUND, "No such agent instance.", f"filters.instance_ids[{missing}]")


def _stored(filters: JsonObject | None) -> JsonObject | None:
    """The filters as they are kept: without those that bind nothing."""
    if filters is None:
        return None
    kept: JsonObject = {}
    for name, key in (("task_types", "taskTypes"), ("instance_ids", "instanceIds"), ("statuses", "statuses")):
        values: Iterable[Any] | None = filters.get(name)
        if values is not None:
            kept[key] = [one.value if isinstance(one, TaskType) else str(one) for one in values]
    return kept or None


def _note(
    uow: UnitOfWork,
    action: str,
    webhook: Webhook,
    *,
    reason: str | None = None,
    severity: AuditSeverity = AuditSeverity.INFO,
    **what: Any,
) -> None:
    """The audit row has the host of the address alone: many receivers know their senders by the rest of it."""
    uow.audit(
        action,
        resource=Webhook.__name__,
        resource_id=webhook.id,
        description=reason,
        severity=severity,
        metadata=what or None,
    )
