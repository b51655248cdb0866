"""Commands that write with one statement (db/brief.py): as safe as in a transaction, and done in one if need be."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
from sqlalchemy import func, select, text, update

from app.commands import Done, Refusal, Refused, command
from app.idempotency import Key
from app.running import run
from app.unit_of_work import PermissionDenied, UnitOfWork
from db import models
from db.base import Model, TenantScoped
from db.bell import Feed
from db.brief import NeedsTransaction
from db.enums import AlertSeverity, ChangeRecordType, InstanceState, OpEventType
from db.ids import new_id
from db.pool import CommitUnanswered
from db.tenant_pool import TenantConnection, TenantPool
from db.texts import DriverText
from db.work import Work
from tests.conftest import Demo, TenantUnderTest
from tests.declared import Declare
from tests.fingerprint import fingerprint
from tests.heard import heard
from tests.rung import rings_of
from tests.transitions import agents, move, project, records, sent, state_of

ACTIVE, PAUSED, READONLY = InstanceState.ACTIVE, InstanceState.PAUSED, InstanceState.READONLY


async def test_a_transition_is_two_statements_and_no_transaction(tenant: TenantUnderTest) -> None:
    """One that reads, one that stores row and record; with the same outcome as ever."""
    (agent,) = await agents(tenant)
    with sent() as statements, patch("db.session.begin", side_effect=AssertionError("a transaction")):
        outcome = await move(tenant, agent, PAUSED, reason="lunch")
    assert [one.split()[0] for one in statements] == ["SELECT", "WITH"]
    assert await state_of(tenant, agent) is PAUSED
    (record,) = await records(tenant)
    assert isinstance(outcome, Done)
    assert outcome.change_id == record["id"]
    assert (record["target_id"], record["reason"]) == (agent, "lunch")
    assert record["after_state"]["state"] == "PAUSED"


async def test_with_a_key_it_takes_a_transaction(tenant: TenantUnderTest) -> None:
    """Decision 33: the key is kept with what was done."""
    (agent,) = await agents(tenant)
    given = {"instance_id": agent, "to": PAUSED}
    operator = models.Operator(id=new_id(), auth_id="o", name="Ada", email="ada@example.com")
    await tenant.add(operator)
    actor, key = tenant.actor(operator_id=operator.id), Key.of("agentInstanceTransition", "k", {"to": "PAUSED"})
    with sent() as statements:
        for _ in range(2):
            assert isinstance(await run(tenant.database, actor, "transition_instance", given, key), Done)
    assert statements == []
    assert len(await records(tenant)) == 1


@pytest.mark.parametrize("is_committed_before", [True, False], ids=["before the statement", "while it waits"])
async def test_a_row_that_somebody_changed_meanwhile_is_looked_at_again(
    tenant: TenantUnderTest, declare_brief: Declare, is_committed_before: bool
) -> None:
    """Neither change is lost, no number of the chain is taken twice or for nothing."""
    seen: list[str] = []
    theirs = update(models.Project).where(models.Project.id == tenant.project.id).values(name="Theirs")
    other = tenant.database.transaction(tenant.actor())
    waiting: list[asyncio.Task[None]] = []

    async def meddle() -> None:
        if is_committed_before:
            async with tenant.database.transaction(tenant.actor()) as session:
                await session.execute(theirs)
            return
        session = await other.__aenter__()
        await session.execute(theirs)
        holder = await session.scalar(select(func.pg_backend_pid()))
        assert holder is not None

        async def commit() -> None:
            await until_somebody_waits(tenant, holder)
            await other.__aexit__(None, None, None)

        waiting.append(asyncio.create_task(commit()))

    async def describe(uow: UnitOfWork) -> Any:
        """Say what the project's name is."""
        found = await uow.lock(models.Project, tenant.project.id)
        assert found is not None
        seen.append(found.name)
        if len(seen) == 1:
            await meddle()
        found.description = f"It is {found.name}."
        uow.record(ChangeRecordType.PROJECT_CREATED, found, after={"description": found.description})
        return found

    assert isinstance(await run(tenant.database, tenant.actor(), declare_brief(describe), {}), Done)
    await asyncio.gather(*waiting)
    assert seen == ["Core", "Theirs"]
    found = await project(tenant)
    assert (found.name, found.description) == ("Theirs", "It is Theirs.")
    (record,) = await records(tenant)
    assert record["after_state"] == {"description": "It is Theirs."}


_WAITING = """
WITH RECURSIVE waiting AS (
    SELECT $1::int AS pid
    UNION SELECT a.pid FROM pg_stat_activity a JOIN waiting w ON w.pid = ANY(pg_blocking_pids(a.pid))
)
SELECT max(pid) AS pid, count(*) AS n FROM waiting WHERE pid <> $1"""


async def until_somebody_waits(tenant: TenantUnderTest, holder: int, sessions: int = 1) -> int:
    """Until so many sessions wait for the holder's, or for each other behind it; the server's number of one.

    Other tests have sessions that wait in the same database.
    """
    while True:
        found = await tenant.database.fetch_one(_WAITING, holder)
        if found is not None and found["n"] >= sessions:
            return int(found["pid"])
        await asyncio.sleep(0.01)


async def number_of(work: Work) -> int:
    """The server's number of a session."""
    ((number,),) = await work.read("SELECT pg_backend_pid()")
    return int(number)


async def test_who_merely_holds_the_row_is_waited_for(tenant: TenantUnderTest) -> None:
    """A lock says that what hangs on the row is being changed; the row itself is what it was."""
    (agent,) = await agents(tenant)
    with sent() as statements:
        async with tenant.database.writing(tenant.actor()) as holder:
            assert await holder.lock(models.AgentInstance, tenant.id, [agent])
            moving = asyncio.create_task(move(tenant, agent, PAUSED))
            await until_somebody_waits(tenant, await number_of(holder))
            assert not moving.done()
        assert isinstance(await moving, Done)
    assert len(statements) == 2, "not read again"
    assert len(await records(tenant)) == 1


async def test_of_many_at_once_each_is_done_once(tenant: TenantUnderTest) -> None:
    """Of those who expect the same state one is first, and the chain has a number for each that was done."""
    some, operator = await agents(tenant, 4), new_id()
    await tenant.add(models.Operator(id=operator, auth_id="o", name="Ada", email="ada@example.com"))
    actor = tenant.actor(operator_id=operator)
    outcomes = await asyncio.gather(
        *(move(tenant, agent, PAUSED, expected_state=ACTIVE) for agent in some for _ in range(6)),
        *(run(tenant.database, actor, "create_template", {"name": f"T{n}"}) for n in range(6)),
    )
    moved = outcomes[: len(some) * 6]
    refused = [one for one in moved if isinstance(one, Refused)]
    assert len(moved) - len(refused) == len(some)
    assert {one.code for one in refused} == {Refusal.CONFLICT}
    assert [await state_of(tenant, agent) for agent in some] == [PAUSED] * len(some)
    assert len(await records(tenant)) == len(some) + 6


async def test_those_who_want_the_same_row_take_turns(tenant: TenantUnderTest) -> None:
    """In one process nobody reads in vain, nor keeps a connection while waiting for the others."""
    agent, other = await agents(tenant, 2)
    with (
        sent() as statements,
        patch("db.session.begin", side_effect=AssertionError("a transaction")),
        patch.object(
            tenant.database,
            "_briefs",
            TenantPool(tenant.database.connections.gateway, size=1, wait_seconds=0.5, may_write=True),
        ),
    ):
        moving = [asyncio.create_task(move(tenant, agent, to)) for to in (PAUSED, ACTIVE) * 8]
        await asyncio.sleep(0)
        assert isinstance(await move(tenant, other, PAUSED), Done), "served before the many who wait for another row"
        assert not moving[-1].done()
        outcomes = await asyncio.gather(*moving)
        await tenant.database._briefs.close()
    assert all(isinstance(one, Done) for one in outcomes), "in the order of asking"
    assert len(statements) in (2 * 17, 2 * 17 - 1), "the other one goes along with whoever is ready at the same time"
    assert len(await records(tenant)) == 17


async def test_who_goes_away_while_waiting_leaves_the_turn_to_the_next(tenant: TenantUnderTest) -> None:
    (agent,) = await agents(tenant)
    async with tenant.database.writing(tenant.actor()) as holder:
        await holder.lock(models.AgentInstance, tenant.id, [agent])
        tasks = [asyncio.create_task(move(tenant, agent, to)) for to in (PAUSED, ACTIVE, READONLY)]
        await until_somebody_waits(tenant, await number_of(holder))
        tasks[1].cancel()
        await asyncio.sleep(0.01)
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, Done)
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(third, Refused), "PAUSED is what the one before it left"
    assert third.code is Refusal.INVALID_STATE_TRANSITION


async def test_who_has_waited_long_for_a_turn_waits_for_the_row(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the others and not behind them: each waits no longer than a statement may take."""
    monkeypatch.setattr("db.brief.TURN_SECONDS", 0.05)
    (agent,) = await agents(tenant)
    async with tenant.database.writing(tenant.actor()) as holder:
        await holder.lock(models.AgentInstance, tenant.id, [agent])
        tasks = [asyncio.create_task(move(tenant, agent, PAUSED, expected_state=ACTIVE)) for _ in range(3)]
        await until_somebody_waits(tenant, await number_of(holder), len(tasks))
    outcomes = await asyncio.gather(*tasks)
    assert sorted(type(one).__name__ for one in outcomes) == ["Done", "Refused", "Refused"]
    assert len(await records(tenant)) == 1


async def test_a_turn_that_is_free_but_promised_is_waited_for_no_longer_than_another(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between one who has given it back and the next one, who has not heard of it yet."""
    monkeypatch.setattr("db.brief.TURN_SECONDS", 0.05)
    (agent,) = await agents(tenant)
    turn = tenant.database._company.turns[models.AgentInstance, tenant.id, agent] = asyncio.Lock()
    await turn.acquire()
    following = asyncio.create_task(turn.acquire())
    await asyncio.sleep(0)
    moving = asyncio.create_task(move(tenant, agent, PAUSED))
    turn.release()
    async with asyncio.timeout(10):
        assert isinstance(await moving, Done)
        await following


async def test_a_refusal_writes_nothing(tenant: TenantUnderTest) -> None:
    (agent,) = await agents(tenant)
    before = await fingerprint(tenant.database, tenant.id)
    with sent() as statements, heard(tenant.database.engine) as others:
        refused = await move(tenant, agent, InstanceState.PROVISIONING)
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.INVALID_STATE_TRANSITION
    assert (len(statements), others) == (1, [])
    assert await fingerprint(tenant.database, tenant.id) == before


async def test_another_tenants_row_is_not_there(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """On a connection that was theirs a moment ago, too."""
    (theirs,), (mine,) = await agents(other_tenant), await agents(tenant)
    database = tenant.database
    for _ in range(2):
        outcome = await run(
            database, other_tenant.actor(), "transition_instance", {"instance_id": theirs, "to": PAUSED}
        )
        assert isinstance(outcome, Done)
        refused = await move(tenant, theirs, ACTIVE)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.NOT_FOUND
        assert isinstance(await move(tenant, mine, PAUSED), Done)
        for agent, actor in ((theirs, other_tenant.actor()), (mine, tenant.actor())):
            await run(database, actor, "transition_instance", {"instance_id": agent, "to": ACTIVE})
    assert await state_of(other_tenant, theirs) is ACTIVE
    assert {row["tenant_id"] for row in await records(tenant)} == {tenant.id}


async def test_row_level_security_is_in_force(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """The second wall: a statement that forgot the tenant sees and changes no other's rows."""
    async with tenant.database.brief(tenant.actor()) as brief:
        assert {row[0] for row in await brief.read("SELECT DISTINCT tenant_id FROM projects")} == {tenant.id}
    async with tenant.database.brief(tenant.actor()) as brief:
        changed = await brief.fetch("UPDATE projects SET name = 'Mine' RETURNING tenant_id")
    assert {row[0] for row in changed} == {tenant.id}
    assert (await project(other_tenant)).name == "Core"


async def test_who_follows_is_told(tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the row, the record, and that an agent may do something else now; not of what was refused."""
    (agent,) = await agents(tenant)
    rung = rings_of(tenant, monkeypatch)
    await move(tenant, agent, InstanceState.PROVISIONING)
    assert rung == []
    await move(tenant, agent, PAUSED)
    (record,) = await records(tenant)
    mine = [one for one in rung if one != (tenant.id, Feed.ROWS, None)]
    assert (tenant.id, Feed.ROWS, None) in rung
    assert mine == [(tenant.id, Feed.AGENTS, None), (tenant.id, Feed.CHANGES, record["seq"])]


async def test_who_follows_is_told_also_of_what_only_may_have_been_written(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer, or nobody there any more to hear it; but not where the server says that it did nothing."""
    rung = rings_of(tenant, monkeypatch)
    fetch = TenantConnection.fetch

    async def lose(connection: TenantConnection, sql: str, arguments: Any) -> Any:
        await fetch(connection, sql, arguments)
        raise lost

    for lost in (
        asyncpg.ConnectionDoesNotExistError("lost"),
        asyncio.CancelledError(),
        asyncpg.DeadlockDetectedError(),
    ):
        rung.clear()
        with patch.object(TenantConnection, "fetch", lose), pytest.raises((CommitUnanswered, type(lost))):
            async with tenant.database.brief(tenant.actor()) as brief:
                await brief.fetch("UPDATE agent_instances SET state = 'PAUSED' WHERE false")
        told = [] if isinstance(lost, asyncpg.DeadlockDetectedError) else [Feed.ROWS, Feed.AGENTS]
        assert [feed for _, feed, _ in rung] == told


async def test_who_may_not_is_noted(tenant: TenantUnderTest) -> None:
    """AUD-1: the denial is in the security journal, and nothing was done."""
    (agent,) = await agents(tenant)
    actor = tenant.actor("read:instances")
    with pytest.raises(PermissionDenied):
        await run(tenant.database, actor, "transition_instance", {"instance_id": agent, "to": PAUSED})
    assert await state_of(tenant, agent) is ACTIVE
    assert await records(tenant) == []


# --- What takes a transaction -----------------------------------------------------------------------------------------

_NAMES = DriverText("SELECT name FROM projects WHERE tenant_id = :tenant")


async def _changes_by_the_session(uow: UnitOfWork, found: models.Project) -> None:
    await uow.session.execute(text("UPDATE projects SET description = 'x' WHERE id = :id"), {"id": found.id})
    uow.record(ChangeRecordType.PROJECT_CREATED, found)


async def _looks_at_another_row(uow: UnitOfWork, found: models.Project) -> None:
    assert await uow.get(models.AgentTemplate, new_id()) is None
    found.description = "x"
    uow.record(ChangeRecordType.PROJECT_CREATED, found)


async def _reads_beside_it(uow: UnitOfWork, found: models.Project) -> None:
    assert await uow.rows(_NAMES, {"tenant": uow.tenant_id})
    found.description = "x"
    uow.record(ChangeRecordType.PROJECT_CREATED, found)


async def _locks_another_row(uow: UnitOfWork, found: models.Project) -> None:
    assert await uow.lock(models.AgentTemplate, new_id()) is None
    found.description = "x"
    uow.record(ChangeRecordType.PROJECT_CREATED, found)


async def _makes_a_row(uow: UnitOfWork, found: models.Project) -> None:
    found.description = "x"
    uow.record(ChangeRecordType.PROJECT_CREATED, uow.add(models.AgentTemplate(name="T")))


async def _writes_both_journals(uow: UnitOfWork, found: models.Project) -> None:
    found.description = "x"
    uow.record(ChangeRecordType.PROJECT_CREATED, found)
    uow.emit(OpEventType.DECISION_MADE)


async def _records_what_stays_as_it_is(uow: UnitOfWork, found: models.Project) -> None:
    uow.record(ChangeRecordType.PROJECT_CREATED, found)


async def _reports_of_a_row_that_it_holds(uow: UnitOfWork, found: models.Project) -> None:
    uow.emit(OpEventType.DECISION_MADE, project_id=found.id)


async def _reports_with_an_id_of_its_own(uow: UnitOfWork, _found: models.Project) -> None:
    uow.emit(OpEventType.DECISION_MADE, event_id="once")


async def _changes_without_a_record(_uow: UnitOfWork, found: models.Project) -> None:
    found.description = "x"


async def _raises_an_alert(uow: UnitOfWork, found: models.Project) -> None:
    found.description = "x"
    uow.record(ChangeRecordType.PROJECT_CREATED, found)
    uow.alert("TEST", AlertSeverity.WARNING, "A title", "What happened.")


@pytest.mark.parametrize(
    ("work", "records_and_events"),
    [
        (_changes_by_the_session, (1, 0)),
        (_looks_at_another_row, (1, 0)),
        (_reads_beside_it, (1, 0)),
        (_locks_another_row, (1, 0)),
        (_makes_a_row, (1, 0)),
        (_writes_both_journals, (1, 1)),
        (_records_what_stays_as_it_is, (1, 0)),
        (_reports_of_a_row_that_it_holds, (0, 1)),
        (_reports_with_an_id_of_its_own, (0, 1)),
        (_changes_without_a_record, (0, 0)),
        (_raises_an_alert, (1, 0)),
    ],
)
async def test_what_is_more_than_one_statement_is_done_in_a_transaction(
    work: Any, records_and_events: tuple[int, int], tenant: TenantUnderTest, declare_brief: Declare
) -> None:
    """From the start, once."""
    runs = 0

    async def go(uow: UnitOfWork) -> Any:
        """Hold a row, and do something."""
        nonlocal runs
        runs += 1
        found = await uow.lock(models.Project, tenant.project.id)
        assert found is not None
        await work(uow, found)
        return found

    assert isinstance(await run(tenant.database, tenant.actor(), declare_brief(go), {}), Done)
    assert runs == 2
    async with tenant.database.transaction(tenant.actor()) as session:
        events = len((await session.scalars(select(models.OpEvent.id))).all())
    assert (len(await records(tenant)), events) == records_and_events
    is_described = work not in (
        _records_what_stays_as_it_is,
        _reports_of_a_row_that_it_holds,
        _reports_with_an_id_of_its_own,
    )
    assert (await project(tenant)).description == ("x" if is_described else None)


async def test_what_only_looks_and_reports_is_brief(tenant: TenantUnderTest, declare_brief: Declare) -> None:
    """POL-1: what an agent may do rests on much, and leaves one event."""

    async def look(uow: UnitOfWork) -> Done:
        """Look at things, and tell."""
        assert await uow.rows(_NAMES, {"tenant": uow.tenant_id})
        assert await uow.get(models.Project, tenant.project.id) is not None
        uow.emit(OpEventType.DECISION_MADE, project_id=tenant.project.id)
        uow.emit(OpEventType.DECISION_MADE, project_id=tenant.project.id)
        return Done(None)

    with patch("db.session.begin", side_effect=AssertionError("a transaction")):
        assert isinstance(await run(tenant.database, tenant.actor(), declare_brief(look), {}), Done)
    async with tenant.database.transaction(tenant.actor()) as session:
        seqs = (await session.scalars(select(models.OpEvent.seq).order_by(models.OpEvent.seq))).all()
    assert list(seqs) == [1, 2]


async def test_a_row_is_the_same_as_in_a_transaction(demo_fleet: Demo) -> None:
    """Of every table that the demo fleet fills: values and types, JSON among them; and what is changed is stored so."""
    database, actor, compared = demo_fleet.database, demo_fleet.northwind, 0
    for mapper in Model.registry.mappers:
        model: Any = mapper.class_
        if not issubclass(model, TenantScoped):
            continue
        async with database.transaction(actor) as session:
            ids = (await session.scalars(select(model.id).where(model.tenant_id == actor.tenant_id).limit(3))).all()
        for row_id in ids:
            async with database.brief(actor) as brief:
                mine = await brief.get(model, actor.tenant_id, row_id)
            async with database.writing(actor) as writing:
                theirs = await writing.get(model, actor.tenant_id, row_id)
            one, other = ({k: v for k, v in vars(row).items() if k[0] != "_"} for row in (mine, theirs))
            assert one == other, model
            assert {k: type(v) for k, v in one.items()} == {k: type(v) for k, v in other.items()}, model
            compared += 1
    assert compared > 100


async def test_json_is_stored_as_it_is(tenant: TenantUnderTest, declare_brief: Declare) -> None:
    async def limit(uow: UnitOfWork) -> Any:
        """Change a JSON column."""
        found = await uow.lock(models.Project, tenant.project.id)
        assert found is not None
        found.swarm_config = {**(found.swarm_config or {}), "maxAgents": len(found.swarm_config or {})}
        uow.record(ChangeRecordType.PROJECT_CREATED, found, after={"config": found.swarm_config})
        return found

    name = declare_brief(limit)
    with patch("db.session.begin", side_effect=AssertionError("a transaction")):
        for _ in range(2):
            assert isinstance(await run(tenant.database, tenant.actor(), name, {}), Done)
    assert (await project(tenant)).swarm_config == {"maxAgents": 1}
    assert [row["after_state"] for row in await records(tenant)] == [{"config": {"maxAgents": n}} for n in range(2)]


async def test_a_connection_that_is_taken_for_dead_is_not_given_to_anybody_else(tenant: TenantUnderTest) -> None:
    """Two statements at once are a mistake, of which the driver says what it says of a connection that is gone."""
    numbers = []

    async def twice_at_once() -> None:
        async with tenant.database.brief(tenant.actor()) as brief:
            numbers.append(await number_of(brief))
            await asyncio.gather(brief.read("SELECT pg_sleep(0.2)"), brief.read("SELECT 2"))

    with pytest.raises(NeedsTransaction):
        await twice_at_once()
    async with tenant.database.brief(tenant.actor()) as brief:
        assert await number_of(brief) not in numbers


def test_what_runs_on_the_platforms_connections_is_never_brief() -> None:
    """They pass row-level security, which single statements do not."""
    with pytest.raises(ValueError, match="never brief"):
        command("write:projects", "X", on_platform=True, mostly_brief=lambda _given: True)


async def test_a_second_statement_that_writes_is_a_mistake(tenant: TenantUnderTest) -> None:
    """The first has committed; to begin again would do it twice."""
    async with tenant.database.brief(tenant.actor()) as brief:
        await brief.fetch("UPDATE projects SET description = 'x'")
        with pytest.raises(AssertionError, match="writes once"):
            await brief.fetch("UPDATE projects SET description = 'y'")
    assert (await project(tenant)).description == "x"


# --- Outages ----------------------------------------------------------------------------------------------------------


async def terminate(tenant: TenantUnderTest, number: int) -> None:
    async with tenant.database.transaction(tenant.actor()) as session:
        assert await session.scalar(text("SELECT pg_terminate_backend(:number, 5000)"), {"number": number})


async def test_a_connection_that_is_dead_does_no_harm(tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether that was seen before the first statement or only by it."""
    (agent,) = await agents(tenant)
    for to in (PAUSED, ACTIVE):
        async with tenant.database.brief(tenant.actor()) as brief:
            number = await number_of(brief)
        await terminate(tenant, number)
        with monkeypatch.context() as patched:
            if to is ACTIVE:
                patched.setattr(TenantConnection, "is_closed", False)
            assert isinstance(await move(tenant, agent, to), Done)
    assert len(await records(tenant)) == 2


async def test_a_statement_whose_answer_is_lost_is_told_as_what_it_is(tenant: TenantUnderTest) -> None:
    """It may have been done: it is neither told as undone nor done again."""
    (agent,) = await agents(tenant)
    fetch, tries = TenantConnection.fetch, 0

    async def lose(connection: TenantConnection, sql: str, arguments: Any) -> Any:
        nonlocal tries
        found = await fetch(connection, sql, arguments)
        if sql.startswith("WITH"):
            tries += 1
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return found

    with patch.object(TenantConnection, "fetch", lose), pytest.raises(CommitUnanswered):
        await move(tenant, agent, PAUSED)
    assert tries == 1
    assert await state_of(tenant, agent) is PAUSED
    assert len(await records(tenant)) == 1
    assert isinstance(await move(tenant, agent, ACTIVE), Done), "the next has a connection that works"


async def test_a_session_that_is_ended_within_its_statement_leaves_nothing(tenant: TenantUnderTest) -> None:
    """Neither the row nor the record, nor a number that nobody has."""
    (agent,) = await agents(tenant)
    async with tenant.database.writing(tenant.actor()) as holder:
        await holder.lock(models.AgentInstance, tenant.id, [agent])
        moving = asyncio.create_task(move(tenant, agent, PAUSED))
        await terminate(tenant, await until_somebody_waits(tenant, await number_of(holder)))
        with pytest.raises(CommitUnanswered):  # the driver does not tell what the server said last
            await moving
    assert await state_of(tenant, agent) is ACTIVE
    assert await records(tenant) == []
