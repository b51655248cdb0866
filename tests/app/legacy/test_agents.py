"""Agents through the pipeline (MIG-1)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.legacy.genomes import of_agent
from app.registry.rules import genome_hash
from db import models
from db.session import Database
from tests.app.legacy.importing import DAY, NOW, agent, fleet, land, rejected
from tests.app.legacy.zips import row


async def test_a_lone_agent_goes_through_the_whole_pipeline(database: Database, tmp_path: Path) -> None:
    """MIG-1, field by field: template, version, envelope, deployment, instance, identity, and a record of each."""
    lone = agent(
        "atlas",
        emoji="🧭",
        role="LEAD",
        soulVersionHash="soul-1",
        lastHeartbeatAt=NOW - 60_000,
        lastError="boom",
        errorStreak=2,
        maxSubAgents=4,
        canSpawn=True,
        metadata={"model": "gpt-5", "temperature": 0.2, "maxTokens": 4096.0, "persona": "x"},
        surprise=7,
    )
    landed = await land(database, tmp_path, fleet(agents=[lone]))
    template, version = await landed.row(models.AgentTemplate), await landed.row(models.AgentVersion)
    envelope, deployment = await landed.row(models.PolicyEnvelope), await landed.row(models.Deployment)
    instance, identity = await landed.row(models.AgentInstance), await landed.row(models.AgentIdentity)
    made = datetime.fromtimestamp((NOW - DAY) / 1000, UTC)

    assert (template["name"], template["emoji"], template["default_role"]) == ("Atlas", "🧭", "LEAD")
    assert template["metadata"]["workspacePath"] == "/agents/atlas"
    assert template["metadata"]["role"] == "LEAD"
    assert template["metadata"]["legacy"] == {"surprise": 7, "metadata": lone["metadata"] | {"maxTokens": 4096}}

    genome = of_agent(
        model="gpt-5", temperature=0.2, max_tokens=4096, soul="soul-1", tools=["read", "shell"], created=made
    )
    assert version["genome"] == genome
    assert version["genome_hash"] == genome_hash(genome)
    assert (version["lifecycle_state"], version["eval_status"]) == ("APPROVED", "NOT_RUN")
    assert (version["version_label"], version["metadata"]["source"]) == ("v0.1.0-legacy", "legacy-agent")

    assert envelope["name"] == "Legacy \N{EN DASH} Atlas"
    assert envelope["attached_to_version_id"] == version["id"]
    assert envelope["autonomy_tier"] == 2
    assert envelope["allowed_tools"] == ["read", "shell"]
    assert envelope["allowed_task_types"] == ["OPS"]
    assert envelope["cost_limits"] == {"dailyUsd": 5, "perRunUsd": 0.75}
    assert envelope["spawn_limits"] == {"canSpawn": True, "maxSubAgents": 4}

    assert (deployment["status"], deployment["metadata"]["source"]) == ("ACTIVE", "legacy")
    assert deployment["target_version_id"] == version["id"]
    planner = await landed.row(models.Operator, id=deployment["created_by_operator_id"])
    assert (planner["name"], planner["status"]) == ("Snapshot import", "DEACTIVATED")

    assert (instance["legacy_agent_id"], instance["name"], instance["state"]) == ("atlas", "Atlas", "ACTIVE")
    assert instance["deployment_id"] == deployment["id"]
    assert instance["policy_envelope_id"] == envelope["id"]
    assert (instance["spend_today"], instance["error_streak"], instance["last_error"]) == (Decimal("1.25"), 2, "boom")
    assert instance["heartbeat_at"] == datetime.fromtimestamp((NOW - 60_000) / 1000, UTC)
    assert instance["created_at"] == made
    assert instance["metadata"]["legacyRole"] == "LEAD"

    assert (identity["template_id"], identity["name"], identity["emoji"]) == (template["id"], "Atlas", "🧭")

    records = {one["type"]: one for one in await landed.rows(models.ChangeRecord)}
    for kind, target in (
        ("TEMPLATE_CREATED", template),
        ("VERSION_CREATED", version),
        ("POLICY_ATTACHED", envelope),
        ("DEPLOYMENT_CREATED", deployment),
        ("INSTANCE_CREATED", instance),
    ):
        assert records[kind]["target_id"] == target["id"]
        assert (records[kind]["actor_type"], records[kind]["metadata"]["source"]) == ("SYSTEM", "migration")
    assert records["POLICY_ATTACHED"]["after_state"]["costLimits"] == {"dailyUsd": 5, "perRunUsd": 0.75}


@pytest.mark.parametrize(
    ("status", "state", "paused_by"),
    [
        ("ACTIVE", "ACTIVE", None),
        ("PAUSED", "PAUSED", "OPERATOR"),
        ("DRAINED", "DRAINING", None),
        ("QUARANTINED", "QUARANTINED", None),
        ("OFFLINE", "PAUSED", "STALE"),
        ("SLEEPING", "PROVISIONING", None),
        (None, "PROVISIONING", None),
    ],
)
async def test_a_status_becomes_a_state(
    database: Database, tmp_path: Path, status: str | None, state: str, paused_by: str | None
) -> None:
    """MIG-1, C32: OFFLINE pauses, since READONLY could still act."""
    landed = await land(database, tmp_path, fleet(agents=[agent("atlas", status=status)]))
    instance = await landed.row(models.AgentInstance)
    assert (instance["state"], instance["paused_by"]) == (state, paused_by)
    assert instance["metadata"].get("legacyStatus") == status


async def test_roles_decide_the_tier_and_the_report_says_what_loosens(database: Database, tmp_path: Path) -> None:
    """MIG-1, POL-6, decision 39: an unknown role gets the tier of a specialist, with the original kept."""
    roles = ["INTERN", "SPECIALIST", "LEAD", "CEO", "WIZARD"]
    landed = await land(database, tmp_path, fleet(agents=[agent(role.lower(), role=role) for role in roles]))
    tiers = {one["name"]: one["autonomy_tier"] for one in await landed.rows(models.PolicyEnvelope)}
    assert tiers == {f"Legacy \N{EN DASH} {role.title()}": 1 if role == "INTERN" else 2 for role in roles}
    assert "A CEO becomes tier 2, which loosens what Mission Control's runtime allowed it" in landed.report.notes
    assert any("'WIZARD'" in note for note in landed.report.notes)
    wizard = await landed.row(models.AgentInstance, legacy_agent_id="wizard")
    assert wizard["metadata"]["legacyRole"] == "WIZARD"


async def test_empty_lists_and_zeros_meant_no_limit(database: Database, tmp_path: Path) -> None:
    """MIG-1, C30, POL-9: empty tools and task types mean any, a number of sub-agents of 0 the default."""
    bare = agent("atlas", allowedTools=[], allowedTaskTypes=[], budgetDaily=None, budgetPerRun=None, canSpawn=None)
    landed = await land(database, tmp_path, fleet(agents=[bare]))
    envelope = await landed.row(models.PolicyEnvelope)
    limits = ("allowed_tools", "allowed_task_types", "cost_limits", "spawn_limits")
    assert [envelope[name] for name in limits] == [None] * 4
    assert (await landed.row(models.AgentVersion))["genome"]["toolManifest"] == []


async def test_spend_of_a_day_that_is_over_starts_again(database: Database, tmp_path: Path) -> None:
    """MIG-1, BUD-2: nothing spent, until the next midnight."""
    agents = [agent("old", spendResetAt=NOW - DAY), agent("new", spendResetAt=NOW + 5)]
    landed = await land(database, tmp_path, fleet(agents=agents, tasks=[row("late", NOW, tenantId="tenant")]))
    old, new = [await landed.row(models.AgentInstance, legacy_agent_id=one) for one in ("old", "new")]
    midnight = datetime.fromtimestamp(NOW / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    assert (old["spend_today"], old["spend_reset_at"]) == (0, midnight + timedelta(days=1))
    assert new["spend_today"] == Decimal("1.25")


async def test_agents_of_one_name_share_a_template_and_equal_ones_a_version(database: Database, tmp_path: Path) -> None:
    """MIG-1, GEN-7: each distinct setting has its own version; labels and envelopes do not collide."""
    twins = [agent("a", name="Twin"), agent("b", name="Twin"), agent("c", name="Twin", soulVersionHash="other")]
    landed = await land(database, tmp_path, fleet(agents=twins))
    assert len(await landed.rows(models.AgentTemplate)) == 1
    versions = sorted((one["version_label"], one["version_number"]) for one in await landed.rows(models.AgentVersion))
    assert versions == [("v0.1.0-legacy", 1), ("v0.2.0-legacy", 2)]
    names = sorted(one["name"] for one in await landed.rows(models.PolicyEnvelope))
    assert names == [f"Legacy \N{EN DASH} Twin{suffix}" for suffix in ("", " (2)", " (3)")]
    instances = {one["legacy_agent_id"]: one for one in await landed.rows(models.AgentInstance)}
    assert instances["a"]["version_id"] == instances["b"]["version_id"] != instances["c"]["version_id"]
    shared = {one["id"]: one["priority"] for one in await landed.rows(models.PolicyEnvelope)}
    assert [shared[instances[one]["policy_envelope_id"]] for one in "abc"] == [0, 0, 100]
    retired = [one["status"] for one in await landed.rows(models.Deployment)]
    assert sorted(retired) == ["ACTIVE", "RETIRED"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": 7}, "name"),
        ({"allowedTaskTypes": ["GARDENING"]}, "allowedTaskTypes"),
        ({"budgetDaily": "lots"}, "budgetDaily"),
        ({"spendToday": -1}, "spendToday"),
        ({"environmentId": "nowhere"}, "environmentId"),
        ({"canSpawn": "yes"}, "canSpawn"),
    ],
)
async def test_an_agent_that_cannot_be_is_rejected(
    database: Database, tmp_path: Path, fields: dict[str, Any], field: str
) -> None:
    """MIG-0c: and its runs with it."""
    landed = await land(database, tmp_path, fleet(agents=[agent("atlas", **fields)]))
    assert rejected(landed.report, "agents") == [("atlas", field, False)]
    assert await landed.rows(models.AgentInstance) == []
