"""What the jobs do to agents: the silent are quarantined (HB-4), the drained are retired (INS-1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.running import run_as_system
from db import models
from db.enums import InstanceState, RunStatus, TaskStatus, TaskType
from db.ids import new_id
from tests.asking import data_of
from tests.conftest import TenantUnderTest


def now() -> datetime:
    """Of this test: a suite takes longer than an agent's silence."""
    return datetime.now(UTC)


async def agent(tenant: TenantUnderTest, state: InstanceState, heard: timedelta | None) -> models.AgentInstance:
    template = models.AgentTemplate(id=new_id(), name="T")
    version = models.AgentVersion(id=new_id(), template_id=template.id, genome={}, genome_hash="0" * 64)
    instance = models.AgentInstance(
        id=new_id(),
        name="scout",
        version_id=version.id,
        project_id=tenant.project.id,
        environment_id=tenant.environment.id,
        state=state,
        heartbeat_at=None if heard is None else now() - heard,
    )
    await tenant.add(template, version, instance)
    return instance


async def task(tenant: TenantUnderTest, status: TaskStatus, *assignees: models.AgentInstance) -> models.Task:
    made = models.Task(
        id=new_id(), project_id=tenant.project.id, title="Dig", type=TaskType.OPS, status=status, review_cycles=0
    )
    links = [models.TaskAssignee(task_id=made.id, instance_id=one.id, position=i) for i, one in enumerate(assignees)]
    await tenant.add(made, *links)
    return made


async def look(tenant: TenantUnderTest) -> dict[str, Any]:
    query = """{ agentInstances { edges { node { name state } } } tasks { edges { node { status blockedReason } } }
        alerts { edges { node { type severity } } }
        changeRecords { edges { node { type actorType causedBy { type } } } } }"""
    data = await data_of(tenant, tenant.actor(), query)
    return {name: [edge["node"] for edge in part["edges"]] for name, part in data.items()}


async def test_hb_4_a_silent_agent_is_quarantined_with_its_work_blocked(tenant: TenantUnderTest) -> None:
    """CRITICAL alert, EMERGENCY_QUARANTINE, its own tasks blocked; a task that others share goes on."""
    silent = await agent(tenant, InstanceState.ACTIVE, timedelta(minutes=6))
    lively = await agent(tenant, InstanceState.ACTIVE, timedelta(minutes=1))
    await task(tenant, TaskStatus.IN_PROGRESS, silent)
    await task(tenant, TaskStatus.ASSIGNED, silent)
    await task(tenant, TaskStatus.IN_PROGRESS, silent, lively)
    await task(tenant, TaskStatus.REVIEW, silent)
    await run_as_system(tenant.database, tenant.id, "quarantine_stale_instances", {})
    found = await look(tenant)
    assert [one["state"] for one in found["agentInstances"]] == ["QUARANTINED", "ACTIVE"]
    assert [one["status"] for one in found["tasks"]] == ["BLOCKED", "BLOCKED", "IN_PROGRESS", "REVIEW"]
    severities = {one["type"]: one["severity"] for one in found["alerts"]}
    assert sorted(severities) == ["AGENT_STALE_HEARTBEAT", "TASK_BLOCKED_STALE_AGENT"]
    assert severities["AGENT_STALE_HEARTBEAT"] == "CRITICAL"
    assert [one["type"] for one in found["changeRecords"]] == [
        "EMERGENCY_QUARANTINE",
        "INSTANCE_TRANSITIONED",
        "TASK_TRANSITIONED",
        "TASK_TRANSITIONED",
    ]
    assert {one["actorType"] for one in found["changeRecords"]} == {"SYSTEM"}
    assert [one["causedBy"] for one in found["changeRecords"]][1:] == [{"type": "EMERGENCY_QUARANTINE"}] * 3


async def test_hb_4_running_it_again_changes_nothing(tenant: TenantUnderTest) -> None:
    """The job looks for what is due."""
    await agent(tenant, InstanceState.ACTIVE, timedelta(minutes=6))
    for _ in range(2):
        await run_as_system(tenant.database, tenant.id, "quarantine_stale_instances", {})
    assert len((await look(tenant))["changeRecords"]) == 2


@pytest.mark.parametrize(
    ("state", "heard", "ends"),
    [
        (InstanceState.READONLY, timedelta(minutes=6), "QUARANTINED"),
        (InstanceState.DRAINING, timedelta(minutes=6), "QUARANTINED"),
        (InstanceState.PAUSED, timedelta(days=6), "PAUSED"),
        (InstanceState.PROVISIONING, None, "PROVISIONING"),
        (InstanceState.ACTIVE, None, "ACTIVE"),
        (InstanceState.RETIRED, timedelta(days=6), "RETIRED"),
    ],
)
async def test_hb_4_whom_the_gateway_listens_to(
    tenant: TenantUnderTest, state: InstanceState, heard: timedelta | None, ends: str
) -> None:
    """ACTIVE, READONLY and DRAINING, once they have been heard of or activated."""
    await agent(tenant, state, heard)
    await run_as_system(tenant.database, tenant.id, "quarantine_stale_instances", {})
    assert [one["state"] for one in (await look(tenant))["agentInstances"]] == [ends]


async def test_hb_4_a_tenant_may_be_more_patient(tenant: TenantUnderTest) -> None:
    """`settings.heartbeat.staleMs`."""
    await agent(tenant, InstanceState.ACTIVE, timedelta(minutes=6))
    async with tenant.database.platform() as connection:
        await connection.exec_driver_sql(
            'UPDATE tenants SET settings = \'{"heartbeat": {"staleMs": 600000}}\' WHERE id = $1', (tenant.id,)
        )
    await run_as_system(tenant.database, tenant.id, "quarantine_stale_instances", {})
    assert [one["state"] for one in (await look(tenant))["agentInstances"]] == ["ACTIVE"]


async def test_ins_1_a_drained_agent_is_retired(tenant: TenantUnderTest) -> None:
    """Not while a run is under way or a task is open."""
    idle, running, busy = [await agent(tenant, InstanceState.DRAINING, timedelta(0)) for _ in range(3)]
    await task(tenant, TaskStatus.DONE, idle)
    await task(tenant, TaskStatus.REVIEW, busy)
    run = models.Run(
        instance_id=running.id,
        version_id=running.version_id,
        session_key="s",
        started_at=now(),
        model="m",
        input_tokens=0,
        output_tokens=0,
        cost_usd=0,
        status=RunStatus.RUNNING,
        idempotency_key="r",
    )
    await tenant.add(run)
    await run_as_system(tenant.database, tenant.id, "complete_drains", {})
    assert [one["state"] for one in (await look(tenant))["agentInstances"]] == ["RETIRED", "DRAINING", "DRAINING"]
