"""NOT-6: what one is told, and what one wants to hear, is nobody else's, whichever way it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from app.auth.actor import Actor
from app.auth.scope import Assignment, Grants
from app.graph.registry import ENTITIES, EntityType, Private, Through, ToMany, ToOne, camel
from db import models
from db.enums import ActorType, InstanceState, MessageType, NotificationChannel, NotificationType, TaskStatus, TaskType
from db.ids import new_id
from tests import asking
from tests.governed import Registry, registry

__all__ = ["registry"]

PRIVATE = ("Notification", "NotificationPreference")


@pytest.fixture(params=["resolvers", "compiler"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test by both ways of reading."""
    if request.param == "compiler":
        executor = asking.compiling()
        monkeypatch.setattr(asking, "executor", lambda: executor)


@dataclass
class Told:
    """Ada, who is told something and wants something; Bob, who may read everything; and an agent that is told."""

    registry: Registry
    ada: Actor
    bob: Actor
    ids: dict[str, str]
    """Global id of Ada's row of each private type."""
    agents: str
    """Global id of the agent's notification."""
    sources: dict[str, UUID]
    """The row of each type that a relation leads from to Ada's rows."""


@pytest.fixture
async def told(registry: Registry) -> Told:
    """A notification with everything that one can name."""
    tenant, project = registry.tenant, registry.tenant.project
    bob = models.Operator(id=new_id(), auth_id="bob", name="Bob", email="bob@example.com")
    version = await registry.version()
    agent = models.AgentInstance(
        id=new_id(),
        name="agent",
        project_id=project.id,
        environment_id=tenant.environment.id,
        version_id=version.id,
        state=InstanceState.ACTIVE,
    )
    task = models.Task(
        id=new_id(), project_id=project.id, title="T", type=TaskType.OPS, status=TaskStatus.INBOX, priority=3
    )
    approval = await registry.approval("DEPLOYMENT", "AgentTemplate", registry.template.id)
    deployment = models.Deployment(
        id=new_id(),
        template_id=registry.template.id,
        environment_id=tenant.environment.id,
        target_version_id=version.id,
        created_by_operator_id=bob.id,
    )
    message = models.Message(
        id=new_id(), task_id=task.id, content="hello", type=MessageType.COMMENT, author_type=ActorType.SYSTEM
    )
    event = models.NotificationEvent(id=new_id(), event_type="OTHER", source_entity="Task", source_id=task.id)
    about: dict[str, Any] = {
        "task_id": task.id,
        "approval_record_id": approval.id,
        "deployment_id": deployment.id,
        "message_id": message.id,
        "event_id": event.id,
        "from_instance_id": agent.id,
        "from_operator_id": bob.id,
    }
    row = models.Notification(
        id=new_id(), type=NotificationType.SYSTEM, title="secret", operator_id=registry.operator.id, **about
    )
    agents = models.Notification(
        id=new_id(), type=NotificationType.SYSTEM, title="agent's", instance_id=agent.id, **about
    )
    wish = models.NotificationPreference(
        id=new_id(), operator_id=registry.operator.id, channel=NotificationChannel.EMAIL, enabled=True
    )
    await tenant.add(bob, agent, task, deployment, message, event, row, agents, wish)
    return Told(
        registry,
        registry.actor,
        tenant.actor(operator_id=bob.id),
        {"Notification": f"ntf_{row.id.hex}", "NotificationPreference": f"ntp_{wish.id.hex}"},
        f"ntf_{agents.id.hex}",
        {
            "Operator": registry.operator.id,
            "AgentInstance": agent.id,
            "Task": task.id,
            "ApprovalRecord": approval.id,
            "Deployment": deployment.id,
            "Message": message.id,
            "NotificationEvent": event.id,
        },
    )


async def answer(told: Told, caller: Actor, query: str, **variables: Any) -> dict[str, Any]:
    """What the caller is answered, as a client reads it."""
    data: dict[str, Any] = orjson.loads(
        orjson.dumps(await asking.data_of(told.registry.tenant, caller, query, **variables))
    )
    return data


def shown(data: Any) -> set[str]:
    """The ids of all nodes under a connection."""
    return {edge["node"]["id"] for edge in data["edges"]}


@pytest.mark.parametrize("name", PRIVATE)
async def test_not_6_the_list_and_its_count_are_ones_own(told: Told, name: str) -> None:
    """Also with a filter that names the other's row, and with one that names the other's key."""
    plural, mine = ENTITIES[name].plural, told.ids[name]
    ada = f"opr_{told.registry.operator.id.hex}"
    query = f"""query ($id: ID!, $ada: ID!) {{ all: {plural} {{ totalCount edges {{ node {{ id }} }} }}
        named: {plural}(filter: {{id: {{eq: $id}}}}) {{ totalCount edges {{ node {{ id }} }} }}
        hers: {plural}(filter: {{operator: {{id: {{eq: $ada}}}}}}) {{ totalCount edges {{ node {{ id }} }} }} }}"""
    for caller, wanted in ((told.ada, {mine}), (told.bob, set())):
        data = await answer(told, caller, query, id=mine, ada=ada)
        for part in data.values():
            assert (shown(part), part["totalCount"]) == (wanted, len(wanted))


@pytest.mark.parametrize("name", PRIVATE)
async def test_not_6_anothers_is_not_found_by_its_id(told: Told, name: str) -> None:
    """By the field of one row, by `node` and by `nodes`."""
    singular, mine = ENTITIES[name].singular, told.ids[name]
    query = (
        f"query ($id: ID!) {{ one: {singular}(id: $id) {{ id }} node(id: $id) {{ id }} nodes(ids: [$id]) {{ id }} }}"
    )
    found, none = {"id": mine}, None
    for caller, wanted in ((told.ada, found), (told.bob, none)):
        data = await answer(told, caller, query, id=mine)
        assert data == {"one": wanted, "node": wanted, "nodes": [wanted]}


async def test_not_6_no_person_sees_what_an_agent_is_told(told: Told) -> None:
    query = "query ($id: ID!) { node(id: $id) { id } notifications { edges { node { id } } } }"
    for caller in (told.ada, told.bob):
        data = await answer(told, caller, query, id=told.agents)
        assert data["node"] is None
        assert told.agents not in shown(data["notifications"])


def leading_there() -> list[tuple[EntityType, str, str]]:
    """(type, relation, private type) for each list that leads to a private type."""
    return [
        (entity, name, relation.target)
        for entity in ENTITIES.values()
        for name, relation in entity.relations.items()
        if isinstance(relation, ToMany | Through) and relation.target in PRIVATE
    ]


@pytest.mark.parametrize(("entity", "relation", "name"), leading_there(), ids=lambda one: getattr(one, "name", one))
async def test_not_6_no_relation_leads_to_anothers(told: Told, entity: EntityType, relation: str, name: str) -> None:
    """Ada is shown her row along each relation, so each could have shown it to Bob."""
    start = told.bob.id if relation == "caused_notifications" and entity.name == "Operator" else None
    row_id = f"{entity.prefix}_{(start or told.sources[entity.name]).hex}"
    query = f"""query ($id: ID!) {{ one: {entity.singular}(id: $id) {{
        found: {camel(relation)} {{ totalCount edges {{ node {{ id }} }} }} }} }}"""
    to_agents = entity.name == "AgentInstance" and relation == "notifications"
    for caller, wanted in ((told.ada, set() if to_agents else {told.ids[name]}), (told.bob, set())):
        found = (await answer(told, caller, query, id=row_id))["one"]["found"]
        assert (shown(found), found["totalCount"]) == (wanted, len(wanted))


@pytest.mark.parametrize("name", PRIVATE)
async def test_not_6_no_key_of_any_type_leads_to_anothers(told: Told, name: str) -> None:
    """An event may be about a row of any type; it is shown to whom the row is shown."""
    mine = told.ids[name]
    await told.registry.tenant.add(
        models.NotificationEvent(event_type="ABOUT", source_entity=name, source_id=UUID(mine[4:]))
    )
    query = '{ notificationEvents(filter: {eventType: {eq: "ABOUT"}}) { edges { node { source { id } } } } }'
    for caller, wanted in ((told.ada, {"id": mine}), (told.bob, None)):
        (edge,) = (await answer(told, caller, query))["notificationEvents"]["edges"]
        assert edge["node"]["source"] == wanted


async def test_not_6_whoever_reads_notifications_in_one_project_is_shown_their_own(told: Told) -> None:
    """A grant for any place will do: what is one's own lies in none."""
    held = Assignment(frozenset({"read:notifications"}), project_id=told.registry.tenant.project.id)
    grants = Grants.union([held], datetime.now(UTC))
    query = "query ($id: ID!) { node(id: $id) { id } notifications { totalCount edges { node { id } } } }"
    for person, wanted in ((told.ada, {told.ids["Notification"]}), (told.bob, set())):
        caller = told.registry.tenant.actor(grants=grants, operator_id=person.id)
        data = await answer(told, caller, query, id=told.ids["Notification"])
        assert (shown(data["notifications"]), data["notifications"]["totalCount"]) == (wanted, len(wanted))
        assert (data["node"] is not None) == bool(wanted)


def test_no_key_that_must_be_there_leads_to_what_only_some_see() -> None:
    """Where the type allows no null, another's row could not be left out."""
    private = {name for name, entity in ENTITIES.items() if isinstance(entity.private, Private)}
    assert private == {*PRIVATE, "SavedView"}
    for entity in ENTITIES.values():
        for relation in entity.relations.values():
            if isinstance(relation, ToOne) and relation.target in private:
                assert entity.table.c[relation.column].nullable
