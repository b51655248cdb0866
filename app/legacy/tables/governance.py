"""Deployments, and the envelopes of both former systems (MIG-2, MIG-8, MIG-9)."""

from typing import Any, Final

from app.legacy.document import Doc, Rejection, mapping, words
from app.legacy.mapping import Mapping, key, person
from app.legacy.policy import Compiled, compile_policy, cost_limits, one_level, spawn_limits, texts_or_none, tier
from app.legacy.world import World
from db.enums import TaskType
from db.models import Deployment, PolicyEnvelope

_TENANT_TIER: Final = 2
"""What Mission Control's runtime allowed its agents: everything but RED (C9, MIG-2)."""


def _rollout(doc: Doc, world: World) -> dict[str, Any] | None:
    """The rollout policy with its strategy as this system writes it."""
    given = doc.take("rolloutPolicy")
    if given is None:
        return None
    policy = dict(mapping("rolloutPolicy", given))
    if isinstance(policy.get("strategy"), str):
        policy["strategy"] = policy["strategy"].upper().replace("-", "_")
    return policy


def _planner(doc: Doc, world: World) -> Any:
    """Who planned the deployment; where the snapshot names nobody known, the import's own operator stands in."""
    return person("createdBy")(doc, world) or world.stand_in


DEPLOYMENTS: Final = Mapping(
    "deployments", Deployment, {"rollout_policy": _rollout, "created_by_operator_id": _planner}
)


class EnvelopeMapping(Mapping):
    """A former policy of any kind: its columns are compiled together."""

    def map(self, doc: Doc, world: World) -> Any:
        """The envelope of a document. Raises Rejection."""
        compiled = self._compiled(doc, world)
        for note in compiled.notes:
            world.report.note(f"{words('name', doc.peek('name') or doc.id)}: {note}")
        mapped = super().map(doc, world)
        # A list of tools that is given stays as strict as what the rules come to.
        given = mapped.row["allowed_tools"]
        for name, value in compiled.columns.items():
            if value is not None:
                mapped.row[name] = value
        if given is not None and compiled.columns.get("allowed_tools") is not None:
            mapped.row["allowed_tools"] = [one for one in given if one in compiled.columns["allowed_tools"]]
        if mapped.row["attached_to_tenant"] and mapped.row["autonomy_tier"] is None:
            mapped.row["autonomy_tier"] = _TENANT_TIER
        mapped.row["metadata"] |= compiled.metadata
        return mapped

    def _compiled(self, doc: Doc, world: World) -> Compiled:
        triggers = ["risk:RED"] if self.table == "policies" else []
        triggers += texts_or_none("approvalTriggers", doc.peek("approvalTriggers")) or []
        return compile_policy(doc.take("rules"), doc.take("toolRiskMap"), triggers)


def _attached(name: str) -> Any:
    """One of the four columns that say what an envelope is attached to."""

    def rule(doc: Doc, world: World) -> Any:
        attachments = _attachments(doc, world)
        return one_level(attachments)[name]

    return rule


def _attachments(doc: Doc, world: World) -> dict[str, Any]:
    if doc.table != "policies":
        return {
            "version": key("AgentVersion", "attachedToVersionId", "versionId")(doc, world),
            "template": key("AgentTemplate", "attachedToTemplateId", "templateId")(doc, world),
            "project": key("Project", "attachedToProjectId", "projectId")(doc, world),
        }
    scope, target = doc.take("scopeType"), doc.take("scopeId")
    if scope == "AGENT":
        agent_version = world.agent_versions.get(target) if isinstance(target, str) else None
        if agent_version is None:
            raise Rejection("scopeId", target, "refers to no agent of the snapshot")
        return {"version": agent_version}
    if scope not in ("GLOBAL", "TASK_TYPE", "PROJECT", None):
        raise Rejection("scopeType", scope, "is none of GLOBAL, AGENT, TASK_TYPE")
    return {} if scope == "TASK_TYPE" else {"project": key("Project", "projectId")(doc, world)}


def _tier(doc: Doc, world: World) -> int | None:
    given = tier(doc.take("autonomyTier"))
    return _TENANT_TIER if given is None and doc.table == "policies" else given


def _costs(doc: Doc, world: World) -> dict[str, Any] | None:
    """Limits of spend: ARM's own, or those that Mission Control gave its specialists by default (MIG-2, MIG-9)."""
    given = doc.take("costLimits", "budgets")
    defaults = doc.take("budgetDefaults")
    if given is None and defaults is not None:
        specialist = mapping("budgetDefaults", defaults).get("SPECIALIST") or {}
        return cost_limits(dailyUsd=specialist.get("daily"), perRunUsd=specialist.get("perRun"))
    limits = dict(mapping("costLimits", given or {}))
    monthly = limits.pop("monthlyCost", None)
    return (
        cost_limits(**limits, monthlyUsd=limits.pop("monthlyUsd", monthly)) if limits or monthly is not None else None
    )


def _list(name: str, *, empty_means_any: bool = True) -> Any:
    def rule(doc: Doc, world: World) -> list[str] | None:
        value = doc.take(name)
        return [] if value == [] and not empty_means_any else texts_or_none(name, value)

    return rule


def _is_active(doc: Doc, world: World) -> bool:
    """Whether the policy counts. One for a kind of task has no counterpart, and is kept switched off (MIG-2)."""
    given = doc.take("active", "isActive")
    if doc.peek("scopeType") == "TASK_TYPE":
        world.report.note(
            f"The policy {doc.peek('name') or doc.id} was for tasks of type {doc.peek('scopeId')}: "
            "it is kept at the tenant's level, switched off"
        )
        return False
    return True if given is None else bool(given)


def _name(doc: Doc, world: World) -> str:
    return words("name", doc.take("name") or f"Policy {doc.id}")


def _envelope_metadata(doc: Doc, world: World) -> dict[str, Any]:
    """What belongs to the former policy and has no column."""
    found = {"notes": doc.take("notes"), "budgetDefaults": doc.peek("budgetDefaults")}
    if doc.peek("scopeType") == "TASK_TYPE":
        found["taskType"] = doc.peek("scopeId")
    if doc.peek("scopeType") == "AGENT":
        found["agentId"] = doc.peek("scopeId")
    doc.take("approvalTriggers", "projectId", "templateId", "versionId", "attachedToTenant")
    return {name: value for name, value in found.items() if value is not None}


_ATTACHED: Final = {
    name: _attached(name)
    for name in ("attached_to_tenant", "attached_to_project_id", "attached_to_template_id", "attached_to_version_id")
}
_COMPILED: Final = {
    name: (lambda doc, world: None)
    for name in ("tool_policies", "approval_triggers", "require_approval_on_risk", "tool_risk_map")
}
_SHARED: Final = {
    **_ATTACHED,
    **_COMPILED,
    "name": _name,
    "autonomy_tier": _tier,
    "active": _is_active,
    "cost_limits": _costs,
    "spawn_limits": lambda doc, world: spawn_limits(doc.take("spawnLimits")),
    "created_by_operator_id": person("createdBy"),
    "shell_allowlist": _list("shellAllowlist"),
    "shell_blocklist": _list("shellBlocklist"),
    "file_read_paths": _list("fileReadPaths"),
    "file_write_paths": _list("fileWritePaths"),
    "network_allowlist": _list("networkAllowlist"),
}

ENVELOPES: Final = EnvelopeMapping(
    "policyEnvelopes",
    PolicyEnvelope,
    {**_SHARED, "allowed_tools": _list("allowedTools", empty_means_any=False)},  # ARM's empty list denies (MIG-9)
    more=_envelope_metadata,
)
POLICIES: Final = EnvelopeMapping("policies", PolicyEnvelope, _SHARED, more=_envelope_metadata)


def task_types(field: str, value: Any) -> list[TaskType] | None:
    """Kinds of task; the former systems' empty list meant any (MIG-1)."""
    names = texts_or_none(field, value)
    if names is None:
        return None
    unknown = [one for one in names if one not in TaskType.__members__]
    if unknown:
        raise Rejection(field, ", ".join(unknown), f"is none of {', '.join(TaskType.__members__)}")
    return [TaskType(one) for one in names]
