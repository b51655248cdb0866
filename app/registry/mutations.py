"""Mutations of the agent registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.graph.context import Info, context_of
from app.graph.fields import described_enum
from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.registry import Named
from app.graph.scalars import JSON
from app.registry import commands
from app.registry.commands import spawning
from app.registry.rules import IntegrityStatus
from app.registry.types import AgentIdentity, AgentInstance, AgentTemplate, AgentVersion
from db.enums import InstanceState, LifecycleState


@input_type
class AgentTemplateCreateInput:
    """A new blueprint."""

    name: str = given("Display name.", longest=100)
    description: str | None = given("What its agents are.", longest=500)
    intended_use: str | None = given("What its agents are for, and what not.", longest=2_000)
    owner_ids: list[str] | None = given(
        "Operators who answer for it; whoever makes it if nobody is named.", id_of="Operator", most=20
    )
    tags: list[str] | None = given("Labels to find it by.", longest=50, most=50)
    emoji: str | None = given("Picture in one character.", longest=16)
    default_role: str | None = given("Role of its agents if nothing else is said.", longest=100)
    metadata: JSON | None = given("Open notes.")


@input_type
class AgentTemplateUpdateInput:
    """What changes on a blueprint; what is left out stays."""

    template_id: str = given("The template.", id_of="AgentTemplate")
    name: str | None = given("Display name.", longest=100)
    description: str | None = given("What its agents are.", longest=500)
    intended_use: str | None = given("What its agents are for, and what not.", longest=2_000)
    owner_ids: list[str] | None = given("Operators who answer for it, all of them.", id_of="Operator", most=20)
    tags: list[str] | None = given("Labels, all of them.", longest=50, most=50)
    emoji: str | None = given("Picture in one character.", longest=16)
    default_role: str | None = given("Role of its agents if nothing else is said.", longest=100)
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class AgentVersionCreateInput:
    """A new build."""

    template_id: str = given("The template that it builds.", id_of="AgentTemplate")
    genome: JSON = given("Model, prompt bundle, tools and provenance, complete (GEN-1). It never changes afterwards.")
    version_label: str | None = given("Semantic version such as `v1.4.0`, unique in the template.", longest=100)
    parent_version_id: str | None = given("The version of this template that it came from.", id_of="AgentVersion")
    genome_hash_expected: str | None = given("SHA-256 that the genome must have; refused if it has not.", longest=64)
    build_provenance: JSON | None = given("What the build pipeline tells beyond the genome's own provenance.")
    metadata: JSON | None = given("Open notes.")


@input_type
class AgentVersionTransitionInput:
    """Which version goes where."""

    version_id: str = given("The version.", id_of="AgentVersion")
    to: LifecycleState = given("The state to reach.")
    reason: str | None = given("Why, for the change record.", longest=2_000)
    expected_state: LifecycleState | None = given("The state that you believe it has; another one is a conflict.")


@input_type
class AgentVersionVerifyInput:
    """Which version to hash again."""

    version_id: str = given("The version.", id_of="AgentVersion")


@input_type
class AgentInstanceCreateInput:
    """A new agent."""

    version_id: str = given("The version that it runs, for good.", id_of="AgentVersion")
    project_id: str = given("The project whose tasks it works on.", id_of="Project")
    environment_id: str = given("Where it runs.", id_of="Environment")
    name: str | None = given("Name for mentions and the directory.", longest=100)
    provider_id: str | None = given("Vendor of its model.", id_of="Provider")
    deployment_id: str | None = given("The release that it belongs to.", id_of="Deployment")
    policy_envelope_id: str | None = given("A policy of its own, in the version's place.", id_of="PolicyEnvelope")
    cost_caps: JSON | None = given(
        "Limits in US dollars, narrower than the policy's: `dailyUsd`, `perRunUsd`, `monthlyUsd`."
    )
    runtime_meta: JSON | None = given("What the runtime tells of itself.")
    metadata: JSON | None = given("Open notes.")


@input_type
class AgentInstanceSpawnInput:
    """An agent that another agent starts."""

    parent_instance_id: str = given(
        "The agent that starts it; an agent with a token names itself.", id_of="AgentInstance"
    )
    version_id: str = given("The version that it runs, for good.", id_of="AgentVersion")
    task_id: str | None = given("The task of the project that it is started for, and with which it ends.", id_of="Task")
    name: str | None = given("Name for mentions and the directory.", longest=100)
    justification: str | None = given("Why, for the person who decides.", longest=10_000)


@input_type
class AgentInstanceTransitionInput:
    """Which agent goes where."""

    instance_id: str = given("The agent.", id_of="AgentInstance")
    to: InstanceState = given("The state to reach.")
    reason: str | None = given("Why, for the change record.", longest=2_000)
    expected_state: InstanceState | None = given("The state that you believe it has; another one is a conflict.")


@input_type
class AgentInstanceTokenIssueInput:
    """Which agent gets a token."""

    instance_id: str = given("The agent.", id_of="AgentInstance")


@input_type
class AgentInstanceTokenRevokeInput:
    """Whose tokens end."""

    instance_id: str = given("The agent.", id_of="AgentInstance")
    reason: str | None = given("Why, for the security journal.", longest=2_000)


@input_type
class AgentIdentitySetInput:
    """The whole identity of a template; what is left out is cleared."""

    template_id: str = given("The template.", id_of="AgentTemplate")
    name: str = given("Name that its agents go by.", longest=100)
    creature: str | None = given("What kind of being they are.", longest=200)
    vibe: str | None = given("Tone they speak in.", longest=500)
    emoji: str | None = given("Picture in one character.", longest=16)
    avatar_path: str | None = given("Picture: an http(s) address, a data URI, or a relative path.", longest=100_000)
    soul_content: str | None = given("SOUL document, Markdown.", longest=50_000)
    identity_content: str | None = given("IDENTITY document, Markdown.", longest=50_000)
    tools_content: str | None = given("TOOLS document, Markdown.", longest=50_000)
    metadata: JSON | None = given("Open notes.")


@input_type
class AgentIdentityScanInput:
    """Judge every identity again; takes nothing else."""


def _token(extras: Mapping[str, Any], info: Info) -> str | None:
    return context_of(info).instance_token(extras["instance_id"], extras["epoch"])


_IS_EXISTING = Shown(
    "is_existing", bool, "Whether a version with this very genome was there already and is given back (GEN-7)."
)
_INTEGRITY = Shown("integrity_status", described_enum(IntegrityStatus), "Whether the genome fits its hash.")
_TOKEN = Shown(
    "token",
    str,
    "The agent's bearer token. It is shown now and never again; ask for another if it is lost.",
    make=_token,
)
_VERDICT = Shown("policy_decision", Named("PolicyDecision"), "What policy says; null if the question was refused.")
_COUNTS = tuple(
    Shown(name, int, description)
    for name, description in (
        ("scanned", "Templates that were looked at."),
        ("valid", "Identities in order."),
        ("partial", "Identities with errors, but a name or a soul."),
        ("invalid", "Identities with neither."),
        ("missing", "Templates without an identity."),
    )
)

FIELDS = (
    mutation("agent_template_create", commands.create_template, AgentTemplateCreateInput, AgentTemplate),
    mutation("agent_template_update", commands.update_template, AgentTemplateUpdateInput, AgentTemplate),
    mutation(
        "agent_version_create", commands.create_version, AgentVersionCreateInput, AgentVersion, shows=(_IS_EXISTING,)
    ),
    mutation("agent_version_transition", commands.transition_version, AgentVersionTransitionInput, AgentVersion),
    mutation(
        "agent_version_verify", commands.verify_version, AgentVersionVerifyInput, AgentVersion, shows=(_INTEGRITY,)
    ),
    mutation("agent_instance_create", commands.create_instance, AgentInstanceCreateInput, AgentInstance),
    mutation(
        "agent_instance_spawn", spawning.spawn_instance, AgentInstanceSpawnInput, AgentInstance, shows=(_VERDICT,)
    ),
    mutation("agent_instance_transition", commands.transition_instance, AgentInstanceTransitionInput, AgentInstance),
    mutation(
        "agent_instance_token_issue",
        commands.issue_instance_token,
        AgentInstanceTokenIssueInput,
        AgentInstance,
        shows=(_TOKEN,),
    ),
    mutation(
        "agent_instance_token_revoke",
        commands.revoke_instance_tokens,
        AgentInstanceTokenRevokeInput,
        AgentInstance,
    ),
    mutation("agent_identity_set", commands.set_identity, AgentIdentitySetInput, AgentIdentity),
    mutation("agent_identity_scan", commands.scan_identities, AgentIdentityScanInput, None, shows=_COUNTS),
)
