"""opEvents: live, replayed, filtered; the seam has neither a gap nor a double (OPE-5, decision 8)."""

from __future__ import annotations

import pytest

from db.enums import OpEventType
from tests.app.live.events import write
from tests.app.live.gateway import Ended, Gateway, socket_of
from tests.conftest import TenantUnderTest

TAIL = "subscription ($after: Seq) { opEvents(after: $after) { seq type } }"


async def test_events_come_as_they_are_committed_each_with_its_cursor(
    gateway: Gateway, tenant: TenantUnderTest
) -> None:
    async with socket_of(gateway, await gateway.token(tenant)) as socket:
        tail = await socket.subscribe(TAIL)
        await gateway.hears(1)
        bell = gateway.application.gateway.database.bell
        await write(tenant, 2, bell=bell)
        first, second = await tail.next(), await tail.next()
        assert first == {"data": {"opEvents": {"seq": "1", "type": "COST_TICK"}}, "extensions": {"cursor": "1"}}
        assert second["extensions"] == {"cursor": "2"}


async def test_a_lost_ring_costs_a_second_and_no_event(gateway: Gateway, tenant: TenantUnderTest) -> None:
    async with socket_of(gateway, await gateway.token(tenant)) as socket:
        tail = await socket.subscribe(TAIL)
        await gateway.hears(1)
        await write(tenant, 3)
        assert [(await tail.data(2.5))["seq"] for _ in range(3)] == ["1", "2", "3"]


async def test_after_replays_what_was_missed_and_goes_on(gateway: Gateway, tenant: TenantUnderTest) -> None:
    bell = gateway.application.gateway.database.bell
    await write(tenant, 450)
    async with socket_of(gateway, await gateway.token(tenant)) as socket:
        tail = await socket.subscribe(TAIL, after="7")
        heard = [(await tail.data())["seq"] for _ in range(443)]
        await write(tenant, 5, bell=bell)
        heard += [(await tail.data())["seq"] for _ in range(5)]
        await tail.quiet()
    assert heard == [str(n) for n in range(8, 456)]


async def test_who_comes_back_to_an_end_that_the_log_has_left_gets_what_is_new(
    gateway: Gateway, tenant: TenantUnderTest
) -> None:
    """The page that one client found empty is not the answer for the next, a moment and some events later."""
    bell = gateway.application.gateway.database.bell
    await write(tenant, 3)
    async with socket_of(gateway, await gateway.token(tenant)) as socket:
        first = await socket.subscribe(TAIL, after="3")
        await gateway.hears(1)
        await write(tenant, 2, bell=bell)
        assert [(await first.data())["seq"] for _ in range(2)] == ["4", "5"]
        second = await socket.subscribe(TAIL, after="3")
        assert [(await second.data())["seq"] for _ in range(2)] == ["4", "5"]
        await write(tenant, 1, bell=bell)
        assert [(await one.data())["seq"] for one in (first, second)] == ["6", "6"]


async def test_a_cursor_of_the_future_is_refused(gateway: Gateway, tenant: TenantUnderTest) -> None:
    await write(tenant, 3)
    async with socket_of(gateway, await gateway.token(tenant)) as socket:
        with pytest.raises(Ended) as ended:
            await (await socket.subscribe(TAIL, after="9")).next()
    assert ended.value.extensions == {"code": "BAD_USER_INPUT", "argument": "after"}


async def test_filters_hold_in_the_past_and_in_the_present(gateway: Gateway, tenant: TenantUnderTest) -> None:
    bell = gateway.application.gateway.database.bell
    query = """subscription ($after: Seq, $filter: OpEventStreamFilter) {
        opEvents(after: $after, filter: $filter) { seq } }"""
    for kind in (OpEventType.HEARTBEAT, OpEventType.COST_TICK) * 3:
        await write(tenant, 1, kind)
    await write(tenant, 1, OpEventType.HEARTBEAT, project_id=tenant.project.id)
    project = f"prj_{tenant.project.id.hex}"
    async with socket_of(gateway, await gateway.token(tenant)) as socket:
        beats = await socket.subscribe(query, after="0", filter={"types": ["HEARTBEAT"]})
        own = await socket.subscribe(query, after="0", filter={"types": ["HEARTBEAT"], "projectIds": [project]})
        none = await socket.subscribe(query, after="0", filter={"types": []})
        assert [(await beats.data())["seq"] for _ in range(4)] == ["1", "3", "5", "7"]
        assert (await own.data())["seq"] == "7"
        await write(tenant, 1, OpEventType.COST_TICK, bell, project_id=tenant.project.id)
        await write(tenant, 1, OpEventType.HEARTBEAT, bell)
        await write(tenant, 1, OpEventType.HEARTBEAT, bell, project_id=tenant.project.id)
        assert [(await beats.data())["seq"] for _ in range(2)] == ["9", "10"]
        assert (await own.data())["seq"] == "10"
        await none.quiet()
