"""People are let in and kept out (behaviour 1.18, RBAC-8, RBAC-9, TEN-2, decision 27)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.graph.errors import Unauthenticated
from app.unit_of_work import PermissionDenied
from db.enums import AuditSeverity, ChangeRecordType, OperatorStatus
from db.models import ChangeRecord, Operator, RoleAssignment
from tests.app.identity.stage import Stage, bootstrap

ACTIVE, SUSPENDED, DEACTIVATED = OperatorStatus.ACTIVE, OperatorStatus.SUSPENDED, OperatorStatus.DEACTIVATED
COMMANDS = {SUSPENDED: "suspend_operator", ACTIVE: "reactivate_operator", DEACTIVATED: "deactivate_operator"}


async def test_decision_27_an_invitation(stage: Stage) -> None:
    """Decision 27, AUD-2. ACTIVE with an invitation for a subject, one record, and no permission yet."""
    operator = await stage.done("invite_operator", name=" Nia ", email=" nia@people.example ")
    assert (operator.name, operator.email, operator.status) == ("Nia", "nia@people.example", ACTIVE)
    assert operator.auth_id.startswith("invite:")
    mine = await stage.rows(ChangeRecord, ChangeRecord.target_id == operator.id)
    assert [one.type for one in mine] == [ChangeRecordType.OPERATOR_CREATED]
    assert not (await stage.actor(operator.id)).permissions


@pytest.mark.parametrize("email", ["admin0@{slug}.example", "ADMIN0@{slug}.example"])
async def test_decision_27_an_address_is_one_persons(stage: Stage, email: str) -> None:
    """Decision 27. An invitation is bound by its address, so no two people have one."""
    refused = await stage.refused("invite_operator", name="Eve", email=email.format(slug=stage.slug))
    assert (refused.code, refused.field) == (Refusal.DUPLICATE_RESOURCE, "email")


async def test_ten_2_no_more_operators_than_allowed(stage: Stage) -> None:
    """TEN-2. Two invitations at once for one place: one is let in; who was deactivated does not count."""
    small = await bootstrap(stage.database, count=2, max_operators=3)
    both = await asyncio.gather(
        *(small.do("invite_operator", name=f"N{n}", email=f"n{n}@people.example") for n in range(2))
    )
    assert sorted(type(one).__name__ for one in both) == ["Done", "Refused"]
    (refused,) = [one for one in both if isinstance(one, Refused)]
    assert refused.code is Refusal.DEPENDENCY_NOT_MET
    await small.done("deactivate_operator", operator_id=small.people[1])
    await small.done("invite_operator", name="N", email="another@people.example")


@pytest.mark.parametrize("start", list(OperatorStatus))
@pytest.mark.parametrize("to", list(OperatorStatus))
async def test_behaviour_1_18_every_step(stage: Stage, start: OperatorStatus, to: OperatorStatus) -> None:
    """Behaviour 1.18, SM-2. ACTIVE and SUSPENDED lead to each other and to DEACTIVATED, which leads nowhere."""
    row = Operator(auth_id=f"s-{start}-{to}", name="N", email=f"{start}.{to}@people.example", status=start)
    await stage.add(row)
    legal = {ACTIVE: {SUSPENDED, DEACTIVATED}, SUSPENDED: {ACTIVE, DEACTIVATED}, DEACTIVATED: set[OperatorStatus]()}
    outcome = await stage.do(COMMANDS[to], operator_id=row.id, reason="because")
    after: Any = await stage.one(Operator, row.id)
    audits = [
        one for one in await stage.audits("OPERATOR_UPDATED", "OPERATOR_DELETED") if one.resource_id == str(row.id)
    ]
    if to in legal[start]:
        assert isinstance(outcome, Done)
        assert after.status is to
        assert [(one.action, one.severity) for one in audits] == [
            ("OPERATOR_DELETED", AuditSeverity.WARNING)
            if to is DEACTIVATED
            else ("OPERATOR_UPDATED", AuditSeverity.INFO)
        ]
        assert audits[0].description == "because"
    else:
        assert isinstance(outcome, Refused)
        assert outcome.code is Refusal.INVALID_STATE_TRANSITION
        assert set(outcome.allowed or ()) == {one.value for one in legal[start]}
        assert (after.status, audits) == (start, [])


async def test_sm_1_a_stale_status_is_a_conflict(stage: Stage) -> None:
    """SM-1. What somebody else changed first is not changed again by mistake."""
    refused = await stage.refused("suspend_operator", operator_id=stage.people[1], expected_status=SUSPENDED)
    assert (refused.code, refused.field) == (Refusal.CONFLICT, "expected_status")


async def test_behaviour_1_18_a_suspended_persons_token_is_rejected(stage: Stage) -> None:
    """Behaviour 1.18. From the next request on, and let in again likewise."""
    await stage.done("suspend_operator", operator_id=stage.people[1])
    with pytest.raises(Unauthenticated):
        await stage.actor(stage.people[1])
    await stage.done("reactivate_operator", operator_id=stage.people[1])
    assert (await stage.actor(stage.people[1])).can("write:roles")


@pytest.mark.parametrize(
    "name", ["suspend_operator", "deactivate_operator", "erase_operator", "request_operator_deletion"]
)
async def test_rbac_8_the_last_admin_stays(stage: Stage, name: str) -> None:
    """RBAC-8. Not suspended, deactivated, erased nor up for erasure; nothing is changed."""
    alone = await bootstrap(stage.database, count=1)
    refused = await alone.refused(name, operator_id=alone.people[0])
    assert refused.code is Refusal.DEPENDENCY_NOT_MET
    assert "RBAC-8" in refused.message
    assert (await alone.one(Operator, alone.people[0])).status is ACTIVE
    # Whoever is suspended, holds Admin in one project, or for a time only, is no stand-in.
    role = await alone.role("Admin")
    await alone.newcomer("Scoped", "Admin", project_id=alone.project_id)
    await alone.newcomer("Passing", "Admin", expires_at=datetime.now(UTC) + timedelta(hours=1))
    away = await alone.newcomer("Away", "Admin")
    await alone.done("suspend_operator", operator_id=away)
    past = await alone.newcomer("Past")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    await alone.add(RoleAssignment(role_id=role, operator_id=past, assigned_at=long_ago, expires_at=long_ago))
    assert (await alone.refused(name, operator_id=alone.people[0])).code is Refusal.DEPENDENCY_NOT_MET
    await alone.newcomer("Second", "Admin")
    await alone.done(name, operator_id=alone.people[0])


@pytest.mark.parametrize("how", ["revoke", "suspend", "mixed"])
async def test_rbac_8_two_admins_cannot_remove_each_other_at_once(stage: Stage, how: str) -> None:
    """RBAC-8. Of two removals at the same moment that would leave nobody, one is refused."""
    pair = await bootstrap(stage.database, count=2)
    actors: list[Actor] = [await pair.actor(one) for one in pair.people]
    grants = {one.operator_id: one.id for one in await pair.rows(RoleAssignment)}
    revoke = [("revoke_role", {"assignment_id": grants[one]}) for one in pair.people]
    suspend = [("suspend_operator", {"operator_id": one}) for one in pair.people]
    steps = {"revoke": revoke, "suspend": suspend, "mixed": [revoke[0], suspend[1]]}[how]
    # Each removes the other.
    outcomes = await asyncio.gather(
        *(pair.do(name, by=actors[1 - n], **given) for n, (name, given) in enumerate(steps))
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Done", "Refused"]


async def test_permissions_are_needed(stage: Stage) -> None:
    """SM-4. Somebody without a role invites, suspends and deactivates nobody, and may yet change their own name."""
    nobody = await stage.newcomer()
    for name in COMMANDS.values():
        with pytest.raises(PermissionDenied):
            await stage.do(name, by=nobody, operator_id=stage.people[0])
    with pytest.raises(PermissionDenied):
        await stage.do("invite_operator", by=nobody, name="E", email="e@people.example")
    with pytest.raises(PermissionDenied):
        await stage.do("update_operator", by=nobody, operator_id=stage.people[0], name="Owned")
    mine = await stage.done("update_operator", by=nobody, operator_id=nobody, name="Nia the Second")
    assert mine.name == "Nia the Second"
    (note,) = [one for one in await stage.audits("OPERATOR_UPDATED") if one.resource_id == str(nobody)]
    assert "Second" not in str(note.metadata_)
