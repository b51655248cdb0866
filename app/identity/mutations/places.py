"""Mutations of the tenant, its projects and environments."""

from __future__ import annotations

from app.graph.inputs import given, input_type
from app.graph.mutation import mutation
from app.graph.scalars import JSON
from app.identity import commands
from app.identity.types import Environment, Project, Tenant


@input_type
class TenantUpdateInput:
    """What changes on the caller's tenant; what is left out stays."""

    name: str | None = given("Display name of the organisation.", longest=100)
    timezone: str | None = given(
        "IANA time zone of the daily budget reset and of standups, such as Europe/Berlin.", longest=100
    )
    op_event_retention_days: int | None = given(
        "Days that op events are kept, 1 to 3650; null for 30 (RET). What is older goes with the next purge."
    )
    audit_retention_days: int | None = given("Days that audit logs are kept, 1 to 3650 (RET).")
    billing_email: str | None = given("Where invoices go.", longest=254)
    gdpr_data_region: str | None = given("Region that personal data is kept in (GDPR-4).", longest=100)
    settings: JSON | None = given(
        "Open settings, all of them: `missionStatement`, `safetyFloor.maxTier` (never looser than it is),"
        " `heartbeat.staleMs`, `approvalSlaMinutes`, `retention` and others."
    )
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class ProjectCreateInput:
    """A new project."""

    name: str = given("Display name.", longest=100)
    slug: str = given("Short name, unique in the tenant: lower-case letters, digits and hyphens.", longest=100)
    description: str | None = given("What the project is about.", longest=500)
    default_environment_id: str | None = given("Where its instances run if nothing else is said.", id_of="Environment")
    metadata: JSON | None = given("Open notes.")


@input_type
class ProjectUpdateInput:
    """What changes on a project; what is left out stays."""

    project_id: str = given("The project.", id_of="Project")
    name: str | None = given("Display name.", longest=100)
    description: str | None = given("What the project is about.", longest=500)
    github_repo: str | None = given("Repository as `owner/name`.", longest=200)
    github_branch: str | None = given("Branch that agents work on.", longest=200)
    github_webhook_secret: str | None = given(
        "Secret of the repository's webhook; stored encrypted, never shown.", longest=500
    )
    swarm_config: JSON | None = given("How many agents it may run: `maxAgents`, `autoScale`, `defaultModel`.")
    policy_defaults: JSON | None = given("What new envelopes start from: `budgetDefaults`, `riskThresholds`.")
    default_environment_id: str | None = given("Where its instances run if nothing else is said.", id_of="Environment")
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class ProjectDeleteInput:
    """Which project goes."""

    project_id: str = given("The project.", id_of="Project")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class EnvironmentCreateInput:
    """A new release target."""

    name: str = given("Display name.", longest=100)
    slug: str = given("Short name, unique in the tenant, such as `staging`.", longest=100)
    is_production: bool = given("Whether releases here need dual control (DEP-1).")
    config: JSON | None = given("Open configuration; `requireActiveDeployment` binds instances to a deployment.")


@input_type
class EnvironmentUpdateInput:
    """What changes on a release target; what is left out stays."""

    environment_id: str = given("The environment.", id_of="Environment")
    name: str | None = given("Display name.", longest=100)
    is_production: bool | None = given("Whether releases here need dual control; true cannot be taken back (DEP-1).")
    config: JSON | None = given("Open configuration, all of it.")
    metadata: JSON | None = given("Open notes, all of them.")


FIELDS = (
    mutation("tenant_update", commands.update_tenant, TenantUpdateInput, Tenant),
    mutation("project_create", commands.create_project, ProjectCreateInput, Project),
    mutation("project_update", commands.update_project, ProjectUpdateInput, Project),
    mutation("project_delete", commands.delete_project, ProjectDeleteInput, Project),
    mutation("environment_create", commands.create_environment, EnvironmentCreateInput, Environment),
    mutation("environment_update", commands.update_environment, EnvironmentUpdateInput, Environment),
)
