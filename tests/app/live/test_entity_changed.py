"""entityChanged: rows as they are now, coalesced, within what the caller may see; and the fleet's pulse."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest
from sqlalchemy import delete, text, update

from app.graph.context import OperationContext
from app.live import pulse_group
from app.live.row_group import COALESCE_SECONDS
from app.live.tails import Changed, RowTail
from app.running import run
from db import models, roles
from db.connections import Connections
from db.enums import AlertSeverity, OpEventType
from db.ids import new_id
from db.session import Reading
from tests.app.live.events import write
from tests.app.live.gateway import Ended, Gateway, operator, socket_of, until
from tests.conftest import TenantUnderTest

CHANGED = """subscription ($types: [EntityName!], $projectId: ID, $ids: [ID!]) {
    entityChanged(types: $types, projectId: $projectId, ids: $ids) {
        type id deleted node { __typename id ... on Alert { title project { slug } } } } }"""


def alert(title: str, **columns: object) -> models.Alert:
    return models.Alert(
        id=new_id(), type="TEST", severity=AlertSeverity.WARNING, title=title, description="x", **columns
    )


@pytest.fixture
def rung(tenant: TenantUnderTest, gateway: Gateway) -> TenantUnderTest:
    tenant.database.bell = gateway.application.gateway.database.bell
    return tenant


async def rename(tenant: TenantUnderTest, row: models.Alert, title: str) -> None:
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.execute(update(models.Alert).where(models.Alert.id == row.id).values(title=title))


async def test_rows_are_told_as_they_are_now_whoever_changed_them(rung: TenantUnderTest, gateway: Gateway) -> None:
    """Also by a statement that no command wrote and no object of the gateway knows of."""
    row = alert("first", project_id=rung.project.id)
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        stream = await socket.subscribe(CHANGED, types=["Alert"])
        await gateway.hears(1)
        await rung.add(row)
        said = await stream.data()
        assert said == {
            "type": "Alert",
            "id": said["id"],
            "deleted": False,
            "node": {"__typename": "Alert", "id": said["id"], "title": "first", "project": {"slug": "core"}},
        }
        await rename(rung, row, "second")
        assert (await stream.data())["node"]["title"] == "second"


async def test_many_changes_of_a_row_are_told_a_few_times_and_the_last_is_the_truth(
    rung: TenantUnderTest, gateway: Gateway
) -> None:
    row = alert("0")
    await rung.add(row)
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        stream = await socket.subscribe(CHANGED, types=["Alert"])
        await until(lambda: gateway.application.gateway.live.figures()["subscribers"] == 1)
        began = asyncio.get_running_loop().time()
        for number in range(1, 61):
            await rename(rung, row, str(number))
        told = 0
        title = ""
        while title != "60":
            title = (await stream.data())["node"]["title"]
            told += 1
        # However long the changes took: one telling at once, and then at most one in so many milliseconds.
        assert told <= 1 + (asyncio.get_running_loop().time() - began) / COALESCE_SECONDS
        assert told < 60
        # A change that comes while the row is being read is told again, with the row as it was read already; once.
        with contextlib.suppress(TimeoutError):
            assert (await stream.data(0.5))["node"]["title"] == "60"
            await stream.quiet()


async def test_rows_are_told_though_the_reading_that_found_them_ends_badly(
    rung: TenantUnderTest, gateway: Gateway, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look goes on from the last one's snapshot: what it found is not found again."""
    row = alert("first")
    await rung.add(row)
    advance, ended = RowTail.advance, 0

    async def found_and_cut_off(tail: RowTail, reading: Reading) -> list[Changed]:
        nonlocal ended
        changed = await advance(tail, reading)
        if changed and not ended:
            ((ended,),) = await reading.rows(text("SELECT pg_backend_pid()"))
            owner = await asyncpg.connect(connections.owner.url.replace(roles.OWNER, "postgres", 1))
            await owner.execute("SELECT pg_terminate_backend($1, 5000)", ended)
            await owner.close()
        return changed

    async with socket_of(gateway, await gateway.token(rung)) as socket:
        stream = await socket.subscribe(CHANGED, types=["Alert"])
        await gateway.hears(1)
        monkeypatch.setattr(RowTail, "advance", found_and_cut_off)
        await rename(rung, row, "second")
        assert (await stream.data(5))["node"]["title"] == "second"
    assert ended


async def test_without_a_ring_it_is_told_within_a_second_or_so(tenant: TenantUnderTest, gateway: Gateway) -> None:
    async with socket_of(gateway, await gateway.token(tenant)) as socket:
        stream = await socket.subscribe(CHANGED, types=["Alert"])
        await gateway.hears(1)
        await tenant.add(alert("silent"))
        assert (await stream.data(2.5))["node"]["title"] == "silent"


async def test_types_ids_and_projects_narrow_it(rung: TenantUnderTest, gateway: Gateway) -> None:
    other = models.Project(id=new_id(), name="Other", slug="other")
    named = alert("named")
    await rung.add(other, named)
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        own = await socket.subscribe(CHANGED, types=["Alert"], projectId=f"prj_{other.id.hex}")
        query = "{ alerts(first: 1) { edges { node { id } } } }"
        row_id = (await (await socket.subscribe(query)).data())["edges"][0]["node"]["id"]
        one = await socket.subscribe(CHANGED, ids=[row_id])
        await gateway.hears(2)
        await rung.add(alert("elsewhere", project_id=rung.project.id))
        await rung.add(alert("here", project_id=other.id))
        await rung.add(alert("everywhere"))
        assert {(await own.data())["node"]["title"] for _ in range(2)} == {"here", "everywhere"}
        await rename(rung, named, "renamed")
        assert (await one.data())["node"]["title"] == "renamed"
        await one.quiet(0.2)


async def test_a_row_that_is_gone_is_told_to_those_who_see_all_of_its_type(
    rung: TenantUnderTest, gateway: Gateway
) -> None:
    flag = models.FeatureFlag(id=new_id(), key="live", enabled=True)
    await rung.add(flag)
    scoped = await gateway.token(rung, "Viewer", project_id=rung.project.id)
    async with socket_of(gateway, await gateway.token(rung)) as socket, socket_of(gateway, scoped) as narrow:
        wide = await socket.subscribe(CHANGED, types=["FeatureFlag"])
        none = await narrow.subscribe(CHANGED, types=["FeatureFlag"])
        await gateway.hears(2)
        async with rung.database.transaction(rung.actor()) as session:
            await session.execute(delete(models.FeatureFlag))
        said = await wide.data()
        assert (said["type"], said["deleted"], said["node"]) == ("FeatureFlag", True, None)
        await none.quiet(0.2)


async def test_decision_29_a_scope_shows_its_rows_alone(rung: TenantUnderTest, gateway: Gateway) -> None:
    other = models.Project(id=new_id(), name="Other", slug="other")
    await rung.add(other)
    scoped = await gateway.token(rung, "Viewer", project_id=other.id)
    async with socket_of(gateway, scoped) as socket:
        stream = await socket.subscribe(CHANGED, types=["Alert"])
        await gateway.hears(1)
        await rung.add(alert("elsewhere", project_id=rung.project.id), alert("here", project_id=other.id))
        assert (await stream.data())["node"]["title"] == "here"
        await stream.quiet(0.2)


async def test_decision_30_a_type_that_may_not_be_read_is_forbidden(rung: TenantUnderTest, gateway: Gateway) -> None:
    nobody = models.Operator(id=new_id(), auth_id=f"s{new_id().hex}", name="N", email="n@example.com")
    await rung.add(nobody)
    async with socket_of(gateway, gateway.token_of(rung, nobody.auth_id)) as socket:
        for query, permission in (
            ("subscription { entityChanged(types: [Task]) { id } }", "read:tasks"),
            ("subscription { entityChanged { id } }", "read:tasks"),
            ("subscription { opEvents { seq } }", "read:op-events"),
            ("subscription { changeRecords { seq } }", "read:change-records"),
            ("subscription { approvalQueue { step } }", "read:approvals"),
            ("subscription { fleetPulse { events } }", "read:metrics"),
        ):
            with pytest.raises(Ended) as ended:
                await (await socket.subscribe(query)).next()
            assert ended.value.extensions == {"code": "FORBIDDEN", "permission": permission}, query


async def test_the_pulse_counts_what_happened_in_the_window(rung: TenantUnderTest, gateway: Gateway) -> None:
    query = """subscription { fleetPulse(windowSeconds: 2) { events eventsPerSecond costUsd runsStarted runsFailed
        activeInstances instances runsOpen since until eventsByType { type count perSecond } } }"""
    await write(rung, 4, OpEventType.COST_TICK, delta_usd=Decimal("0.25"))
    await write(rung, 1, OpEventType.RUN_FAILED)
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        stream = await socket.subscribe(query)
        first = await stream.data()
        assert (first["events"], first["costUsd"], first["runsFailed"], first["runsStarted"]) == (5, 1.0, 1, 0)
        assert first["eventsPerSecond"] == pytest.approx(2.5)
        assert first["eventsByType"][0] == {"type": "COST_TICK", "count": 4, "perSecond": pytest.approx(2.0)}
        assert (first["activeInstances"], first["instances"], first["runsOpen"]) == (0, 0, 0)
        seconds = (datetime.fromisoformat(first["until"]) - datetime.fromisoformat(first["since"])).total_seconds()
        assert seconds == pytest.approx(2, abs=0.01)
        again = await stream.data(4)
        assert datetime.fromisoformat(again["until"]) > datetime.fromisoformat(first["until"])
        assert datetime.fromisoformat(again["until"]) <= datetime.now(UTC)
        with pytest.raises(Ended) as ended:
            await (await socket.subscribe("subscription { fleetPulse(windowSeconds: 0) { events } }")).next()
        assert ended.value.extensions == {"code": "BAD_USER_INPUT", "argument": "windowSeconds"}


async def test_the_pulse_is_computed_once_a_window_for_all_who_listen(
    rung: TenantUnderTest, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, measure = 0, pulse_group.measured

    async def counted(context: OperationContext, seconds: int) -> pulse_group.Pulse:
        nonlocal times
        times += 1
        return await measure(context, seconds)

    monkeypatch.setattr(pulse_group, "measured", counted)
    began = asyncio.get_running_loop().time()
    tokens = [await gateway.token(rung) for _ in range(2)]
    async with socket_of(gateway, tokens[0]) as one, socket_of(gateway, tokens[1]) as two:
        query = "subscription { fleetPulse(windowSeconds: 1) { until } }"
        streams = [await socket.subscribe(query) for socket in (one, two) for _ in range(10)]
        heard = [[(await stream.data())["until"] for _ in range(3)] for stream in streams]
    assert all(len(set(untils)) == 3 for untils in heard)
    assert times <= 2 + asyncio.get_running_loop().time() - began


async def test_changes_are_told_with_their_chain_and_their_relations(rung: TenantUnderTest, gateway: Gateway) -> None:
    """changeRecords: the same seam as opEvents, and selections as deep as those of queries."""
    ada = await operator(rung)
    actor = rung.actor(operator_id=ada.id)
    await run(rung.database, actor, "create_template", {"name": "Before"})
    query = """subscription ($after: Seq, $filter: ChangeRecordStreamFilter) {
        changeRecords(after: $after, filter: $filter) {
            seq type hash actor { ... on Operator { name } }
            target { ... on AgentTemplate { name owners { name } } } } }"""
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        stream = await socket.subscribe(query, after="0")
        none = await socket.subscribe(query, after="0", filter={"types": ["POLICY_ATTACHED"]})
        first = await stream.data()
        assert (first["seq"], first["type"], first["target"]["name"]) == ("1", "TEMPLATE_CREATED", "Before")
        await run(rung.database, actor, "create_template", {"name": "After"})
        second = await stream.data()
        assert (second["seq"], second["target"]) == ("2", {"name": "After", "owners": [{"name": "Admin"}]})
        assert second["actor"] == {"name": "Admin"}
        await none.quiet(0.2)
