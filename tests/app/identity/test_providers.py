"""Vendors and their keys (PII-4)."""

from typing import Any

import pytest

from app.commands import Refusal, Refused
from app.running import run
from app.sealing import Seal
from app.unit_of_work import PermissionDenied
from db.enums import ChangeRecordType, ProviderType
from db.models import Provider
from tests.app.identity.stage import SECRET, Stage
from tests.asking import ask

CREATE = """mutation($input: ProviderCreateInput!) { providerCreate(input: $input) {
  provider { name type status changeRecords { edges { node { afterState } } } } changeRecord { type }
  userErrors { code field }
} }"""


async def test_pii_4_keys_are_sealed_at_every_depth(stage: Stage) -> None:
    """PII-4, RSK-4. What a key's name calls a secret is encrypted; what is none, such as maxTokens, stays readable."""
    config = {"apiKey": "k-1", "region": "eu", "maxTokens": 5, "auth": [{"client_secret": "k-2", "user": "u"}]}
    provider = await stage.done("create_provider", name="Acme AI", type=ProviderType.CUSTOM, config=config)
    stored = (await stage.one(Provider, provider.id)).config
    assert (stored["region"], stored["maxTokens"], stored["auth"][0]["user"]) == ("eu", 5, "u")
    seal = Seal(SECRET)
    assert seal.unseal(stored["apiKey"]) == "k-1"
    assert seal.unseal(stored["auth"][0]["client_secret"]) == "k-2"
    (record,) = await stage.changes(ChangeRecordType.PROVIDER_CREATED)
    assert record.after_state == {
        "name": "Acme AI",
        "type": "CUSTOM",
        "configKeys": ["apiKey", "auth", "maxTokens", "region"],
    }


async def test_pii_4_without_a_key_nothing_is_stored(stage: Stage) -> None:
    """PII-4. A gateway that cannot encrypt refuses secrets, and takes the rest."""
    admin = await stage.actor(stage.people[0])
    given: dict[str, Any] = {"name": "A", "type": ProviderType.LOCAL, "config": {"apiKey": "k"}}
    refused = await run(stage.database, admin, "create_provider", given)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "config")
    assert await stage.rows(Provider) == []
    answer = await ask(
        stage.database, admin, CREATE, input={"name": "Own", "type": "LOCAL", "config": {"region": "here"}}
    )
    assert not answer.errors, answer.errors
    payload = answer.data["providerCreate"]
    assert payload["userErrors"] == []
    assert payload["changeRecord"] == {"type": "PROVIDER_CREATED"}
    assert len(payload["provider"]["changeRecords"]["edges"]) == 1


async def test_pii_4_a_configuration_changes_key_by_key(stage: Stage) -> None:
    """PII-4. Nobody can read it back, so what is left out stays; null takes a key away; the journal has names alone."""
    config = {"apiKey": "old", "region": "eu", "zone": "a"}
    provider = await stage.done("create_provider", name="A", type=ProviderType.OPENAI, config=config)
    before = provider.config["region"], provider.config["apiKey"]
    await stage.done("update_provider", provider_id=provider.id, name="B", config={"apiKey": "new", "zone": None})
    after = await stage.one(Provider, provider.id)
    assert (after.name, set(after.config)) == ("B", {"apiKey", "region"})
    assert after.config["region"] == before[0]
    assert Seal(SECRET).unseal(after.config["apiKey"]) == "new"
    (note,) = await stage.audits("PROVIDER_UPDATED")
    assert note.metadata_ == {"before": {"name": "A"}, "after": {"name": "B"}, "configKeys": ["apiKey", "zone"]}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": " "}, "name"),
        ({"config": ["apiKey"]}, "config"),
        ({"config": {"token": {"a": 1}}}, "config"),
        ({"health_endpoint": "ftp://x.example"}, "health_endpoint"),
        ({"health_endpoint": "https://"}, "health_endpoint"),
        ({"health_endpoint": "https://user:pass@x.example"}, "health_endpoint"),
        ({"health_endpoint": "http://[x"}, "health_endpoint"),
    ],
)
async def test_bad_values(stage: Stage, given: dict[str, Any], field: str) -> None:
    """ERR-3. The refusal names the field."""
    refused = await stage.refused("create_provider", **{"name": "A", "type": ProviderType.LOCAL, **given})
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, field)


async def test_permissions_are_needed(stage: Stage) -> None:
    """SM-4. A Viewer makes no vendor."""
    viewer = await stage.newcomer("Vic", "Viewer")
    with pytest.raises(PermissionDenied):
        await stage.do("create_provider", by=viewer, name="A", type=ProviderType.LOCAL)
