"""`orgHierarchy`: people and agents in one tree (ORG-2)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.platform.rules.hierarchy import in_order
from db import models
from db.enums import InstanceState
from db.ids import new_id
from tests.asking import ask, data_of
from tests.conftest import TenantUnderTest
from tests.governed import Registry

QUERY = """query($project: ID) { orgHierarchy(projectId: $project) {
    id parentId depth children member { name } instance { name } } }"""


def ids(count: int) -> list[UUID]:
    return [UUID(int=number + 1) for number in range(count)]


def shape(places: Any) -> list[tuple[int, int, int]]:
    return [(place.id.int, place.depth, place.children) for place in places]


def test_org_2_each_before_those_below_it() -> None:
    a, b, c, d = ids(4)
    assert shape(in_order({a: None, b: a, c: None, d: b})) == [(1, 0, 1), (2, 1, 1), (4, 2, 0), (3, 0, 0)]
    assert in_order({}) == []


def test_org_2_who_names_nobody_that_is_there_is_at_the_top() -> None:
    a, b, gone = ids(3)
    assert shape(in_order({a: gone, b: b})) == [(1, 0, 0), (2, 0, 0)]


def test_org_2_a_circle_is_cut_once() -> None:
    """Everybody is in the tree once, whatever an import brought."""
    a, b, c, d = ids(4)
    assert shape(in_order({a: b, b: c, c: a, d: c})) == [(1, 0, 1), (3, 1, 2), (2, 2, 0), (4, 2, 0)]


def test_org_2_agents_at_the_top_stand_under_the_first_person() -> None:
    person, other, agent, child = ids(4)
    parents = {person: None, other: None, agent: None, child: agent}
    assert shape(in_order(parents, [agent, child])) == [(1, 0, 1), (3, 1, 1), (4, 2, 0), (2, 0, 0)]
    assert shape(in_order({agent: None, child: agent}, [agent, child])) == [(3, 0, 1), (4, 1, 0)]


def test_org_2_a_very_deep_tree() -> None:
    chain = ids(5_000)
    places = in_order(dict(zip(chain, [None, *chain], strict=False)))
    assert places[-1].depth == 4_999


async def people(registry: Registry) -> dict[str, Any]:
    tenant = registry.tenant
    far = models.Project(id=new_id(), name="Far", slug="far")
    ada = models.OrgMember(id=new_id(), name="Ada", role="Head", level=0)
    bob = models.OrgMember(id=new_id(), name="Bob", role="Research", level=1, parent_member_id=ada.id)
    gone = models.OrgMember(id=new_id(), name="Gone", role="Research", level=1, parent_member_id=ada.id, active=False)
    eve = models.OrgMember(id=new_id(), name="Eve", role="Far", level=1, parent_member_id=ada.id, project_id=far.id)
    await tenant.add(far, ada, bob, gone, eve)
    version = await registry.version()

    def agent(name: str, project: Any, parent: Any = None, state: InstanceState = InstanceState.ACTIVE) -> Any:
        return models.AgentInstance(
            id=new_id(),
            name=name,
            version_id=version.id,
            project_id=project.id,
            environment_id=tenant.environment.id,
            state=state,
            parent_instance_id=None if parent is None else parent.id,
        )

    chief = agent("Chief", tenant.project)
    await tenant.add(
        chief,
        agent("Helper", tenant.project, chief),
        agent("Old", tenant.project, None, InstanceState.RETIRED),
        agent("Remote", far),
    )
    return {"far": far, "ada": ada}


def names(data: Any) -> list[str]:
    return [
        "  " * one["depth"] + (one["member"] or one["instance"])["name"] + f" {one['children']}"
        for one in data["orgHierarchy"]
    ]


async def test_org_2_people_and_agents_in_two_statements(registry: Registry) -> None:
    await people(registry)
    answer = await ask(registry.tenant.database, registry.tenant.actor(), QUERY)
    assert not answer.errors
    assert names(answer.data) == ["Ada 4", "  Bob 0", "  Eve 0", "  Chief 1", "    Helper 0", "  Remote 0"]
    assert len(answer.statements) == 2
    nodes = answer.data["orgHierarchy"]
    assert nodes[4]["parentId"] == nodes[3]["id"]
    assert nodes[3]["parentId"] == nodes[0]["id"]
    assert nodes[0]["parentId"] is None


async def test_org_2_of_one_project(registry: Registry) -> None:
    """Its own people and those of the whole tenant; its own agents alone."""
    made = await people(registry)
    data = await data_of(registry.tenant, registry.tenant.actor(), QUERY, project=f"prj_{made['far'].id.hex}")
    assert names(data) == ["Ada 3", "  Bob 0", "  Eve 0", "  Remote 0"]


async def test_org_2_shows_what_may_be_read(registry: Registry, other_tenant: TenantUnderTest) -> None:
    await people(registry)
    tenant = registry.tenant
    people_only = QUERY.replace("instance { name }", "")
    assert names(await data_of(tenant, tenant.actor("read:people"), people_only)) == ["Ada 2", "  Bob 0", "  Eve 0"]
    agents = await ask(tenant.database, tenant.actor("read:instances"), QUERY.replace("member { name }", ""))
    assert [one["instance"]["name"] for one in agents.data["orgHierarchy"]] == ["Chief", "Helper", "Remote"]
    neither = "{ orgHierarchy { id } }"
    assert (await ask(tenant.database, tenant.actor("read:tasks"), neither)).code == "FORBIDDEN"
    assert (await data_of(other_tenant, other_tenant.actor(), QUERY))["orgHierarchy"] == []
