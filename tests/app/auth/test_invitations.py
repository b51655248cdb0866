"""The first sign-in of the invited (decision 27)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from app.auth.actor import Actor, ActorKind
from app.auth.authenticate import Authenticator
from app.auth.claims import Token, TokenRejected
from app.auth.invitations import InvitedOperators
from app.identity.rules import pseudonym
from db.enums import OperatorStatus
from db.models import AuditLog, Operator
from tests.app.auth.conftest import Fleet


def authenticator(fleet: Fleet) -> Authenticator:
    return Authenticator(fleet.database, local=None, invitations=InvitedOperators(fleet.database))


def signed_in(subject: str, email: str | None, tenant: str | None) -> Token:
    """What the issuer's token said, once verified."""
    return Token(
        kind=ActorKind.OPERATOR,
        subject=subject,
        tenant=tenant,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        email=email,
    )


async def audit(fleet: Fleet) -> list[Any]:
    async with fleet.database.platform() as connection:
        return list(await connection.execute(select(AuditLog.__table__).where(AuditLog.tenant_id == fleet.tenant_id)))


async def test_decision_27_the_first_sign_in_binds_the_subject_and_is_audited(fleet: Fleet) -> None:
    invited = await fleet.operator(f"invite:{uuid4()}", email="Ada@Fleet.example")
    token = signed_in("auth0|ada", "ada@fleet.example", fleet.slug)
    actor = await authenticator(fleet).resolve(token, None)
    assert (actor.id, actor.tenant_id) == (invited, fleet.tenant_id)
    async with fleet.database.platform() as connection:
        row = (await connection.execute(select(Operator.__table__).where(Operator.id == invited))).one()
    assert row.auth_id == "auth0|ada"
    assert datetime.now(UTC) - row.last_login_at < timedelta(minutes=1)
    [entry] = await audit(fleet)
    assert (entry.action, entry.severity, entry.actor_type) == ("OPERATOR_UPDATED", "INFO", "HUMAN")
    assert (entry.actor_id, entry.resource, entry.resource_id) == (invited, "operators", str(invited))
    assert pseudonym("ada@fleet.example") in entry.description
    assert "ada@" not in entry.description.lower()


async def test_an_invitation_is_good_once(fleet: Fleet) -> None:
    await fleet.operator(f"invite:{uuid4()}", email="ada@fleet.example")
    await authenticator(fleet).resolve(signed_in("first", "ada@fleet.example", fleet.slug), None)
    with pytest.raises(TokenRejected, match="unknown subject"):
        await authenticator(fleet).resolve(signed_in("second", "ada@fleet.example", fleet.slug), None)
    assert len(await audit(fleet)) == 1


async def test_requests_that_come_together_bind_once_and_all_come_in(fleet: Fleet) -> None:
    invited = await fleet.operator(f"invite:{uuid4()}", email="ada@fleet.example")
    token = signed_in("auth0|ada", "ada@fleet.example", fleet.slug)
    found: list[Actor] = await asyncio.gather(*(authenticator(fleet).resolve(token, None) for _ in range(6)))
    assert {actor.id for actor in found} == {invited}
    assert len(await audit(fleet)) == 1


@pytest.mark.parametrize("email", [None, "grace@fleet.example", "a%a@fleet.example", "ada@fleet.example "])
async def test_no_invitation_without_the_same_verified_address(fleet: Fleet, email: str | None) -> None:
    await fleet.operator(f"invite:{uuid4()}", email="ada@fleet.example")
    with pytest.raises(TokenRejected, match="unknown subject"):
        await authenticator(fleet).resolve(signed_in("auth0|ada", email, fleet.slug), None)


async def test_the_subject_of_an_invitation_is_no_key_to_it(fleet: Fleet) -> None:
    subject = f"invite:{uuid4()}"
    await fleet.operator(subject, email="ada@fleet.example")
    bound = await InvitedOperators(fleet.database).accept(signed_in("invite:x", "ada@fleet.example", fleet.slug), None)
    assert not bound


@pytest.mark.parametrize("status", [OperatorStatus.SUSPENDED, OperatorStatus.DEACTIVATED])
async def test_a_withdrawn_invitation_binds_nobody(fleet: Fleet, status: OperatorStatus) -> None:
    await fleet.operator(f"invite:{uuid4()}", status, email="ada@fleet.example")
    with pytest.raises(TokenRejected, match="unknown subject"):
        await authenticator(fleet).resolve(signed_in("auth0|ada", "ada@fleet.example", fleet.slug), None)


async def test_somebody_who_has_a_subject_already_is_not_bound_again(fleet: Fleet) -> None:
    await fleet.operator("auth0|old", email="ada@fleet.example")
    with pytest.raises(TokenRejected, match="unknown subject"):
        await authenticator(fleet).resolve(signed_in("auth0|new", "ada@fleet.example", fleet.slug), None)


async def test_invited_by_two_tenants_the_request_names_one(fleet: Fleet, other: Fleet) -> None:
    subject, email = f"auth0|{fleet.slug}", f"ada-{fleet.slug}@fleet.example"
    await fleet.operator(f"invite:{uuid4()}", email=email)
    there = await other.operator(f"invite:{uuid4()}", email=email)
    with pytest.raises(TokenRejected, match="unknown subject"):
        await authenticator(fleet).resolve(signed_in(subject, email, None), None)
    assert (await authenticator(fleet).resolve(signed_in(subject, email, None), other.slug)).id == there
    assert await audit(fleet) == []
