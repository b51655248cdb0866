"""The tenant, where its work happens, its people, and what each of them may do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from db.demo.stage import SYSTEM, Stage, actor
from db.enums import ChangeRecordType, OperatorStatus, ProviderStatus, ProviderType, TenantPlan
from db.ids import created_at
from db.models import (
    Environment,
    Operator,
    OrgMember,
    Permission,
    Project,
    Provider,
    Role,
    RoleAssignment,
    Tenant,
)

_ENVIRONMENTS: Final[tuple[tuple[str, str, bool, dict[str, bool]], ...]] = (
    ("dev", "Development", False, {}),
    ("staging", "Staging", False, {"requireActiveDeployment": False}),
    ("prod", "Production", True, {"requireActiveDeployment": True}),
)
_PROVIDERS: Final = (
    ("Anthropic", ProviderType.ANTHROPIC, ProviderStatus.ACTIVE, "https://api.anthropic.com/v1/models"),
    ("OpenAI", ProviderType.OPENAI, ProviderStatus.DEGRADED, "https://api.openai.com/v1/models"),
    ("Own machines", ProviderType.LOCAL, ProviderStatus.ACTIVE, None),
)
_RELEASE_PERMISSIONS: Final = ("read:deployments", "activate:deployments", "rollback:deployments", "read:versions")


DEMO_SLA_MINUTES = 7 * 1440
"""What waits in the demo waits for whoever tries it out; otherwise it would be raised after half an hour
(APR-8)."""
DEMO_STALE_MS = 10 * 365 * 86_400_000
"""Nobody sends heartbeats for the agents of the demo: without a long patience all of them would be quarantined as stale
five minutes after the start (HB-4)."""


def build(stage: Stage) -> None:
    """Everything that has to be there before the first agent."""
    _tenant(stage)
    _operators(stage)
    _roles(stage)
    _organisation(stage)
    _providers(stage)


def founder(stage: Stage) -> Operator:
    """The first operator of the tenant, an admin."""
    return next(iter(stage.people.values()))


def _tenant(stage: Stage) -> None:
    company = stage.settings("tenant")
    founded = stage.ago(company["founded"])
    settings = {
        "missionStatement": company["mission"],
        "approvalSlaMinutes": DEMO_SLA_MINUTES,
        "safetyFloor": {"maxTier": 3},
        "heartbeat": {"staleMs": DEMO_STALE_MS},
    }
    tenant = Tenant(
        id=stage.tenant_id,
        name=company["name"],
        slug=stage.slug,
        plan=TenantPlan(company["plan"]),
        settings=settings,
        billing_email=company["billing"],
        max_environments=company["max_environments"],
        max_operators=company["max_operators"],
        gdpr_data_region=company["region"],
        op_event_retention_days=30,
        metadata_={"demo": "small"},
    )
    stage.rows[Tenant] = [tenant]
    after = {"slug": stage.slug, "plan": company["plan"], "environments": [one[0] for one in _ENVIRONMENTS]}
    stage.change(
        ChangeRecordType.TENANT_BOOTSTRAPPED, tenant, founded, SYSTEM, f"{tenant.name} came into being.", after=after
    )
    for minute, (slug, name, is_production, config) in enumerate(_ENVIRONMENTS, 1):
        at = founded + timedelta(seconds=minute)
        environment = Environment(
            id=stage.id(at), name=name, slug=slug, is_production=is_production, config=config or None
        )
        stage.environments[slug] = stage.add(environment)
        stage.change(
            ChangeRecordType.ENVIRONMENT_CREATED,
            environment,
            at,
            SYSTEM,
            f"Environment {name} was made.",
            after={"slug": slug, "isProduction": is_production},
        )
    for number, one in enumerate(stage.company["projects"]):
        at = founded + timedelta(days=number * 2, seconds=8)
        project = Project(
            id=stage.id(at),
            name=one["name"],
            slug=one["key"],
            description=one["description"],
            github_repo=one.get("repo"),
            github_branch="main" if "repo" in one else None,
            swarm_config={"maxAgents": one["max_agents"], "defaultModel": "claude-sonnet-4", "autoScale": number == 0},
            policy_defaults={"budgetDefaults": {"SPECIALIST": {"dailyUsd": 5, "perRunUsd": 0.75}}},
            default_environment_id=stage.environments["prod"].id,
        )
        stage.projects[one["key"]] = stage.add(project)
        stage.change(
            ChangeRecordType.PROJECT_CREATED,
            project,
            at,
            SYSTEM,
            f"Project {project.name} was made.",
            after={"slug": project.slug},
            project_id=project.id,
        )


def _operators(stage: Stage) -> None:
    founded = stage.company["tenant"]["founded"]
    for number, one in enumerate(stage.company["people"]):
        joined = stage.ago(founded - number * 0.5, minutes=-10)
        invited = one.get("invited", False)
        if invited:
            joined = stage.ago(1.6)
        row_id = stage.id(joined)
        status = OperatorStatus(one.get("status", "ACTIVE"))
        seen = stage.ago(number * 0.37 + 0.05) if status is OperatorStatus.ACTIVE else stage.ago(34)
        operator = Operator(
            id=row_id,
            auth_id=f"invite:{stage.id(joined)}" if invited else f"demo-{stage.slug}-{one['key']}",
            name=one["name"],
            email=f"{one['key']}@{stage.slug}.example",
            status=status,
            last_login_at=None if invited else seen,
            gdpr_consent_at=None if invited else joined + timedelta(hours=2),
            updated_at=joined if invited else seen,
        )
        stage.people[one["key"]] = stage.add(operator)
        stage.change(
            ChangeRecordType.OPERATOR_CREATED,
            operator,
            joined,
            SYSTEM if number == 0 else actor(founder(stage)),
            f"{operator.name} became an operator.",
            after={"status": OperatorStatus.ACTIVE.value},
        )


def _roles(stage: Stage) -> None:
    founded = stage.ago(stage.company["tenant"]["founded"], minutes=-9)
    for number, words in enumerate(stage.vocabulary.permissions):
        stage.add(
            Permission(
                id=stage.id(founded + timedelta(milliseconds=number)),
                resource=words.resource,
                action=words.action,
                description=words.description,
                category=words.category,
            )
        )
    roles: dict[str, Role] = {}
    for built_in in stage.vocabulary.roles:
        roles[built_in.name] = stage.add(
            Role(
                id=stage.id(founded),
                name=built_in.name,
                description=built_in.description,
                permissions=sorted(built_in.permissions),
                is_system=True,
            )
        )
    later = founded + timedelta(days=20)
    roles["Release manager"] = stage.add(
        Role(
            id=stage.id(later),
            name="Release manager",
            description="Brings releases into force and takes them back.",
            permissions=list(_RELEASE_PERMISSIONS),
        )
    )
    for person in stage.company["people"]:
        for grant in person["roles"]:
            _assign(stage, stage.people[person["key"]], roles[grant["role"]], grant)


def _assign(stage: Stage, operator: Operator, role: Role, grant: dict[str, Any]) -> None:
    first = founder(stage)
    if role.is_system:
        granted = _joined(stage, operator) + timedelta(minutes=3)
    else:
        granted = stage.ago(stage.company["tenant"]["founded"] - 25)
    stage.add(
        RoleAssignment(
            id=stage.id(granted),
            role_id=role.id,
            operator_id=operator.id,
            project_id=stage.projects[grant["project"]].id if "project" in grant else None,
            environment_id=stage.environments[grant["environment"]].id if "environment" in grant else None,
            assigned_at=granted,
            assigned_by_operator_id=None if operator is first else first.id,
            expires_at=stage.ago(grant["expired"]) if "expired" in grant else None,
        )
    )


def _joined(stage: Stage, operator: Operator) -> datetime:
    return created_at(operator.id)


def _organisation(stage: Stage) -> None:
    """The directory of people: the operators, and one who is none."""
    members: dict[str, OrgMember] = {}
    for one in stage.company["people"]:
        above = members.get(one.get("reports", ""))
        joined = _joined(stage, stage.people[one["key"]]) + timedelta(minutes=30)
        members[one["key"]] = stage.add(
            OrgMember(
                id=stage.id(joined),
                project_id=stage.projects[one["project"]].id if "project" in one else None,
                name=one["name"],
                email=f"{one['key']}@{stage.slug}.example",
                role=one["title"],
                title=one["title"],
                parent_member_id=above.id if above else None,
                level=above.level + 1 if above else 0,
                responsibilities=one["for"],
                active=one.get("status") != "SUSPENDED",
            )
        )
    top = next(iter(members.values()))
    at = stage.ago(80)
    stage.add(
        OrgMember(
            id=stage.id(at),
            name="Nadia Brandt",
            role="External auditor",
            parent_member_id=top.id,
            level=1,
            responsibilities=["the yearly audit"],
            active=True,
        )
    )


def _providers(stage: Stage) -> None:
    admin = founder(stage)
    for number, (name, kind, status, endpoint) in enumerate(_PROVIDERS):
        at = stage.ago(stage.company["tenant"]["founded"] - 1, minutes=number)
        provider = stage.add(
            Provider(
                id=stage.id(at),
                name=name,
                type=kind,
                status=status,
                health_endpoint=endpoint,
                config={"timeoutMs": 30_000},
                updated_at=stage.ago(minutes=4),
            )
        )
        stage.change(
            ChangeRecordType.PROVIDER_CREATED,
            provider,
            at,
            actor(admin),
            f"Provider {name} was added.",
            after={"type": kind.value},
        )
