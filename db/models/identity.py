"""Tenancy and identity: who owns the rows, where they live, and which people and vendors there are."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped

from db.base import Changing, Model, Noted, Row, TenantScoped, column, index, json_object, name_text, reference
from db.enums import OperatorStatus, ProviderStatus, ProviderType, TenantPlan


class Tenant(Row, Changing, Noted, Model):
    """Root isolation boundary: every other row belongs to exactly one tenant."""

    __tablename__ = "tenants"

    name: Mapped[name_text] = column("Display name of the organisation.")
    slug: Mapped[name_text] = column(
        "Short name for tokens and commands: lower-case letters, digits and hyphens.", unique=True
    )
    plan: Mapped[TenantPlan | None] = column("Commercial plan; absent where nothing was agreed.")
    settings: Mapped[json_object | None] = column(
        "Open settings: `missionStatement`, `safetyFloor`, `heartbeat.staleMs`, `approvalSlaMinutes` (default 30)"
        " and others."
    )
    billing_email: Mapped[str | None] = column("Where invoices go.")
    max_environments: Mapped[int | None] = column("Most environments that may exist (TEN-2); absent means no limit.")
    max_operators: Mapped[int | None] = column("Most operators that may exist (TEN-2); absent means no limit.")
    gdpr_data_region: Mapped[str | None] = column("Region that personal data is kept in; informational (GDPR-4).")
    op_event_retention_days: Mapped[int | None] = column(
        "Days that op events are kept, 1 to 3650 (RET); absent means 30.", range=(1, 3650)
    )
    active: Mapped[bool] = column("Whether the tenant's people and agents may sign in.", default=True)
    audit_retention_days: Mapped[int] = column("Days that audit logs are kept (RET).", default=90)
    timezone: Mapped[str] = column("IANA time zone of the daily budget reset and of standups.", default="UTC")


class Project(TenantScoped, Changing, Noted, Model):
    """Workspace inside a tenant that scopes tasks, instances, policies and repository settings."""

    __tablename__ = "projects"
    __table_args__ = (
        index("slug", unique=True),  # slugs address a project within its tenant (TEN-3)
        index("name"),  # the project switcher sorts by name
        index("github_repo"),  # webhooks of a repository find its project
    )

    name: Mapped[name_text] = column("Display name.")
    slug: Mapped[name_text] = column("Short name, unique in the tenant.")
    description: Mapped[str | None] = column("What the project is about.")
    github_repo: Mapped[name_text | None] = column("Repository as `owner/name`.")
    github_branch: Mapped[str | None] = column("Branch that agents work on.")
    github_webhook_secret: Mapped[str | None] = column(
        "Secret of the repository's webhook, encrypted at rest; never readable (PII-4)."
    )
    swarm_config: Mapped[json_object | None] = column(
        "How many agents the project may run, and on which default model."
    )
    policy_defaults: Mapped[json_object | None] = column(
        "Budget defaults and risk thresholds that new envelopes start from."
    )
    default_environment_id: Mapped[UUID | None] = reference(
        "environments", "Where the project's instances run when nothing else is said; imported agents land there."
    )
    deleted_at: Mapped[datetime | None] = column(
        "When the project was deleted; it takes no new work, and its history stays (TEN-3)."
    )


class Environment(TenantScoped, Changing, Noted, Model):
    """Named release target of a tenant: the place a deployment lands."""

    __tablename__ = "environments"
    __table_args__ = (
        index("slug", unique=True),  # slugs address an environment within its tenant (TEN-3)
        index("is_production"),  # guards and dashboards ask for production
    )

    name: Mapped[name_text] = column("Display name.")
    slug: Mapped[name_text] = column("Short name, unique in the tenant, such as `dev`, `staging` or `prod`.")
    is_production: Mapped[bool] = column("Whether releases here need dual control (DEP-1).")
    config: Mapped[json_object | None] = column(
        "Open configuration; `requireActiveDeployment` binds instances to a deployment (INS-5)."
    )


class Operator(TenantScoped, Changing, Noted, Model):
    """Human login identity of a tenant: the subject of role assignments."""

    __tablename__ = "operators"
    __table_args__ = (
        index("auth_id", unique=True),  # sign-in maps the token's subject to one operator a tenant (RBAC-9)
        index("email"),  # invitations and imports find people by address
        index("status"),
        index("name"),
    )

    auth_id: Mapped[name_text] = column(
        "Subject at the identity provider, or `invite:<uuid>` until the first sign-in (decision 27)."
    )
    name: Mapped[name_text] = column("Name as shown to others.")
    email: Mapped[name_text] = column("E-mail address (PII-1).")
    avatar_url: Mapped[str | None] = column("Address of a picture.")
    status: Mapped[OperatorStatus] = column("Whether the person may sign in.", default=OperatorStatus.ACTIVE)
    last_login_at: Mapped[datetime | None] = column("Last successful sign-in.")
    gdpr_consent_at: Mapped[datetime | None] = column(
        "When the person agreed to the processing of personal data, by signing in; absent before, and once withdrawn"
        " (GDPR-4)."
    )
    gdpr_data_export_at: Mapped[datetime | None] = column("Last export of the person's data (GDPR-1).")
    gdpr_deletion_request_at: Mapped[datetime | None] = column(
        "When erasure was asked for; it follows within 30 days (GDPR-2)."
    )


class OrgMember(TenantScoped, Changing, Noted, Model):
    """Contact directory and reporting tree of people; carries no permissions."""

    __tablename__ = "org_members"
    __table_args__ = (index("email"), index("active"), index("name"))

    project_id: Mapped[UUID | None] = reference(
        "projects", "Project the person belongs to; absent means the whole tenant."
    )
    name: Mapped[name_text] = column("Name as shown to others.")
    email: Mapped[name_text | None] = column("E-mail address (PII-1).")
    role: Mapped[str] = column("Function in words, such as `Head of Research`.")
    title: Mapped[str | None] = column("Job title.")
    avatar: Mapped[str | None] = column("Address of a picture, or an emoji.")
    parent_member_id: Mapped[UUID | None] = reference("org_members", "Whom the person reports to.")
    level: Mapped[int] = column("Distance from the top of the tree, which is 0.")
    responsibilities: Mapped[list[str] | None] = column("What the person answers for.")
    active: Mapped[bool] = column("Whether the person still belongs to the organisation.", default=True)


class Provider(TenantScoped, Changing, Noted, Model):
    """Model or runtime vendor that a tenant may bind instances to."""

    __tablename__ = "providers"
    __table_args__ = (index("type"), index("status"))

    name: Mapped[name_text] = column("Display name.")
    type: Mapped[ProviderType] = column("Which vendor.")
    config: Mapped[json_object | None] = column(
        "Connection settings; API keys in it are encrypted at rest and never readable (PII-4)."
    )
    status: Mapped[ProviderStatus] = column("Health as the last probe saw it.", default=ProviderStatus.ACTIVE)
    health_endpoint: Mapped[str | None] = column("Address that the health probe asks, 5 s at most.")
