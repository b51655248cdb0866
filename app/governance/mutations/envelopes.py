"""Mutations of policy envelopes."""

from __future__ import annotations

from app.governance.commands import envelopes as commands
from app.governance.types import PolicyEnvelope
from app.graph.inputs import given, input_type
from app.graph.mutation import mutation
from app.graph.scalars import JSON
from db.enums import RiskLevel, TaskType

_INHERITED = " Absent: inherited."
_REASON = "Why, for the change record."


@input_type
class PolicyEnvelopeCreateInput:
    """A new policy, at one level."""

    name: str = given("Name, unique among the active policies.", longest=100)
    attached_to_tenant: bool | None = given("Make it the whole tenant's; exactly one of the four is given.")
    attached_to_project_id: str | None = given("The project that it is for.", id_of="Project")
    attached_to_template_id: str | None = given("The template that it is for.", id_of="AgentTemplate")
    attached_to_version_id: str | None = given("The version that it is for.", id_of="AgentVersion")
    active: bool | None = given("Whether it counts from now on; true if nothing is said.")
    autonomy_tier: int | None = given("How much goes without asking, 0 to 5 (POL-6); a tenant's policy needs one.")
    allowed_tools: list[str] | None = given(
        "Tools that may be called, such as `git_*`; empty: none." + _INHERITED, longest=200
    )
    denied_tools: list[str] | None = given("Tools that may never be called; levels add up.", longest=200)
    data_scopes: list[str] | None = given("Data that tool arguments may name; empty: none." + _INHERITED, longest=200)
    allowed_task_types: list[TaskType] | None = given("Kinds of task; empty: none." + _INHERITED)
    approval_triggers: list[str] | None = given(
        "What asks for approval: `risk:RED`, `tool:<name>`, `transition:DONE`, `cost_above:<usd>`, `budget:exceeded`,"
        " `production`, `secrets`, `spawn`, `deployment`; levels add up.",
        longest=200,
    )
    require_approval_on_risk: list[RiskLevel] | None = given("Risks that ask for approval; levels add up.")
    enforcement_points: list[str] | None = given("Where the policy is enforced; levels add up.", longest=200)
    tool_policies: JSON | None = given("ALLOW, NEEDS_APPROVAL or DENY by tool name, `*` for all others (POL-7).")
    tool_risk_map: JSON | None = given("GREEN, YELLOW or RED by tool name, before the built-in map (RSK-3).")
    shell_allowlist: list[str] | None = given(
        "What a shell command may begin with; empty: nothing." + _INHERITED, longest=500
    )
    shell_blocklist: list[str] | None = given("What a shell command may not contain; levels add up.", longest=500)
    file_read_paths: list[str] | None = given("Globs of what may be read; `!` forbids." + _INHERITED, longest=500)
    file_write_paths: list[str] | None = given("Globs of what may be written; `!` forbids." + _INHERITED, longest=500)
    network_allowlist: list[str] | None = given("Hosts that may be reached; empty: none." + _INHERITED, longest=300)
    cost_limits: JSON | None = given("`dailyUsd`, `perRunUsd`, `monthlyUsd` in US dollars, and `dailyTokens` (BUD-1).")
    spawn_limits: JSON | None = given(
        "`canSpawn`, `maxSubAgents`, `maxPerParent`, `maxGlobalActive`, `maxDepth`, `ttlMs` (POL-9)."
    )
    loop_thresholds: JSON | None = given("When going in circles counts as a loop, such as `maxReviewCycles` (LOOP-1).")
    caps: JSON | None = given("Limits on pace, such as `maxConcurrentTasks` and `maxRunsPerHour`.")
    priority: int | None = given("Decides between policies of one level, the highest first; 100 if nothing is said.")
    metadata: JSON | None = given("Open notes.")


@input_type
class PolicyEnvelopeUpdateInput:
    """What changes on a policy; what is left out stays, and null takes a value away."""

    envelope_id: str = given("The policy.", id_of="PolicyEnvelope")
    name: str | None = given("Name, unique among the active policies.", longest=100)
    autonomy_tier: int | None = given("How much goes without asking; more than before needs an approval.")
    allowed_tools: list[str] | None = given("Tools that may be called, all of them.", longest=200)
    denied_tools: list[str] | None = given("Tools that may never be called, all of them.", longest=200)
    data_scopes: list[str] | None = given("Data that tool arguments may name, all of it.", longest=200)
    allowed_task_types: list[TaskType] | None = given("Kinds of task, all of them.")
    approval_triggers: list[str] | None = given("What asks for approval, all of it.", longest=200)
    require_approval_on_risk: list[RiskLevel] | None = given("Risks that ask for approval, all of them.")
    enforcement_points: list[str] | None = given("Where the policy is enforced, all of it.", longest=200)
    tool_policies: JSON | None = given("Verdicts by tool name, all of them.")
    tool_risk_map: JSON | None = given("Risks by tool name, all of them.")
    shell_allowlist: list[str] | None = given("What a shell command may begin with, all of it.", longest=500)
    shell_blocklist: list[str] | None = given("What a shell command may not contain, all of it.", longest=500)
    file_read_paths: list[str] | None = given("Globs of what may be read, all of them.", longest=500)
    file_write_paths: list[str] | None = given("Globs of what may be written, all of them.", longest=500)
    network_allowlist: list[str] | None = given("Hosts that may be reached, all of them.", longest=300)
    cost_limits: JSON | None = given("Limits of spend, all of them.")
    spawn_limits: JSON | None = given("Limits on agents that an agent starts, all of them.")
    loop_thresholds: JSON | None = given("When going in circles counts as a loop, all of it.")
    caps: JSON | None = given("Limits on pace, all of them.")
    priority: int | None = given("Decides between policies of one level.")
    metadata: JSON | None = given("Open notes, all of them.")
    reason: str | None = given(_REASON, longest=2_000)
    expected_version: int | None = given("The version that you read; if it is another by now, this is a conflict.")


@input_type
class PolicyEnvelopeActivateInput:
    """Which policy is to count."""

    envelope_id: str = given("The policy.", id_of="PolicyEnvelope")
    reason: str | None = given(_REASON, longest=2_000)


@input_type
class PolicyEnvelopeDeactivateInput:
    """Which policy is to count no more."""

    envelope_id: str = given("The policy; it stays as history.", id_of="PolicyEnvelope")
    reason: str | None = given(_REASON, longest=2_000)


@input_type
class PolicyEnvelopeAttachInput:
    """Which instance has which policy for itself."""

    instance_id: str = given("The agent.", id_of="AgentInstance")
    envelope_id: str | None = given(
        "The policy that takes the place of its version's; null takes the present one away.", id_of="PolicyEnvelope"
    )
    reason: str | None = given(_REASON, longest=2_000)


FIELDS = (
    mutation("policy_envelope_create", commands.create_envelope, PolicyEnvelopeCreateInput, PolicyEnvelope),
    mutation("policy_envelope_update", commands.update_envelope, PolicyEnvelopeUpdateInput, PolicyEnvelope),
    mutation("policy_envelope_activate", commands.activate_envelope, PolicyEnvelopeActivateInput, PolicyEnvelope),
    mutation("policy_envelope_deactivate", commands.deactivate_envelope, PolicyEnvelopeDeactivateInput, PolicyEnvelope),
    mutation("policy_envelope_attach", commands.attach_envelope, PolicyEnvelopeAttachInput, PolicyEnvelope),
)
