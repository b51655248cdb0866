"""Which keys and issuers the settings lead to."""

import time
from pathlib import Path
from typing import Any

import pytest

from app.auth.actor import ActorKind
from app.auth.keys import KeyUnusable, derive_key
from app.auth.setup import open_authenticator, open_local_tokens
from app.auth.tokens import LocalTokens
from app.graph.errors import Unauthenticated
from app.settings import Environment, Secret, Settings, SettingsError
from db.session import Database
from tests.app.auth.conftest import Fleet
from tests.app.auth.provider import AUDIENCE, Provider

SECRET = Secret("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=")
OIDC: dict[str, Any] = {"oidc_issuer": "https://login.example", "oidc_audience": "fleetgraph"}


def test_in_development_the_key_is_a_file_of_the_data_directory(tmp_path: Path) -> None:
    tokens = open_local_tokens(Settings(data_dir=tmp_path))
    assert tokens is not None
    assert (tmp_path / "keys" / "signing.jwk").exists()
    again = open_local_tokens(Settings(data_dir=tmp_path))
    assert again is not None
    assert again.verify(tokens.issue(ActorKind.OPERATOR, "ada")).subject == "ada"


def test_with_a_secret_nothing_is_stored_and_every_gateway_has_the_same_key(tmp_path: Path) -> None:
    one, two = (open_local_tokens(Settings(data_dir=tmp_path / name, secret_key=SECRET)) for name in ("a", "b"))
    assert one is not None
    assert two is not None
    assert two.verify(one.issue(ActorKind.OPERATOR, "ada")).subject == "ada"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"environment": Environment.PRODUCTION}, OIDC])
def test_no_key_is_made_up_in_production_or_beside_an_issuer(tmp_path: Path, change: dict[str, Any]) -> None:
    assert open_local_tokens(Settings(data_dir=tmp_path, **change)) is None
    assert list(tmp_path.iterdir()) == []


def test_beside_an_issuer_the_gateways_tokens_are_for_agents(tmp_path: Path) -> None:
    tokens = open_local_tokens(Settings(data_dir=tmp_path, secret_key=SECRET, **OIDC))
    assert tokens is not None
    assert tokens.issue(ActorKind.INSTANCE, "x", tenant="northwind", epoch=0)
    with pytest.raises(ValueError, match="OIDC"):
        tokens.issue(ActorKind.OPERATOR, "ada")


async def test_the_authenticator_of_the_settings_lets_an_operator_in(fleet: Fleet, tmp_path: Path) -> None:
    operator = await fleet.operator("ada")
    settings = Settings(data_dir=tmp_path)
    tokens = open_local_tokens(settings)
    assert tokens is not None
    authenticator = open_authenticator(settings, fleet.database)
    token = tokens.issue(ActorKind.OPERATOR, "ada", tenant=fleet.slug)
    assert (await authenticator.authenticate(f"Bearer {token}", None)).id == operator
    await authenticator.close()


async def test_an_issuer_alone_is_enough(database: Database, tmp_path: Path) -> None:
    authenticator = open_authenticator(
        Settings(data_dir=tmp_path, environment=Environment.PRODUCTION, **OIDC), database
    )
    await authenticator.close()


async def test_where_nobody_could_sign_in_the_gateway_does_not_start(database: Database, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FLEETGRAPH_SECRET_KEY or FLEETGRAPH_OIDC_ISSUER"):
        open_authenticator(Settings(data_dir=tmp_path, environment=Environment.PRODUCTION), database)


async def test_an_issuer_without_tls_does_not_start(database: Database, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, oidc_issuer="http://login.example", oidc_audience="fleetgraph")
    with pytest.raises(SettingsError, match=r"FLEETGRAPH_OIDC_ISSUER: .*https://"):
        open_authenticator(settings, database)


async def test_a_short_secret_does_not_start(database: Database, tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="at least 32"):
        open_authenticator(Settings(data_dir=tmp_path, secret_key=Secret("short")), database)


async def test_with_both_people_sign_in_at_the_issuer_and_agents_with_the_gateways_tokens(
    fleet: Fleet, provider: Provider, tmp_path: Path
) -> None:
    """The whole way: an invited person's first token, with what it claims beyond its due, and an agent's."""
    invited = await fleet.operator("invite:1", email="ada@fleet.example")
    instance = await fleet.instance()
    settings = Settings(data_dir=tmp_path, secret_key=SECRET, oidc_issuer=provider.issuer, oidc_audience=AUDIENCE)
    authenticator = open_authenticator(settings, fleet.database)
    now = int(time.time())
    claims: dict[str, Any] = {
        "tenant": fleet.slug,
        "email": "ada@fleet.example",
        "email_verified": True,
        "kind": "platform",
    }
    person = await authenticator.authenticate("Bearer " + provider.token(iat=now, exp=now + 60, **claims), None)
    assert (person.kind, person.id) == (ActorKind.OPERATOR, invited)

    tokens = open_local_tokens(settings)
    assert tokens is not None
    agent = tokens.issue(ActorKind.INSTANCE, str(instance), tenant=fleet.slug, epoch=2)
    assert (await authenticator.authenticate(f"Bearer {agent}", None)).id == instance

    everyday = LocalTokens(derive_key(SECRET.reveal()), operators=True)
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate("Bearer " + everyday.issue(ActorKind.OPERATOR, "auth0|ada"), None)
    await authenticator.close()
