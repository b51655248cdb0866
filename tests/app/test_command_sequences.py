"""Any sequence of commands, from several connections at once, leaves a legal tenant and an unbroken log.

Hypothesis chooses what is done to a few versions, agents and a release; afterwards the journal alone must tell a
story that the state machines allow, and that ends where the rows are (VER-1, INS-1, DEP-1, AUD-2, AUD-3).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.commands import COMMANDS, Done, Refusal, Refused
from app.governance.machines import DEPLOYMENT
from app.lifecycle import Machine
from app.registry.machines import INSTANCE, VERSION
from app.registry.rules import genome_hash
from app.running import run
from db import models
from db.base import Model
from db.connections import Connections
from db.enums import (
    ActorType,
    ChangeRecordType,
    DeploymentStatus,
    EvalStatus,
    InstanceState,
    LifecycleState,
    OperatorMode,
)
from db.ids import new_id
from db.logs import ChainHead, verify_chain
from db.models.gateway import TenantCounters
from db.session import Database
from tests.app.governance.scene import genome
from tests.conftest import TenantUnderTest, make_tenant

CONNECTIONS: Final = 4
_DOMAIN_REFUSALS: Final = frozenset(Refusal)
_STATES: Final[Mapping[str, tuple[str, Machine[Any]]]] = {
    "AgentVersion": ("lifecycleState", VERSION),
    "AgentInstance": ("state", INSTANCE),
    "Deployment": ("status", DEPLOYMENT),
}

Step = tuple[str, int, Any]
"""A command, which of the rows it is about, and where that goes."""

steps = st.one_of(
    st.tuples(st.just("transition_version"), st.integers(0, 2), st.sampled_from(LifecycleState)),
    st.tuples(st.just("transition_instance"), st.integers(0, 2), st.sampled_from(InstanceState)),
    st.tuples(st.just("create_instance"), st.integers(0, 2), st.none()),
    st.tuples(st.just("create_version"), st.integers(0, 5), st.none()),
    st.tuples(st.just("update_template"), st.integers(0, 0), st.text(st.characters(codec="ascii"), max_size=3)),
    st.tuples(st.just("create_deployment"), st.integers(0, 2), st.none()),
    st.tuples(st.just("approve_deployment"), st.integers(0, 2), st.none()),
    st.tuples(st.just("activate_deployment"), st.integers(0, 2), st.none()),
    st.tuples(st.just("cancel_deployment"), st.integers(0, 2), st.none()),
    st.tuples(st.just("set_operator_control"), st.integers(0, 0), st.sampled_from(OperatorMode)),
)


@dataclass
class Ground:
    """The tenant and the rows that steps are about."""

    tenant: TenantUnderTest
    people: list[models.Operator]
    template: models.AgentTemplate
    versions: list[models.AgentVersion]
    instances: list[models.AgentInstance]
    deployments: list[models.Deployment]
    lab: models.Environment

    def arguments(self, step: Step) -> dict[str, Any]:
        """The command's arguments."""
        name, which, to = step
        template, place = self.template.id, {"environment_id": self.lab.id}
        match name:
            case "transition_version":
                return {"version_id": self.versions[which].id, "to": to}
            case "transition_instance":
                return {"instance_id": self.instances[which].id, "to": to}
            case "create_instance":
                return {"version_id": self.versions[which].id, "project_id": self.tenant.project.id, **place}
            case "create_version":
                return {"template_id": template, "genome": genome(promptBundleHash=f"built {which}")}
            case "update_template":
                return {"template_id": template, "name": to.replace("\0", "")}
            case "create_deployment":
                return {"target_version_id": self.versions[which].id, **place}
            case "set_operator_control":
                return {"mode": to, "reason": "chosen"}
        return {"deployment_id": self.deployments[which].id}


async def make_ground(database: Database) -> Ground:
    """Three versions, agents and releases, in states from which much can be done."""
    tenant = await make_tenant(database)
    people = [
        models.Operator(id=new_id(), auth_id=f"p-{new_id()}", name=name, email=f"{name}@example.com")
        for name in ("ada", "grace", "edsger", "barbara")
    ]
    lab = models.Environment(id=new_id(), name="Lab", slug="lab", is_production=False)
    template = models.AgentTemplate(id=new_id(), name="Scout")
    versions = []
    for position, state in enumerate((LifecycleState.DRAFT, LifecycleState.TESTING, LifecycleState.APPROVED)):
        made = genome(promptBundleHash=f"given {position}")
        versions.append(
            models.AgentVersion(
                id=new_id(),
                template_id=template.id,
                genome=made,
                genome_hash=genome_hash(made),
                lifecycle_state=state,
                eval_status=EvalStatus.PASS,
            )
        )
    instances = [
        models.AgentInstance(
            id=new_id(),
            version_id=versions[2].id,
            project_id=tenant.project.id,
            environment_id=lab.id,
            state=state,
        )
        for state in (InstanceState.PROVISIONING, InstanceState.ACTIVE, InstanceState.QUARANTINED)
    ]
    deployments = [
        models.Deployment(
            id=new_id(),
            template_id=template.id,
            environment_id=lab.id,
            target_version_id=versions[2].id,
            created_by_operator_id=people[0].id,
        )
        for _ in range(3)
    ]
    policy = models.PolicyEnvelope(name="free", attached_to_tenant=True, autonomy_tier=5, version=1, active=True)
    suite = models.EvaluationSuite(name="Basics", test_cases=[{"id": "a", "name": "A", "input": {}}])
    await tenant.add(*people, lab, template, *versions, *instances, *deployments, policy, suite)
    return Ground(tenant, people, template, versions, instances, deployments, lab)


async def play(database: Database, lanes: Sequence[Sequence[Step]]) -> None:
    """The lanes run beside each other, each step in a transaction of its own; then the log is read."""
    ground = await make_ground(database)
    there: list[Any] = [*ground.versions, *ground.instances, *ground.deployments]
    before = {row.id: _state(row) for row in there}

    async def walk(lane: Sequence[Step], number: int) -> list[tuple[Step, Done | Refused]]:
        actor = ground.tenant.actor(operator_id=ground.people[number].id)
        return [(step, await run(database, actor, step[0], ground.arguments(step))) for step in lane]

    told = await asyncio.gather(*(walk(lane, number) for number, lane in enumerate(lanes)))
    outcomes = [one for lane in told for one in lane]
    assert all(outcome.code in _DOMAIN_REFUSALS for _, outcome in outcomes if isinstance(outcome, Refused))
    records, counters, rows, canceled = await _read(ground)
    _check_chain(records, counters)
    _check_own_records(records, outcomes)
    done = [step[0] for step, outcome in outcomes if isinstance(outcome, Done)]
    assert len(canceled) == done.count("cancel_deployment")
    _check_story(records, before, rows, canceled)


def _state(row: Any) -> str:
    found = getattr(row, "lifecycle_state", None) or getattr(row, "state", None) or row.status
    return str((found or DeploymentStatus.PENDING).value)


async def _read(ground: Ground) -> tuple[list[dict[str, Any]], TenantCounters, dict[UUID, str], list[UUID]]:
    """Every change record in order, the counters, the states that the rows have now, and the releases that were
    canceled, which is told in the audit log."""
    tenant = ground.tenant
    async with tenant.database.transaction(tenant.actor()) as session:
        log: Any = models.ChangeRecord.__table__
        found = await session.execute(select(log).where(log.c.tenant_id == tenant.id).order_by(log.c.seq))
        records = [dict(row._mapping) for row in found]
        counters = (await session.scalars(select(TenantCounters).where(TenantCounters.tenant_id == tenant.id))).one()
        kinds: tuple[type[Model], ...] = (models.AgentVersion, models.AgentInstance, models.Deployment)
        rows: dict[UUID, str] = {}
        for kind in kinds:
            table: Any = kind
            row: Any
            for row in await session.scalars(select(table).where(table.tenant_id == tenant.id)):
                rows[row.id] = _state(row)
        numbers = select(models.OpEvent.seq).where(models.OpEvent.tenant_id == tenant.id)
        events = list(await session.scalars(numbers.order_by(models.OpEvent.seq)))
        log = models.AuditLog
        ended = log.tenant_id == tenant.id, log.action == "DEPLOYMENT_CANCELED"
        canceled = [UUID(one) for one in await session.scalars(select(log.resource_id).where(*ended)) if one]
    assert events == list(range(1, counters.event_seq + 1))
    return records, counters, rows, canceled


def _check_chain(records: Sequence[Mapping[str, Any]], counters: TenantCounters) -> None:
    """AUD-2, AUD-3: no number is missing, no link is broken, and the counter stands at the end of it."""
    assert [record["seq"] for record in records] == list(range(1, counters.change_seq + 1))
    assert verify_chain(records, head=ChainHead(counters.change_seq, counters.change_hash)) == []


def _check_own_records(records: Sequence[Mapping[str, Any]], outcomes: Sequence[tuple[Step, Done | Refused]]) -> None:
    """Decision 1: each command that did something has one record, of its declared type and about its own target."""
    by_id = {record["id"]: record for record in records}
    own = []
    for (name, *_), outcome in outcomes:
        journal = COMMANDS[name].journal
        if not isinstance(outcome, Done) or not isinstance(journal, ChangeRecordType):
            continue
        if outcome.extras.get("is_existing"):
            assert outcome.change_id is None
            continue
        row: Any = outcome.row
        assert outcome.change_id is not None, f"{name} left no record"
        record = by_id[outcome.change_id]
        assert (record["type"], record["target_entity"], record["target_id"]) == (journal, type(row).__name__, row.id)
        assert record["caused_by_id"] is None
        own.append(outcome.change_id)
    assert all(count == 1 for count in Counter(own).values()), "two commands share a record"
    declared = {ChangeRecordType.VERSION_CREATED, ChangeRecordType.TEMPLATE_UPDATED}
    strangers = [one for one in records if one["type"] in declared and one["id"] not in own]
    assert strangers == [], "records that no command answers for"


def _check_story(
    records: Sequence[Mapping[str, Any]],
    before: Mapping[UUID, str],
    rows: Mapping[UUID, str],
    canceled: Sequence[UUID],
) -> None:
    """SM-1: every step that is told begins where the one before it ended, is one of the table's for whoever took it,
    and the last one ends where the row is."""
    now = dict(before)
    for record in records:
        column, machine = _STATES.get(record["target_entity"], (None, None))
        if column is None or machine is None or column not in (record["after_state"] or {}):
            continue
        target, after = record["target_id"], record["after_state"][column]
        was = (record["before_state"] or {}).get(column)
        if was is None:
            assert target not in now, f"{record['type']} of a row that was there"
        else:
            assert was == now[target], f"{record['type']} number {record['seq']} begins at {was}, not {now[target]}"
            actor = ActorType(record["actor_type"])
            legal = {str(state): actors for state, actors in _steps_from(machine, was)}
            assert actor in legal.get(after, ()), f"{actor} took a {record['target_entity']} from {was} to {after}"
        now[target] = after
    for target in canceled:
        assert now[target] == DeploymentStatus.PENDING.value
        now[target] = DeploymentStatus.RETIRED.value
    assert {row: now.get(row) for row in rows} == dict(rows)


def _steps_from(machine: Machine[Any], state: str) -> Iterator[tuple[Any, frozenset[ActorType]]]:
    for start, targets in machine.items():
        if start == state:
            yield from targets.items()


lanes = st.lists(st.lists(steps, min_size=1, max_size=6), min_size=2, max_size=CONNECTIONS)


def _run(connections: Connections, chosen: Sequence[Sequence[Step]]) -> None:
    async def in_a_loop() -> None:
        database = Database(connections, pool_size=CONNECTIONS + 1)
        try:
            await play(database, chosen)
        finally:
            await database.close()

    asyncio.run(in_a_loop())


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(lanes)
def test_commands_at_once_leave_a_legal_story(connections: Connections, chosen: list[list[Step]]) -> None:
    """Issue 3: no illegal state, one record with the command's own target for each effect, no hole, unbroken chain."""
    _run(connections, chosen)


@pytest.mark.long
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(steps, min_size=1, max_size=15), min_size=2, max_size=CONNECTIONS))
def test_many_commands_at_once_leave_a_legal_story(connections: Connections, chosen: list[list[Step]]) -> None:
    """The same, more and longer."""
    _run(connections, chosen)
