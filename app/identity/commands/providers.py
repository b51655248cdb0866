"""Commands of providers: whose models agents run, with keys that nobody reads again (PII-4)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from app.commands import Refusal, Refused, command
from app.governance.rules import names_secret
from app.identity.commands.places import blank, no_seal
from app.rows import edit
from app.sealing import Seal
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ChangeRecordType, ProviderType
from db.models import Provider


@command("write:providers", ChangeRecordType.PROVIDER_CREATED)
async def create_provider(
    uow: UnitOfWork,
    name: str,
    type: ProviderType,
    config: JsonObject | None = None,
    health_endpoint: str | None = None,
    metadata: JsonObject | None = None,
) -> Provider | Refused:
    """PII-4. Make a vendor known; what its configuration keeps secret is encrypted before it is stored."""
    uow.permit()
    refused = blank("name", {"name": name}) or _bad_address(health_endpoint)
    if refused:
        return refused
    sealed = _sealed(uow, config)
    if isinstance(sealed, Refused):
        return sealed
    provider = uow.add(
        Provider(
            name=name.strip(), type=type, config=sealed or None, health_endpoint=health_endpoint, metadata_=metadata
        )
    )
    after = {"name": provider.name, "type": type.value, "configKeys": sorted(sealed)}
    uow.record(ChangeRecordType.PROVIDER_CREATED, provider, after=after)
    return provider


@command("write:providers", "PROVIDER_UPDATED")
async def update_provider(uow: UnitOfWork, provider_id: UUID, **changes: Any) -> Provider | Refused:
    """PII-4. Change a vendor. Its configuration is changed key by key, since nobody can read it back: a key that is
    left out stays, null takes one away."""
    provider = await uow.lock(Provider, provider_id)
    if provider is None:
        return Refused(Refusal.NOT_FOUND, "No such provider.", "provider_id")
    uow.permit()
    refused = blank("name", changes) or _bad_address(changes.get("health_endpoint"))
    if refused:
        return refused
    touched: list[str] = []
    if "config" in changes:
        sealed = _sealed(uow, changes.pop("config"))
        if isinstance(sealed, Refused):
            return sealed
        touched = sorted(sealed)
        merged = {**(provider.config or {}), **sealed}
        provider.config = {key: value for key, value in merged.items() if value is not None} or None
    before, after = edit(provider, changes)
    if after or touched:
        uow.audit(
            "PROVIDER_UPDATED",
            resource="Provider",
            resource_id=provider.id,
            metadata={"before": before, "after": after, "configKeys": touched},
        )
    return provider


def _bad_address(address: str | None) -> Refused | None:
    if address is None:
        return None
    try:
        found = urlsplit(address)
        is_good = found.scheme in ("http", "https") and bool(found.hostname) and not found.username
    except ValueError:
        is_good = False
    if is_good:
        return None
    message = "The address begins with http:// or https://, has a host, and no user name in it."
    return Refused(Refusal.VALIDATION_ERROR, message, "health_endpoint")


def _sealed(uow: UnitOfWork, config: Any) -> JsonObject | Refused:
    """The configuration with every value encrypted whose key says that it is a secret (RSK-4)."""
    if config is None:
        return {}
    if not isinstance(config, dict):
        return Refused(Refusal.VALIDATION_ERROR, "The configuration is a JSON object.", "config")
    try:
        sealed: JsonObject = _seal_in(config, uow.seal)
    except _NoSeal:
        return no_seal("config")
    except _NoText as error:
        message = f"`{error}` names a secret, so it is a text; a place for several has another name."
        return Refused(Refusal.VALIDATION_ERROR, message, "config")
    return sealed


class _NoSeal(Exception):
    """There is a secret, and no key to encrypt it with."""


class _NoText(Exception):
    """A secret that is no text; the message is its key."""


def _seal_in(value: Any, seal: Seal | None) -> Any:
    if isinstance(value, list):
        return [_seal_in(one, seal) for one in value]
    if not isinstance(value, dict):
        return value
    found: JsonObject = {}
    for key, one in value.items():
        if one is None or not names_secret(key):
            found[key] = _seal_in(one, seal)
        elif not isinstance(one, str):
            raise _NoText(key)
        elif seal is None:
            raise _NoSeal
        else:
            found[key] = seal.seal(one)
    return found
