"""Types of tenancy and identity."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.auth.permissions import UNMASK_EMAIL
from app.graph.entity import Connection, Entity, belongs_to, entity, has_many, history, json_type, key, masked
from app.graph.scalars import JSON
from app.identity.rules import mask_email
from db import models
from db.enums import OperatorStatus, ProviderStatus, ProviderType, TenantPlan

if TYPE_CHECKING:
    from app.audit.types import ChangeRecord


@json_type
class SwarmConfig:
    """How many agents a project may run, and on what."""

    max_agents: int = key("Most instances that may be active at once.")
    default_model: str | None = key("Model of new versions that name none.")
    auto_scale: bool = key("Whether instances are added while tasks wait.")


@json_type
class PolicyDefaults:
    """What new policy envelopes of a project start from."""

    budget_defaults: JSON | None = key("Cost limits by role.")
    risk_thresholds: JSON | None = key("Risk levels by action.")


@entity(models.Tenant, prefix="ten")
class Tenant(Entity):
    """Root isolation boundary: every other row belongs to exactly one tenant."""

    name: str
    slug: str
    plan: TenantPlan | None
    settings: JSON | None
    billing_email: str | None
    max_environments: int | None
    max_operators: int | None
    gdpr_data_region: str | None
    op_event_retention_days: int | None
    audit_retention_days: int
    timezone: str
    active: bool
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    change_records: Connection[ChangeRecord] = history()


@entity(models.Project, prefix="prj", project="id", hidden=("github_webhook_secret",))
class Project(Entity):
    """Workspace inside a tenant that scopes tasks, instances, policies and repository settings."""

    name: str
    slug: str
    description: str | None
    github_repo: str | None
    github_branch: str | None
    swarm_config: SwarmConfig | None
    policy_defaults: PolicyDefaults | None
    default_environment: Environment | None = belongs_to("default_environment_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    org_members: Connection[OrgMember] = has_many(models.OrgMember.project_id, "People who belong to the project.")
    change_records: Connection[ChangeRecord] = history()


@entity(models.Environment, prefix="env", environment="id")
class Environment(Entity):
    """Named release target of a tenant: the place a deployment lands."""

    name: str
    slug: str
    is_production: bool
    config: JSON | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    change_records: Connection[ChangeRecord] = history()


@entity(models.Operator, prefix="opr", hidden=("auth_id",))
class Operator(Entity):
    """Human login identity of a tenant: the subject of role assignments."""

    name: str
    email: str = masked(mask_email, UNMASK_EMAIL)
    avatar_url: str | None
    status: OperatorStatus
    last_login_at: datetime | None
    gdpr_consent_at: datetime | None
    gdpr_data_export_at: datetime | None
    gdpr_deletion_request_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    change_records: Connection[ChangeRecord] = history()


@entity(models.OrgMember, prefix="mem")
class OrgMember(Entity):
    """Contact directory and reporting tree of people; carries no permissions."""

    project: Project | None = belongs_to("project_id")
    name: str
    email: str | None = masked(mask_email, UNMASK_EMAIL)
    role: str
    title: str | None
    avatar: str | None
    parent_member: OrgMember | None = belongs_to("parent_member_id")
    reports: Connection[OrgMember] = has_many(models.OrgMember.parent_member_id, "People who report to this one.")
    level: int
    responsibilities: list[str] | None
    active: bool
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


@entity(models.Provider, prefix="prv", hidden=("config",))
class Provider(Entity):
    """Model or runtime vendor that a tenant may bind instances to."""

    name: str
    type: ProviderType
    status: ProviderStatus
    health_endpoint: str | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    change_records: Connection[ChangeRecord] = history()
