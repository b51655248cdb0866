"""Roles, and who holds them where (RBAC-4 to RBAC-8, decision 29)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.commands import Done, Refusal
from app.unit_of_work import PermissionDenied
from db.enums import AuditSeverity
from db.ids import new_id
from db.models import Project, Role, RoleAssignment
from db.session import Database
from tests.app.identity.stage import Stage, bootstrap

SOON = timedelta(hours=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def stage(database: Database) -> Stage:
    """A tenant of the test's own, with three Admins."""
    return await bootstrap(database)


def later(hours: int = 1) -> datetime:
    return (datetime.now(UTC) + timedelta(hours=hours)).replace(microsecond=0)


async def granted(stage: Stage, operator: Any) -> list[Any]:
    return list(await stage.rows(RoleAssignment, RoleAssignment.operator_id == operator))


async def test_rbac_5_a_role_of_ones_own(stage: Stage) -> None:
    """RBAC-5, AUD-1. Made, changed for its holders at once, and deleted when nobody holds it; each step is audited."""
    role = await stage.done("create_role", name="Clerk", permissions=["read:tasks", "read:tasks", "read:runs"])
    assert role.permissions == ["read:runs", "read:tasks"]
    clerk = await stage.newcomer()
    grant = await stage.done("assign_role", role_id=role.id, operator_id=clerk)
    assert set((await stage.actor(clerk)).permissions) == {"read:tasks", "read:runs"}
    await stage.done("update_role", role_id=role.id, permissions=["write:tasks"], name="Writer")
    assert set((await stage.actor(clerk)).permissions) == {"write:tasks"}
    refused = await stage.refused("delete_role", role_id=role.id)
    assert refused.code is Refusal.DEPENDENCY_NOT_MET
    await stage.done("revoke_role", assignment_id=grant.id)
    assert not (await stage.actor(clerk)).permissions
    await stage.done("delete_role", role_id=role.id)
    assert await stage.rows(Role, Role.id == role.id) == []
    notes = await stage.audits("ROLE_CREATED", "ROLE_UPDATED", "ROLE_DELETED", "ROLE_REVOKED")
    assert sorted(one.action for one in notes) == ["ROLE_CREATED", "ROLE_DELETED", "ROLE_REVOKED", "ROLE_UPDATED"]
    (change,) = [one for one in notes if one.action == "ROLE_UPDATED"]
    assert change.metadata_ == {
        "before": {"permissions": ["read:runs", "read:tasks"], "name": "Clerk"},
        "after": {"permissions": ["write:tasks"], "name": "Writer"},
    }
    assert change.resource_id == str(role.id)


@pytest.mark.parametrize("name", ["", "  ", "admin", "SUPER_ADMIN", "Release-Lead", "release  lead"])
async def test_rbac_5_names(stage: Stage, name: str) -> None:
    """RBAC-5. Blank, built in, or another role's in a spelling that reads the same."""
    await stage.done("create_role", name="Release lead", permissions=[])
    refused = await stage.refused("create_role", name=name, permissions=[])
    assert refused.code is (Refusal.DUPLICATE_RESOURCE if name.strip() else Refusal.VALIDATION_ERROR)
    assert refused.field == "name"


async def test_rbac_5_only_what_the_registry_has(stage: Stage) -> None:
    """RBAC-1, RBAC-5. An unknown permission is refused by name."""
    refused = await stage.refused("create_role", name="X", permissions=["read:tasks", "tasks.read"])
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "permissions")
    assert "tasks.read" in refused.message


async def test_rbac_4_built_in_roles_stay(stage: Stage) -> None:
    """RBAC-4. Neither changed nor deleted."""
    viewer = await stage.role("Viewer")
    assert (await stage.refused("update_role", role_id=viewer, permissions=[])).field == "role_id"
    assert (await stage.refused("delete_role", role_id=viewer)).code is Refusal.VALIDATION_ERROR


async def test_rbac_4_super_admin_is_given_to_nobody(stage: Stage) -> None:
    """RBAC-4. It stands above tenants, even where a tenant has such a row."""
    role = Role(name="Super Admin", permissions=["read:tasks"], is_system=True)
    await stage.add(role)
    refused = await stage.refused("assign_role", role_id=role.id, operator_id=await stage.newcomer())
    assert refused.code is Refusal.VALIDATION_ERROR


@pytest.mark.parametrize("how", ["create", "update", "assign"])
async def test_rbac_5_nobody_hands_on_what_they_lack(stage: Stage, how: str) -> None:
    """RBAC-5. No way leads to more than one holds oneself, and the attempt is in the security journal."""
    keeper = await stage.done(
        "create_role", name="Keeper", permissions=["write:roles", "assign:roles", "read:tasks", "read:operators"]
    )
    person = await stage.newcomer("Kim", "Keeper")
    friend = await stage.newcomer("Fay")
    if how == "create":
        refused = await stage.refused("create_role", by=person, name="More", permissions=["read:tasks", "erase:gdpr"])
    elif how == "update":
        refused = await stage.refused("update_role", by=person, role_id=keeper.id, permissions=["erase:gdpr"])
    else:
        refused = await stage.refused("assign_role", by=person, role_id=await stage.role("Admin"), operator_id=friend)
    assert refused.code is Refusal.DEPENDENCY_NOT_MET
    assert refused.field == ("role_id" if how == "assign" else "permissions")
    (note,) = await stage.audits("ACCESS_DENIED")
    assert (note.severity, note.actor_id) == (AuditSeverity.WARNING, person)
    assert not (await stage.actor(friend)).permissions
    if how == "update":  # what is taken away, or stays, need not be held
        await stage.done("update_role", by=person, role_id=keeper.id, permissions=["write:roles"])


async def test_rbac_8_nobody_gives_themselves_a_role(stage: Stage) -> None:
    """RBAC-8. Not even an Admin; the attempt is noted."""
    refused = await stage.refused("assign_role", role_id=await stage.role("Approver"), operator_id=stage.people[0])
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "operator_id")
    assert len(await stage.audits("ACCESS_DENIED")) == 1
    assert len(await granted(stage, stage.people[0])) == 1


async def test_rbac_7_a_scoped_grant(stage: Stage) -> None:
    """RBAC-6, RBAC-7, decision 29. A grant for a project holds there alone, and gives no more than it."""
    other = Project(id=new_id(), name="Other", slug="other")
    await stage.add(other)
    lead = await stage.newcomer("Lee", "Admin", project_id=stage.project_id)
    actor = await stage.actor(lead)
    assert actor.scope("write:projects").covers(stage.project_id)
    assert not actor.scope("write:projects").covers(other.id)
    await stage.done("update_project", by=lead, project_id=stage.project_id, description="Mine")
    with pytest.raises(PermissionDenied):
        await stage.do("update_project", by=lead, project_id=other.id, description="Not mine")
    # Who is Admin in a project gives roles there, and nowhere else.
    friend, viewer = await stage.newcomer("Fay"), await stage.role("Viewer")
    await stage.done("assign_role", by=lead, role_id=viewer, operator_id=friend, project_id=stage.project_id)
    both = {"project_id": stage.project_id, "environment_id": stage.environment_ids[0]}
    await stage.done("assign_role", by=lead, role_id=viewer, operator_id=friend, **both)
    elsewhere: list[dict[str, Any]] = [{}, {"project_id": other.id}, {"environment_id": stage.environment_ids[0]}]
    for scope in elsewhere:
        with pytest.raises(PermissionDenied):
            await stage.do("assign_role", by=lead, role_id=viewer, operator_id=friend, **scope)
    with pytest.raises(PermissionDenied):
        await stage.do("create_role", by=lead, name="Tenant wide", permissions=[])
    (everywhere,) = await granted(stage, stage.people[1])
    with pytest.raises(PermissionDenied):
        await stage.do("revoke_role", by=lead, assignment_id=everywhere.id)


async def test_rbac_6_the_same_grant_again(stage: Stage) -> None:
    """RBAC-6. Another end changes the end, the same end is a conflict, another scope is another grant."""
    viewer, person = await stage.role("Viewer"), await stage.newcomer()
    end = later()
    first = await stage.done("assign_role", role_id=viewer, operator_id=person, expires_at=end)
    assert (
        await stage.refused("assign_role", role_id=viewer, operator_id=person, expires_at=end)
    ).code is Refusal.CONFLICT
    again = await stage.done("assign_role", role_id=viewer, operator_id=person, expires_at=later(2))
    forever = await stage.done("assign_role", by=stage.people[1], role_id=viewer, operator_id=person)
    assert first.id == again.id == forever.id
    (stored,) = await granted(stage, person)
    assert (stored.expires_at, stored.assigned_by_operator_id) == (None, stage.people[1])
    assert (await stage.refused("assign_role", role_id=viewer, operator_id=person)).code is Refusal.CONFLICT
    await stage.done("assign_role", role_id=viewer, operator_id=person, project_id=stage.project_id)
    assert len(await granted(stage, person)) == 2
    notes = [one for one in await stage.audits("ROLE_ASSIGNED") if one.resource_id == str(first.id)]
    assert len(notes) == 3
    assert [(one.metadata_ or {})["before"] for one in notes].count(None) == 1


async def test_rbac_6_the_same_grant_from_two_at_once(stage: Stage) -> None:
    """RBAC-6. One grant comes of it, and one of the two is told."""
    viewer, person = await stage.role("Viewer"), await stage.newcomer()
    given: dict[str, Any] = {"role_id": viewer, "operator_id": person}
    outcomes = await asyncio.gather(*(stage.do("assign_role", by=stage.people[n], **given) for n in range(2)))
    assert sorted(type(one).__name__ for one in outcomes) == ["Done", "Refused"]
    assert len(await granted(stage, person)) == 1


async def test_rbac_6_expired_grants_are_ignored(stage: Stage) -> None:
    """RBAC-6. They allow nothing, keep no role from going, and are revived by giving the role again."""
    role = await stage.done("create_role", name="Temp", permissions=["read:tasks"])
    person = await stage.newcomer()
    await stage.add(RoleAssignment(role_id=role.id, operator_id=person, assigned_at=LONG_AGO, expires_at=LONG_AGO))
    assert not (await stage.actor(person)).permissions
    await stage.done("assign_role", role_id=role.id, operator_id=person)
    assert (await stage.actor(person)).can("read:tasks")
    (grant,) = await granted(stage, person)
    await stage.done("revoke_role", assignment_id=grant.id)
    await stage.add(RoleAssignment(role_id=role.id, operator_id=person, assigned_at=LONG_AGO, expires_at=LONG_AGO))
    await stage.done("delete_role", role_id=role.id)
    assert await granted(stage, person) == []


async def test_rbac_6_a_grant_ends_in_the_future(stage: Stage) -> None:
    """RBAC-6. An end in the past is refused."""
    viewer, person = await stage.role("Viewer"), await stage.newcomer()
    refused = await stage.refused("assign_role", role_id=viewer, operator_id=person, expires_at=LONG_AGO)
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "expires_at")


async def test_rbac_6_of_one_tenant(stage: Stage) -> None:
    """RBAC-6, TEN-1. Role, operator, project and environment are the tenant's own."""
    other = await bootstrap(stage.database, count=1)
    viewer, person = await stage.role("Viewer"), await stage.newcomer()
    for given in (
        {"role_id": await other.role("Viewer"), "operator_id": person},
        {"role_id": viewer, "operator_id": other.people[0]},
        {"role_id": viewer, "operator_id": person, "project_id": other.project_id},
        {"role_id": viewer, "operator_id": person, "environment_id": other.environment_ids[0]},
    ):
        assert (await stage.refused("assign_role", **given)).code is Refusal.NOT_FOUND


async def test_a_deactivated_operator_gets_no_role(stage: Stage) -> None:
    """Behaviour 1.18. DEACTIVATED is final."""
    person = await stage.newcomer()
    await stage.done("deactivate_operator", operator_id=person)
    refused = await stage.refused("assign_role", role_id=await stage.role("Viewer"), operator_id=person)
    assert refused.code is Refusal.DEPENDENCY_NOT_MET


async def test_rbac_8_the_last_admin_keeps_the_role(stage: Stage) -> None:
    """RBAC-8. Not revoked, neither alone nor with all others, and not given an end; other roles of theirs may be."""
    alone = await bootstrap(stage.database, count=1)
    admin, boss = await alone.role("Admin"), alone.people[0]
    (grant,) = await granted(alone, boss)
    deputy = await alone.newcomer("Dee", "Admin", expires_at=later())
    assert (await alone.refused("revoke_role", by=deputy, assignment_id=grant.id)).field == "assignment_id"
    assert (await alone.refused("revoke_all_roles", by=deputy, operator_id=boss)).code is Refusal.DEPENDENCY_NOT_MET
    ending = {"role_id": admin, "operator_id": boss, "expires_at": later()}
    assert (await alone.refused("assign_role", by=deputy, **ending)).code is Refusal.DEPENDENCY_NOT_MET
    viewer = {"role_id": await alone.role("Viewer"), "operator_id": boss}
    await alone.done("assign_role", by=deputy, **viewer)
    await alone.done("assign_role", by=deputy, **viewer, expires_at=later())
    (other,) = [one for one in await granted(alone, boss) if one.id != grant.id]
    await alone.done("revoke_role", by=deputy, assignment_id=other.id)
    await alone.newcomer("Sue", "Admin")
    await alone.done("revoke_role", by=deputy, assignment_id=grant.id)
    assert await granted(alone, boss) == []


async def test_all_roles_revoked(stage: Stage) -> None:
    """AUD-1. One audit row tells all that was taken."""
    person = await stage.newcomer("Nia", "Viewer", project_id=stage.project_id)
    await stage.done("assign_role", role_id=await stage.role("Approver"), operator_id=person)
    await stage.done("revoke_all_roles", operator_id=person)
    assert await granted(stage, person) == []
    (note,) = await stage.audits("ALL_ROLES_REVOKED")
    assert note.resource_id == str(person)
    assert len(note.metadata_["before"]) == 2  # type: ignore[index]


async def test_a_grant_is_revoked_once(stage: Stage) -> None:
    """RBAC-7. Of two who revoke the same grant at once, one is told that it is gone."""
    person = await stage.newcomer("Nia", "Viewer")
    (grant,) = await granted(stage, person)
    outcomes = await asyncio.gather(
        *(stage.do("revoke_role", by=stage.people[n], assignment_id=grant.id) for n in range(2))
    )
    assert sum(isinstance(one, Done) for one in outcomes) == 1
    assert len(await stage.audits("ROLE_REVOKED")) == 1
