"""Mutations of deployments."""

from __future__ import annotations

from app.governance.commands import deployments as commands
from app.governance.types import Deployment
from app.graph.inputs import EXPECTED_STATUS, given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.scalars import JSON
from db.enums import DeploymentStatus


@input_type
class DeploymentCreateInput:
    """Which version is to be released, and where."""

    target_version_id: str = given("The version, APPROVED.", id_of="AgentVersion")
    environment_id: str = given("Where it is released.", id_of="Environment")
    rollout_policy: JSON | None = given(
        "How agents start: `strategy` ALL_AT_ONCE, CANARY with `canaryPercent`, or ROLLING with `batchSize` (DEP-5)."
    )
    project_id: str | None = given(
        "Project that its agents work for; without one, nobody is started as it comes into force.", id_of="Project"
    )
    replicas: int = given("How many agents it has in full.", default=1)
    metadata: JSON | None = given("Open notes.")


@input_type
class DeploymentApproveInput:
    """Which release to approve."""

    deployment_id: str = given("The release.", id_of="Deployment")


@input_type
class DeploymentActivateInput:
    """Which release to bring into force."""

    deployment_id: str = given("The release.", id_of="Deployment")
    expected_status: DeploymentStatus | None = given(EXPECTED_STATUS)


@input_type
class DeploymentRollBackInput:
    """Which release to take back."""

    deployment_id: str = given("The release in force.", id_of="Deployment")
    reason: str = given("Why, for the change record.", longest=2_000)
    deprecate_rolled_back: bool = given("Whether the version that is taken back is deprecated too.", default=False)


@input_type
class DeploymentCancelInput:
    """Which planned release to give up."""

    deployment_id: str = given("The release, not in force yet.", id_of="Deployment")
    reason: str | None = given("Why, for the security journal.", longest=2_000)


FIELDS = (
    mutation("deployment_create", commands.create_deployment, DeploymentCreateInput, Deployment),
    mutation("deployment_approve", commands.approve_deployment, DeploymentApproveInput, Deployment),
    mutation(
        "deployment_activate",
        commands.activate_deployment,
        DeploymentActivateInput,
        Deployment,
        shows=(Shown("spawned_instances", int, "How many agents were provisioned for it."),),
    ),
    mutation(
        "deployment_roll_back",
        commands.roll_back_deployment,
        DeploymentRollBackInput,
        Deployment,
        shows=(Shown("drained_instances", int, "How many agents drain, each with a successor of the version before."),),
    ),
    mutation("deployment_cancel", commands.cancel_deployment, DeploymentCancelInput, Deployment),
)
