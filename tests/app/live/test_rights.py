"""Rights are looked at again while a stream is open, and what one may not see is not told (decisions 24 to 31)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, update

from app.auth.actor import ActorKind
from db import models
from db.enums import (
    ActorType,
    InstanceState,
    NotificationType,
    OperatorStatus,
    TelegraphChannel,
    TelegraphMessageStatus,
)
from db.ids import new_id
from tests.app.live.events import write
from tests.app.live.gateway import Gateway, operator, socket_of
from tests.conftest import TenantUnderTest
from tests.governed import GENOME, GENOME_HASH

TAIL = "subscription ($after: Seq) { opEvents(after: $after) { seq } }"
TASKS = "subscription { entityChanged(types: [Task]) { id } }"
SOON = 10
"""Seconds: a second is promised, and a machine may be slow. What is not noticed would not be so for ever."""


@pytest.fixture
def rung(tenant: TenantUnderTest, gateway: Gateway) -> TenantUnderTest:
    tenant.database.bell = gateway.application.gateway.database.bell
    return tenant


async def execute(tenant: TenantUnderTest, statement: Any) -> None:
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.execute(statement)


async def test_an_operator_who_is_suspended_is_told_with_the_cursor_and_closed_for_good(
    rung: TenantUnderTest, gateway: Gateway
) -> None:
    person = await operator(rung)
    async with socket_of(gateway, gateway.token_of(rung, person.auth_id)) as socket:
        tail = await socket.subscribe(TAIL, after="0")
        await write(rung, 2, bell=rung.database.bell)
        assert [(await tail.data())["seq"] for _ in range(2)] == ["1", "2"]
        await execute(
            rung, update(models.Operator).where(models.Operator.id == person.id).values(status=OperatorStatus.SUSPENDED)
        )
        ended = await tail.ending(SOON)
        assert ended.extensions == {"code": "UNAUTHENTICATED", "cursor": "2"}
        assert (await socket.closed())[0] == 4401


async def test_a_role_that_is_taken_away_ends_the_stream_and_names_the_permission(
    rung: TenantUnderTest, gateway: Gateway
) -> None:
    person = await operator(rung)
    async with socket_of(gateway, gateway.token_of(rung, person.auth_id)) as socket:
        tail = await socket.subscribe(TAIL, after="0")
        await gateway.hears(1)
        await execute(rung, delete(models.RoleAssignment).where(models.RoleAssignment.operator_id == person.id))
        ended = await tail.ending(SOON)
        assert ended.extensions == {"code": "FORBIDDEN", "permission": "read:op-events", "cursor": "0"}
        # The socket is still there, and knows that its caller may do less now.
        refused = await (await socket.subscribe("{ opEvents(first: 1) { edges { node { seq } } } }")).ending()
        assert refused.extensions["code"] == "FORBIDDEN"


async def test_rights_that_change_and_still_suffice_ask_for_a_new_stream(
    rung: TenantUnderTest, gateway: Gateway
) -> None:
    """The group of a narrower scope is another one; the cursor goes on."""
    person = await operator(rung)
    async with socket_of(gateway, gateway.token_of(rung, person.auth_id)) as socket:
        tail = await socket.subscribe(TAIL)
        await gateway.hears(1)
        await execute(
            rung,
            update(models.RoleAssignment)
            .where(models.RoleAssignment.operator_id == person.id)
            .values(project_id=rung.project.id),
        )
        ended = await tail.ending(SOON)
        assert ended.extensions == {"code": "STREAM_INTERRUPTED", "cursor": "0"}
        await write(rung, 1)
        await write(rung, 1, project_id=rung.project.id)
        again = await socket.subscribe(TAIL, after="0")
        assert (await again.data())["seq"] == "2"
        await again.quiet(0.2)


async def test_a_grant_that_ends_by_its_date_ends_the_stream(rung: TenantUnderTest, gateway: Gateway) -> None:
    """RBAC-7: nothing in the database changes when it does."""
    token = await gateway.token(rung, expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    async with socket_of(gateway, token) as socket:
        tail = await socket.subscribe(TAIL)
        ended = await tail.ending(5)
        assert ended.extensions["code"] == "FORBIDDEN"


async def test_a_token_that_expires_ends_its_streams_with_their_cursors(
    rung: TenantUnderTest, gateway: Gateway
) -> None:
    person = await operator(rung)
    token = gateway.token_of(rung, person.auth_id, lifetime=timedelta(seconds=8))
    gateway.application.gateway.authenticator.local._expectation = _without_skew(gateway)  # type: ignore[union-attr]
    async with socket_of(gateway, token) as socket:
        tail = await socket.subscribe(TAIL)
        await gateway.hears(1)
        await write(rung, 1, bell=rung.database.bell)
        assert (await tail.data())["seq"] == "1"
        ended = await tail.ending(20)
        assert ended.extensions == {"code": "UNAUTHENTICATED", "cursor": "1"}
        assert (await socket.closed())[0] == 4403


def _without_skew(gateway: Gateway) -> Any:
    from dataclasses import replace

    tokens = gateway.application.gateway.authenticator.local
    assert tokens is not None
    return replace(tokens._expectation, skew=0)


async def agent(tenant: TenantUnderTest) -> models.AgentInstance:
    template = models.AgentTemplate(id=new_id(), name=f"T {new_id().hex}")
    version = models.AgentVersion(id=new_id(), template_id=template.id, genome=GENOME, genome_hash=GENOME_HASH)
    made = models.AgentInstance(
        id=new_id(),
        name="agent",
        version_id=version.id,
        environment_id=tenant.environment.id,
        project_id=tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    await tenant.add(template, version, made)
    return made


async def test_an_agent_that_is_quarantined_hears_no_more(rung: TenantUnderTest, gateway: Gateway) -> None:
    """Decision 26: nothing but the heartbeat and `viewer` answers."""
    made = await agent(rung)
    token = gateway.token_of(rung, str(made.id), ActorKind.INSTANCE, epoch=0)
    async with socket_of(gateway, token) as socket:
        stream = await socket.subscribe(TASKS)
        await gateway.hears(1)
        await execute(
            rung,
            update(models.AgentInstance)
            .where(models.AgentInstance.id == made.id)
            .values(state=InstanceState.QUARANTINED),
        )
        ended = await stream.ending(SOON)
        assert ended.extensions == {"code": "FORBIDDEN", "permission": "read:tasks"}


async def test_a_revoked_agents_token_closes_its_socket(rung: TenantUnderTest, gateway: Gateway) -> None:
    made = await agent(rung)
    async with socket_of(gateway, gateway.token_of(rung, str(made.id), ActorKind.INSTANCE, epoch=0)) as socket:
        stream = await socket.subscribe(TASKS)
        await gateway.hears(1)
        await execute(
            rung, update(models.AgentInstance).where(models.AgentInstance.id == made.id).values(token_epoch=1)
        )
        assert (await stream.ending(SOON)).extensions["code"] == "UNAUTHENTICATED"
        assert (await socket.closed())[0] == 4401


async def test_agents_hear_of_their_own_project_alone(rung: TenantUnderTest, gateway: Gateway) -> None:
    """Decision 31."""
    made = await agent(rung)
    other = models.Project(id=new_id(), name="Other", slug="other")
    await rung.add(other)

    def task(project: UUID) -> models.Task:
        return models.Task(id=new_id(), project_id=project, title="t", type="ENGINEERING", status="INBOX")

    async with socket_of(gateway, gateway.token_of(rung, str(made.id), ActorKind.INSTANCE, epoch=0)) as socket:
        stream = await socket.subscribe(TASKS)
        await gateway.hears(1)
        mine = task(rung.project.id)
        await rung.add(task(other.id), mine)
        assert (await stream.data())["id"] == f"tsk_{mine.id.hex}"
        await stream.quiet(0.2)


async def test_two_tenants_never_mix(rung: TenantUnderTest, other_tenant: TenantUnderTest, gateway: Gateway) -> None:
    """The same document and the same rights, in two tenants: each hears its own."""
    other_tenant.database.bell = rung.database.bell
    async with (
        socket_of(gateway, await gateway.token(rung)) as one,
        socket_of(gateway, await gateway.token(other_tenant)) as two,
    ):
        query = "subscription { entityChanged(types: [Alert, Project]) { id } }"
        tails = [await one.subscribe(TAIL, after="0"), await two.subscribe(TAIL, after="0")]
        rows = [await one.subscribe(query), await two.subscribe(query)]
        await gateway.hears(4)
        assert len(gateway.application.gateway.live._groups) == 4
        await write(other_tenant, 3, bell=rung.database.bell)
        await write(rung, 1, bell=rung.database.bell)
        project = models.Project(id=new_id(), name="P", slug="p")
        await other_tenant.add(project)
        assert [(await tails[1].data())["seq"] for _ in range(3)] == ["1", "2", "3"]
        assert (await tails[0].data())["seq"] == "1"
        assert (await rows[1].data())["id"] == f"prj_{project.id.hex}"
        for quiet in (*tails, *rows):
            await quiet.quiet(0.2)


async def test_a_foreign_id_is_as_silent_as_one_that_never_was(
    rung: TenantUnderTest, other_tenant: TenantUnderTest, gateway: Gateway
) -> None:
    other_tenant.database.bell = rung.database.bell
    foreign = f"prj_{other_tenant.project.id.hex}"
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        stream = await socket.subscribe("subscription ($ids: [ID!]) { entityChanged(ids: $ids) { id } }", ids=[foreign])
        await gateway.hears(1)
        await execute(other_tenant, update(models.Project).values(name="renamed"))
        await stream.quiet(1.5)


async def test_what_depends_on_who_asks_is_not_shared(rung: TenantUnderTest, gateway: Gateway) -> None:
    """PII-1: a person sees their own address in full; others of the same role do not, and form another group."""
    query = "subscription { entityChanged(types: [Operator]) { node { ... on Operator { id email } } } }"
    names = "subscription { entityChanged(types: [Operator]) { node { ... on Operator { id name } } } }"
    ada, bob = await operator(rung, "Viewer"), await operator(rung, "Viewer")
    async with (
        socket_of(gateway, gateway.token_of(rung, ada.auth_id)) as one,
        socket_of(gateway, gateway.token_of(rung, bob.auth_id)) as two,
    ):
        mine, theirs = await one.subscribe(query), await two.subscribe(query)
        await one.subscribe(names)
        await two.subscribe(names)
        await gateway.hears(4)
        assert len(gateway.application.gateway.live._groups) == 3
        await execute(rung, update(models.Operator).where(models.Operator.id == ada.id).values(name="Ada"))
        assert (await mine.data())["node"]["email"] == "Viewer@example.com"
        assert (await theirs.data())["node"]["email"] != "Viewer@example.com"


async def test_pii_4_what_a_task_hides_is_shown_to_its_agents_alone(rung: TenantUnderTest, gateway: Gateway) -> None:
    """Each agent is a group of its own, for it may be the one; viewers are one, since no task is theirs."""
    query = "subscription { entityChanged(types: [Task]) { node { ... on Task { title } } } }"
    agents = [await agent(rung), await agent(rung)]
    people = [await operator(rung, "Viewer"), await operator(rung, "Viewer")]
    task = models.Task(
        id=new_id(), project_id=rung.project.id, title="owlery", type="DOCS", status="INBOX", redacted_fields=["title"]
    )
    await rung.add(task, models.TaskAssignee(task_id=task.id, instance_id=agents[0].id))
    tokens = [gateway.token_of(rung, str(one.id), ActorKind.INSTANCE, epoch=0) for one in agents]
    tokens += [gateway.token_of(rung, one.auth_id) for one in people]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(socket_of(gateway, token)) for token in tokens]
        streams = [await socket.subscribe(query) for socket in sockets]
        await gateway.hears(4)
        assert len(gateway.application.gateway.live._groups) == 3
        await execute(rung, update(models.Task).where(models.Task.id == task.id).values(priority=1))
        titles = [(await stream.data())["node"]["title"] for stream in streams]
        assert titles == ["owlery", "[REDACTED]", "[REDACTED]", "[REDACTED]"]


@pytest.mark.parametrize("node", ["id", "node { id }", "node { ... on Notification { id title } }"])
async def test_not_6_only_the_recipient_hears_of_a_notification(
    rung: TenantUnderTest, gateway: Gateway, node: str
) -> None:
    """Two people with the same rights ask the same: each hears of their own, whatever the selection shows; so also
    where they name no type, or the row's id."""
    people = [await operator(rung), await operator(rung)]
    rows = [
        models.Notification(id=new_id(), type=NotificationType.SYSTEM, title="t", operator_id=one.id) for one in people
    ]
    ids = [f"ntf_{row.id.hex}" for row in rows]
    queries = (
        f"subscription {{ entityChanged(types: [Notification]) {{ type id {node} }} }}",
        f"subscription {{ entityChanged {{ type id {node} }} }}",
        f'subscription {{ entityChanged(ids: ["{ids[0]}", "{ids[1]}"]) {{ type id {node} }} }}',
    )
    tokens = [gateway.token_of(rung, one.auth_id) for one in people]
    async with socket_of(gateway, tokens[0]) as first, socket_of(gateway, tokens[1]) as second:
        heard = [[await socket.subscribe(query) for query in queries] for socket in (first, second)]
        await gateway.hears(6)
        await rung.add(*rows)
        for streams, row_id in zip(heard, ids, strict=True):
            for stream in streams:
                while (said := await stream.data())["type"] != "Notification":
                    pass
                assert said["id"] == row_id
                await stream.quiet(0.2)


async def test_tel_what_is_unread_is_told_to_each_as_their_own(rung: TenantUnderTest, gateway: Gateway) -> None:
    """Whoever wrote a message has read it, though others with the same rights have not."""
    author, reader = await operator(rung), await operator(rung)
    thread = models.TelegraphThread(
        id=new_id(), project_id=rung.project.id, title="T", channel=TelegraphChannel.INTERNAL, participants=[]
    )
    written = models.TelegraphMessage(
        id=new_id(),
        thread_id=thread.id,
        content="hello",
        channel=TelegraphChannel.INTERNAL,
        sender_type=ActorType.HUMAN,
        sender_operator_id=author.id,
        status=TelegraphMessageStatus.SENT,
    )
    query = """subscription { entityChanged(types: [TelegraphThread]) {
        node { ... on TelegraphThread { unreadCount } } } }"""
    tokens = [gateway.token_of(rung, one.auth_id) for one in (author, reader)]
    async with socket_of(gateway, tokens[0]) as first, socket_of(gateway, tokens[1]) as second:
        streams = [await socket.subscribe(query) for socket in (first, second)]
        await gateway.hears(2)
        await rung.add(thread, written)
        assert [(await stream.data())["node"]["unreadCount"] for stream in streams] == [0, 1]
