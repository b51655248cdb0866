"""Consent with the first sign-in (GDPR-4)."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from app.auth.actor import Actor, ActorKind
from app.auth.authenticate import Authenticator
from app.auth.claims import Token, TokenRejected
from app.auth.consent import SignedInOperators
from app.auth.invitations import InvitedOperators
from app.auth.setup import open_authenticator, open_local_tokens
from app.settings import Secret, Settings
from db.enums import OperatorStatus
from db.models import Operator
from tests.app.auth.conftest import LONG_AGO, Fleet


class Counted(SignedInOperators):
    """Consents, counting how often one was to be noted."""

    calls = 0

    async def consent(self, person: Actor) -> None:
        self.calls += 1
        await super().consent(person)


@pytest.fixture
def consents(fleet: Fleet) -> Counted:
    return Counted(fleet.database)


@pytest.fixture
def authenticator(fleet: Fleet, consents: Counted) -> Authenticator:
    invitations = InvitedOperators(fleet.database)
    return Authenticator(fleet.database, local=None, invitations=invitations, consents=consents)


def token(fleet: Fleet, subject: str = "ada", email: str | None = None) -> Token:
    """What a token said, once verified."""
    return Token(
        kind=ActorKind.OPERATOR,
        subject=subject,
        tenant=fleet.slug,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        email=email,
    )


async def row(fleet: Fleet, operator: UUID) -> Any:
    async with fleet.database.platform() as connection:
        return (await connection.execute(select(Operator.__table__).where(Operator.id == operator))).one()


def is_now(moment: datetime | None) -> bool:
    return moment is not None and abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


async def test_gdpr_4_the_first_sign_in_is_consent_and_the_next_ones_cost_nothing(
    fleet: Fleet, authenticator: Authenticator, consents: Counted
) -> None:
    operator, other = await fleet.operator("ada"), await fleet.operator("grace")
    assert (await row(fleet, operator)).gdpr_consent_at is None
    assert (await authenticator.resolve(token(fleet), None)).id == operator
    first = await row(fleet, operator)
    assert is_now(first.gdpr_consent_at)
    assert first.last_login_at == first.updated_at == first.gdpr_consent_at
    await authenticator.resolve(token(fleet), None)
    assert await row(fleet, operator) == first
    assert consents.calls == 1
    assert (await row(fleet, other)).gdpr_consent_at is None


async def test_gdpr_4_requests_that_come_together_note_it_once_and_all_come_in(
    fleet: Fleet, authenticator: Authenticator, consents: Counted
) -> None:
    operator = await fleet.operator("ada")
    found: list[Actor] = await asyncio.gather(*(authenticator.resolve(token(fleet), None) for _ in range(6)))
    assert {actor.id for actor in found} == {operator}
    first = (await row(fleet, operator)).gdpr_consent_at
    # A gateway that looked before the first one had written comes too late.
    await consents.consent(found[0])
    assert (await row(fleet, operator)).gdpr_consent_at == first


async def test_gdpr_4_what_was_consented_to_before_stays(fleet: Fleet, authenticator: Authenticator) -> None:
    operator = await fleet.operator("ada")
    await fleet.change(Operator, operator, gdpr_consent_at=LONG_AGO)
    await authenticator.resolve(token(fleet), None)
    assert (await row(fleet, operator)).gdpr_consent_at == LONG_AGO


@pytest.mark.parametrize("status", [OperatorStatus.SUSPENDED, OperatorStatus.DEACTIVATED])
async def test_gdpr_4_who_is_not_let_in_consents_to_nothing(
    fleet: Fleet, authenticator: Authenticator, consents: Counted, status: OperatorStatus
) -> None:
    """Not even where they were suspended between the look and the note."""
    operator = await fleet.operator("ada")
    person = await Authenticator(fleet.database, local=None).resolve(token(fleet), None)
    await fleet.change(Operator, operator, status=status)
    with pytest.raises(TokenRejected):
        await authenticator.resolve(token(fleet), None)
    assert consents.calls == 0
    await consents.consent(person)
    assert (await row(fleet, operator)).gdpr_consent_at is None


@pytest.mark.parametrize("imported", [None, LONG_AGO])
async def test_gdpr_4_an_invitation_is_bound_with_the_consent(
    fleet: Fleet, authenticator: Authenticator, consents: Counted, imported: datetime | None
) -> None:
    """In one statement; a consent that an import brought is older and stays."""
    invited = await fleet.operator(f"invite:{uuid4()}", email="ada@fleet.example")
    await fleet.change(Operator, invited, gdpr_consent_at=imported)
    assert (await authenticator.resolve(token(fleet, "auth0|ada", "ada@fleet.example"), None)).id == invited
    bound = await row(fleet, invited)
    assert bound.gdpr_consent_at == (imported or bound.last_login_at)
    assert is_now(bound.last_login_at)
    assert consents.calls == 0


@pytest.mark.parametrize("issuer", [{}, {"oidc_issuer": "https://login.example", "oidc_audience": "fleetgraph"}])
async def test_gdpr_4_the_authenticators_of_the_settings_note_it(
    fleet: Fleet, tmp_path: Path, issuer: dict[str, str]
) -> None:
    operator = await fleet.operator("ada")
    settings = Settings(data_dir=tmp_path, secret_key=Secret("k" * 40), **issuer)  # type: ignore[arg-type]
    authenticator = open_authenticator(settings, fleet.database)
    await authenticator.resolve(token(fleet), None)
    await authenticator.close()
    assert is_now((await row(fleet, operator)).gdpr_consent_at)


async def test_gdpr_4_agents_consent_to_nothing(fleet: Fleet, authenticator: Authenticator, consents: Counted) -> None:
    instance = await fleet.instance()
    said = Token(
        kind=ActorKind.INSTANCE,
        subject=str(instance),
        tenant=fleet.slug,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        epoch=2,
    )
    assert (await authenticator.resolve(said, None)).id == instance
    assert consents.calls == 0


async def test_gdpr_4_a_bootstrapped_admin_consents_with_the_first_token(fleet: Fleet, tmp_path: Path) -> None:
    """With the gateway's own tokens a bootstrapped Admin signs in as the invitation's subject."""
    subject = f"invite:{uuid4()}"
    operator = await fleet.operator(subject)
    settings = Settings(data_dir=tmp_path)
    tokens = open_local_tokens(settings)
    assert tokens is not None
    authenticator = open_authenticator(settings, fleet.database)
    await authenticator.authenticate(f"Bearer {tokens.issue(ActorKind.OPERATOR, subject, tenant=fleet.slug)}", None)
    assert is_now((await row(fleet, operator)).gdpr_consent_at)
