"""The directory of people, and the agents' places in projects (ORG-1, ORG-2)."""

import asyncio
from typing import Any

import pytest

from app.commands import Refusal
from app.unit_of_work import PermissionDenied
from db.enums import InstanceState, OrgPosition, OrgScope
from db.models import OrgAssignment, OrgMember
from tests.app.identity.stage import Stage
from tests.app.identity.test_places import agent

CEO, LEAD = OrgPosition.CEO, OrgPosition.LEAD


async def member(stage: Stage, name: str, under: Any = None, **given: Any) -> Any:
    made = await stage.done("create_org_member", name=name, role="Clerk", parent_member_id=under, **given)
    return made.id


async def levels(stage: Stage) -> dict[str, int]:
    return {one.name: one.level for one in await stage.rows(OrgMember)}


async def test_org_2_a_move_takes_everybody_along(stage: Stage) -> None:
    """ORG-2. The levels of all who report to the member shift by the same number."""
    top = await member(stage, "top")
    a = await member(stage, "a", top)
    b = await member(stage, "b", a)
    await member(stage, "c", b)
    other = await member(stage, "other")
    assert await levels(stage) == {"top": 0, "a": 1, "b": 2, "c": 3, "other": 0}
    moved = await stage.done("move_org_member", member_id=b, parent_member_id=other)
    assert moved.level == 1
    assert await levels(stage) == {"top": 0, "a": 1, "b": 1, "c": 2, "other": 0}
    await stage.done("move_org_member", member_id=b)
    assert (await levels(stage))["c"] == 1
    first, *_ = await stage.audits("ORG_MEMBER_MOVED")
    assert first.resource_id == str(b)


async def test_org_2_nobody_moves_under_themselves(stage: Stage) -> None:
    """ORG-2. Not under oneself, nor under somebody below; two moves at once make no circle."""
    a = await member(stage, "a")
    b = await member(stage, "b", a)
    c = await member(stage, "c", b)
    for target in (a, c):
        refused = await stage.refused("move_org_member", member_id=a, parent_member_id=target)
        assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "parent_member_id")
    x, y = await member(stage, "x"), await member(stage, "y")
    outcomes = await asyncio.gather(
        stage.do("move_org_member", member_id=x, parent_member_id=y),
        stage.do("move_org_member", member_id=y, parent_member_id=x),
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Done", "Refused"]


async def test_org_2_an_address_is_one_active_members(stage: Stage) -> None:
    """ORG-2. In any case, and free again when its member is removed."""
    first = await member(stage, "a", email="a@people.example")
    refused = await stage.refused("create_org_member", name="b", role="r", email="A@people.example")
    assert (refused.code, refused.field) == (Refusal.DUPLICATE_RESOURCE, "email")
    second = await member(stage, "b")
    refused = await stage.refused("update_org_member", member_id=second, email="a@people.example")
    assert refused.code is Refusal.DUPLICATE_RESOURCE
    removed = await stage.done("remove_org_member", member_id=first, reason="left")
    assert removed.active is False
    assert (await stage.refused("remove_org_member", member_id=first)).code is Refusal.CONFLICT
    changed = await stage.done("update_org_member", member_id=second, email="a@people.example", title="Dr")
    assert changed.title == "Dr"
    (note,) = await stage.audits("ORG_MEMBER_UPDATED")
    assert note.metadata_ == {"changed": ["email", "title"]}
    refused = await stage.refused("create_org_member", name="c", role="r", parent_member_id=first)
    assert refused.code is Refusal.DEPENDENCY_NOT_MET


async def test_org_1_one_ceo_a_project(stage: Stage) -> None:
    """ORG-1. The same agent again is an update, another one a conflict, at the same moment too."""
    one, two = (await agent(stage, InstanceState.ACTIVE)).id, (await agent(stage, InstanceState.ACTIVE)).id
    place: dict[str, Any] = {"project_id": stage.project_id, "org_position": CEO}
    first = await stage.done("assign_org_position", instance_id=one, **place)
    again = await stage.done("assign_org_position", instance_id=one, scope=OrgScope.SQUAD, scope_ref="red", **place)
    assert (again.id, again.scope_ref) == (first.id, "red")
    refused = await stage.refused("assign_org_position", instance_id=two, **place)
    assert (refused.code, refused.field) == (Refusal.CONFLICT, "org_position")
    gone = await stage.done("remove_org_position", assignment_id=first.id)
    assert gone["instance"] == str(one)
    outcomes = await asyncio.gather(*(stage.do("assign_org_position", instance_id=who, **place) for who in (one, two)))
    assert sorted(type(each).__name__ for each in outcomes) == ["Done", "Refused"]
    assert len(await stage.rows(OrgAssignment)) == 1
    assert len(await stage.audits("ORG_POSITION_ASSIGNED")) == 3
    assert len(await stage.audits("ORG_POSITION_REMOVED")) == 1


async def test_org_1_the_same_place_again(stage: Stage) -> None:
    """ORG-1. Same agent, project, rank and scope: an update; another scope: another place."""
    who = (await agent(stage, InstanceState.ACTIVE)).id
    place: dict[str, Any] = {"instance_id": who, "project_id": stage.project_id, "org_position": LEAD}
    first = await stage.done("assign_org_position", **place)
    assert (await stage.done("assign_org_position", metadata={"a": 1}, **place)).id == first.id
    await stage.done("assign_org_position", scope=OrgScope.REPO, scope_ref="acme/site", **place)
    assert len(await stage.rows(OrgAssignment)) == 2


@pytest.mark.parametrize(("scope", "ref"), [(OrgScope.SQUAD, None), (OrgScope.REPO, "  "), (OrgScope.PROJECT, "red")])
async def test_org_1_a_squad_is_named(stage: Stage, scope: OrgScope, ref: str | None) -> None:
    """ORG-1. SQUAD and REPO need a `scopeRef`, and PROJECT has none."""
    who = (await agent(stage, InstanceState.ACTIVE)).id
    refused = await stage.refused(
        "assign_org_position",
        instance_id=who,
        project_id=stage.project_id,
        org_position=LEAD,
        scope=scope,
        scope_ref=ref,
    )
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "scope_ref")


async def test_permissions_are_needed(stage: Stage) -> None:
    """RBAC-7. `write:people` in a project reaches the project's places and members, and no others."""
    who = (await agent(stage, InstanceState.ACTIVE)).id
    lead = await stage.newcomer("Lee", "Admin", project_id=stage.project_id)
    given: dict[str, Any] = {"by": lead, "name": "n", "role": "r"}
    await stage.done("create_org_member", project_id=stage.project_id, **given)
    with pytest.raises(PermissionDenied):
        await stage.do("create_org_member", **given)
    place: dict[str, Any] = {"instance_id": who, "project_id": stage.project_id, "org_position": LEAD}
    await stage.done("assign_org_position", by=lead, **place)
    with pytest.raises(PermissionDenied):
        await stage.do("assign_org_position", by=await stage.newcomer("Vic", "Viewer"), **place)
