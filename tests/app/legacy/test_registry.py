"""The registry and the policies that were written alongside, and former policies (MIG-0f, MIG-2, MIG-8, MIG-9)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from app.registry.rules import former_genome_hash, genome_hash
from db import models
from db.session import Database
from tests.app.legacy.importing import NOW, agent, fleet, land, rejected
from tests.app.legacy.zips import row


def registry(**tables: Any) -> dict[str, Any]:
    """A template with a version, as ARM's side wrote it alongside."""
    genome = {
        "modelConfig": {"provider": "openai", "modelId": "gpt-5"},
        "promptBundleHash": "p",
        "toolManifestHash": "t",
        "provenance": {"createdBy": "seed", "source": "seed", "createdAt": NOW},
    }
    version = {
        "tenantId": "tenant",
        "templateId": "tpl",
        "version": 1,
        "status": "APPROVED",
        "genome": genome,
        "genomeHash": former_genome_hash(genome),
    }
    return fleet(
        agentTemplates=[row("tpl", NOW, tenantId="tenant", name="Core", slug="mc-core")],
        agentVersions=[row("ver", NOW, **version)],
        agentInstances=[instance("ins", "atlas")],
        **tables,
    )


def instance(legacy_id: str, agent_id: str, **fields: Any) -> dict[str, Any]:
    given = {
        "tenantId": "tenant",
        "projectId": "project",
        "environmentId": "prod",
        "templateId": "tpl",
        "versionId": "ver",
        "name": "Atlas Instance",
        "status": "READONLY",
        "legacyAgentId": agent_id,
        **fields,
    }
    return row(legacy_id, NOW, **given)


async def test_an_instance_that_was_written_alongside_is_joined_and_not_doubled(
    database: Database, tmp_path: Path
) -> None:
    """MIG-0f: ids and lineage are the instance's, name, state and spend the agent's; only the envelope is missing."""
    landed = await land(database, tmp_path, registry(agents=[agent("atlas", status="PAUSED")]))
    found = await landed.row(models.AgentInstance)
    assert (found["metadata"]["legacyId"], found["legacy_agent_id"]) == ("ins", "atlas")
    assert (found["name"], found["metadata"]["armName"]) == ("Atlas", "Atlas Instance")
    assert (found["state"], found["spend_today"]) == ("PAUSED", Decimal("1.25"))
    assert len(await landed.rows(models.AgentTemplate)) == len(await landed.rows(models.AgentVersion)) == 1
    assert len(await landed.rows(models.PolicyEnvelope)) == 1
    assert landed.report.tables["agents"].merged == landed.report.tables["agentInstances"].written == 1
    kinds = {one["type"] for one in await landed.rows(models.ChangeRecord)}
    assert "INSTANCE_CREATED" not in kinds
    assert not (await landed.again()).changed


async def test_versions_that_were_written_alongside(database: Database, tmp_path: Path) -> None:
    """MIG-8, decision 39: state, number and hash; the original genome and its hash are kept."""
    landed = await land(database, tmp_path, registry())
    version = await landed.row(models.AgentVersion)
    assert (version["lifecycle_state"], version["version_number"], version["version_label"]) == (
        "APPROVED",
        1,
        "v1.0.0",
    )
    assert version["genome_hash"] == genome_hash(version["genome"])
    assert version["metadata"]["source"] == "legacy-version"
    assert version["metadata"]["legacyGenome"]["toolManifestHash"] == "t"
    assert "importedIntegrity" not in version["metadata"]
    template = await landed.row(models.AgentTemplate)
    assert template["metadata"]["slug"] == "mc-core"


async def test_a_version_that_is_not_what_was_hashed_is_called_tampered(database: Database, tmp_path: Path) -> None:
    """MIG-9, GEN-8."""
    tables = registry()
    tables["agentVersions"][0]["genomeHash"] = "0" * 64
    landed = await land(database, tmp_path, tables)
    assert (await landed.row(models.AgentVersion))["metadata"]["importedIntegrity"] == "TAMPERED"
    assert any("TAMPERED" in note for note in landed.report.notes)


async def test_a_line_of_versions_comes_parents_first(database: Database, tmp_path: Path) -> None:
    """GEN-6: a parent can never be set later; a circle of parents leads nowhere."""
    tables = registry()
    base = {name: value for name, value in tables["agentVersions"][0].items() if name not in ("_id", "_creationTime")}
    parents = {"v3": "v2", "v2": "ver", "x": "y", "y": "x"}
    tables["agentVersions"] += [
        row(name, NOW, **base | {"version": number, "parentVersionId": parent})
        for number, (name, parent) in enumerate(parents.items(), start=2)
    ]
    landed = await land(database, tmp_path, tables)
    ids = {one["metadata"]["legacyId"]: one for one in await landed.rows(models.AgentVersion)}
    assert set(ids) == {"ver", "v2", "v3"}
    assert ids["v3"]["parent_version_id"] == ids["v2"]["id"]
    assert ids["v2"]["parent_version_id"] == ids["ver"]["id"]
    assert {one[0] for one in rejected(landed.report, "agentVersions")} == {"x", "y"}


async def test_deployments(database: Database, tmp_path: Path) -> None:
    """MIG-8, DEP-2: an instance belongs to the one in force; a second one in force is refused and named."""
    shared = {"tenantId": "tenant", "templateId": "tpl", "environmentId": "prod", "targetVersionId": "ver"}
    rollout = {"strategy": "all_at_once", "maxUnavailable": 1}
    tables = registry(
        operators=[row("op", NOW, tenantId="tenant", name="Jo", email="jo@acme.example", active=True)],
        deployments=[
            row("d1", NOW, **shared, status="ACTIVE", createdBy="op", rolloutPolicy=rollout),
            row("d2", NOW, **shared, status="ACTIVE", createdBy="nobody"),
            row("d3", NOW, **shared, status="PENDING", createdBy="nobody", rolloutPolicy={"strategy": "BLUE"}),
        ],
    )
    landed = await land(database, tmp_path, tables)
    first, third = await landed.of(models.Deployment, "d1"), await landed.of(models.Deployment, "d3")
    assert first["rollout_policy"] == {"strategy": "ALL_AT_ONCE", "maxUnavailable": 1}
    assert first["created_by_operator_id"] == (await landed.row(models.Operator, name="Jo"))["id"]
    assert third["created_by_operator_id"] == (await landed.row(models.Operator, name="Snapshot import"))["id"]
    assert third["metadata"]["legacy"] == {"createdBy": "nobody", "rolloutPolicy": {"strategy": "BLUE"}}
    assert rejected(landed.report, "deployments") == [("d3", "rolloutPolicy.strategy", True), ("d2", "_id", False)]
    assert (await landed.row(models.AgentInstance))["deployment_id"] == first["id"]


async def test_policies(database: Database, tmp_path: Path) -> None:
    """MIG-2, POL-7: scopes, rules, lists, budgets; what has no counterpart is switched off or kept, and reported."""
    policies = [
        row(
            "p1",
            NOW,
            tenantId="tenant",
            name="Everyone",
            version=3,
            active=True,
            scopeType="GLOBAL",
            createdBy="jo@acme.example",
            notes="keep calm",
            rules={"requireApprovalOnRisk": ["YELLOW"], "caoApprovalRequired": True},
            toolRiskMap={"read": "red", "deploy": "green"},
            shellAllowlist=["ls"],
            shellBlocklist=[],
            fileReadPaths=["src/**"],
            networkAllowlist=["example.com"],
            budgetDefaults={"SPECIALIST": {"daily": 5, "perRun": 0.75}, "LEAD": {"daily": 12, "perRun": 1.5}},
            spawnLimits={"maxSubAgents": 0, "maxDepth": 2},
            loopThresholds={"maxReviewCycles": 4},
        ),
        row("p2", NOW, tenantId="tenant", name="Project", active=True, scopeType="GLOBAL", projectId="project"),
        row(
            "p3",
            NOW,
            tenantId="tenant",
            name="Atlas",
            active=True,
            scopeType="AGENT",
            scopeId="atlas",
            rules={"toolPolicies": {"shell": "DENY"}},
        ),
        row("p4", NOW, tenantId="tenant", name="Writing", active=True, scopeType="TASK_TYPE", scopeId="CONTENT"),
        row("p5", NOW, tenantId="tenant", name="Ghost", active=True, scopeType="AGENT", scopeId="ghost"),
        row("p6", NOW, tenantId="tenant", name="Old", active=False, scopeType="GLOBAL"),
    ]
    operators = [row("op", NOW, tenantId="tenant", name="Jo", email="jo@acme.example", active=True)]
    landed = await land(database, tmp_path, fleet(policies=policies, operators=operators))
    found = {one["name"]: one for one in await landed.rows(models.PolicyEnvelope)}
    everyone = found["Everyone"]
    assert everyone["attached_to_tenant"]
    assert (everyone["version"], everyone["autonomy_tier"], everyone["active"]) == (3, 2, True)
    assert everyone["approval_triggers"] == ["risk:RED", "risk:YELLOW"]
    assert everyone["tool_risk_map"] == {"read": "RED"}
    assert (everyone["shell_allowlist"], everyone["shell_blocklist"]) == (["ls"], None)
    assert everyone["cost_limits"] == {"dailyUsd": 5, "perRunUsd": 0.75}
    assert everyone["spawn_limits"] == {"maxDepth": 2}
    assert everyone["created_by_operator_id"] == (await landed.row(models.Operator, name="Jo"))["id"]
    assert everyone["metadata"]["notes"] == "keep calm"
    assert everyone["metadata"]["rules"] == {"caoApprovalRequired": True}
    assert everyone["metadata"]["toolRiskMap"] == {"deploy": "GREEN"}
    assert everyone["metadata"]["budgetDefaults"]["LEAD"] == {"daily": 12, "perRun": 1.5}
    assert found["Project"]["attached_to_project_id"] == (await landed.row(models.Project))["id"]
    assert found["Atlas"]["attached_to_version_id"] == (await landed.row(models.AgentVersion))["id"]
    writing = found["Writing"]
    assert (writing["attached_to_tenant"], writing["active"], writing["metadata"]["taskType"]) == (
        True,
        False,
        "CONTENT",
    )
    assert found["Old"]["active"] is False
    assert rejected(landed.report, "policies") == [("p5", "scopeId", False)]
    own = found["Legacy \N{EN DASH} Atlas"]
    assert own["tool_policies"] == {"shell": "DENY"}, "the agent's own policy is in the envelope that takes its place"
    notes = " ".join(landed.report.notes)
    for said in ("caoApprovalRequired", "deploy GREEN", "tasks of type CONTENT"):
        assert said in notes


async def test_envelopes_of_arm(database: Database, tmp_path: Path) -> None:
    """MIG-9, C30, decision 39: tiers, an empty list of tools denies all, costs by month, and one level each."""
    tables = registry(
        policyEnvelopes=[
            row(
                "e1",
                NOW,
                tenantId="tenant",
                name="Arm",
                autonomyTier=4,
                allowedTools=[],
                costLimits={"dailyTokens": 1000, "monthlyCost": 50},
            ),
            row(
                "e2",
                NOW,
                tenantId="tenant",
                name="Both",
                projectId="project",
                versionId="ver",
                rules={"toolPolicies": {"shell": "DENY"}},
            ),
            row("e3", NOW, tenantId="tenant", name="Six", autonomyTier=6),
        ]
    )
    landed = await land(database, tmp_path, tables)
    arm, both = await landed.of(models.PolicyEnvelope, "e1"), await landed.of(models.PolicyEnvelope, "e2")
    assert (arm["autonomy_tier"], arm["allowed_tools"], arm["attached_to_tenant"]) == (4, [], True)
    assert arm["cost_limits"] == {"dailyTokens": 1000, "monthlyUsd": 50}
    assert both["attached_to_version_id"] == (await landed.row(models.AgentVersion))["id"]
    assert both["attached_to_project_id"] is None
    assert both["tool_policies"] == {"shell": "DENY"}
    assert rejected(landed.report, "policyEnvelopes") == [("e3", "autonomyTier", False)]


async def test_identities(database: Database, tmp_path: Path) -> None:
    """C3, IDN-2, MIG-8: the first identity is the template's, the next one's its agent's own; the hash is new."""
    identity = {"tenantId": "tenant", "creature": "Falcon", "validationStatus": "VALID", "lastScannedAt": NOW}
    tables = registry(
        agents=[agent("atlas"), agent("orbit")],
        agentIdentities=[
            row(
                "i1",
                NOW,
                **identity,
                templateId="tpl",
                agentId="atlas",
                name="Atlas",
                soulContent="# Soul",
                soulHash="x",
            ),
            row("i2", NOW, **identity, agentId="orbit", name="Orbit", toolsNotes="read, write"),
        ],
    )
    tables["agentInstances"].append(instance("ins2", "orbit"))
    landed = await land(database, tmp_path, tables)
    first, second = await landed.of(models.AgentIdentity, "i1"), await landed.of(models.AgentIdentity, "i2")
    assert (first["instance_id"], second["template_id"]) == (None, first["template_id"])
    assert second["instance_id"] == (await landed.row(models.AgentInstance, legacy_agent_id="orbit"))["id"]
    assert first["soul_hash"] == "cc416e4eab37ce0fbc437ee72fbe2cad31a99d0413ee64bd555ff7220714b423"
    assert first["metadata"]["legacySoulHash"] == "x"
    assert (second["tools_content"], second["compliance_status"]) == ("read, write", "VALID")
