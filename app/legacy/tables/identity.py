"""Environments, people, projects and providers (MIG-8, MIG-9)."""

import re
from typing import Any, Final

from app.governance.rules import names_secret
from app.legacy.document import Doc, Rejection, mapping, member, optional_moment, words
from app.legacy.keys import row_id
from app.legacy.mapping import Later, Mapping, at, key, person, renamed
from app.legacy.world import World
from db.enums import OperatorStatus, ProviderType
from db.models import Environment, Operator, OrgMember, Project, Provider, RoleAssignment

_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")
_PRODUCTION: Final = frozenset({"prod", "production"})


def slugged(name: str) -> str:
    """A name as a slug: lower-case letters, digits and hyphens, 80 characters at most."""
    return _NOT_SLUG.sub("-", name.casefold())[:80].strip("-") or "unnamed"


def _slug(doc: Doc, world: World) -> str:
    given = doc.take("slug")
    return words("slug", given) if given is not None else slugged(words("name", doc.peek("type") or doc.peek("name")))


def _is_production(doc: Doc, world: World) -> bool:
    given = doc.take("isProduction")
    if isinstance(given, bool):
        return given
    return bool({str(doc.take("type")), str(doc.peek("slug"))} & _PRODUCTION)


ENVIRONMENTS: Final = Mapping(
    "environments", Environment, {"slug": _slug, "is_production": _is_production}, natural=("slug",)
)


def _subject(doc: Doc, world: World) -> str:
    """The sign-in of the person, else an invitation for the first sign-in with the same e-mail (decision 27)."""
    given = doc.take("authId", "authIdentity")
    if isinstance(given, str) and given.strip():
        return given
    return f"invite:{row_id(world.tenant_id, doc.table, doc.id, doc.created)}"


def _operator_status(doc: Doc, world: World) -> OperatorStatus:
    status, active = doc.take("status"), doc.take("active")
    if status is not None:
        return OperatorStatus(member("status", status, OperatorStatus))
    return OperatorStatus.SUSPENDED if active is False else OperatorStatus.ACTIVE


def _consent(doc: Doc, world: World) -> Any:
    given, when = doc.take("consentGiven"), doc.take("gdprConsentAt", "consentTimestamp")
    return None if given is False else optional_moment("consentTimestamp", when)


OPERATORS: Final = Mapping(
    "operators",
    Operator,
    {
        "auth_id": _subject,
        "status": _operator_status,
        "gdpr_consent_at": _consent,
        "avatar_url": renamed("avatarUrl", "avatar"),
    },
    natural=("email",),
)


def _webhook_secret(doc: Doc, world: World) -> str | None:
    secret = doc.take("githubWebhookSecret")
    return world.sealed("githubWebhookSecret", words("githubWebhookSecret", secret)) if secret else None


PROJECTS: Final = Mapping(
    "projects", Project, {"slug": _slug, "github_webhook_secret": _webhook_secret}, natural=("slug",)
)

ORG_MEMBERS: Final = Mapping(
    "orgMembers",
    OrgMember,
    later=(Later("parent_member_id", "OrgMember", ("parentMemberId",)),),
    more=lambda doc, world: {},
)


def _provider_type(doc: Doc, world: World) -> ProviderType:
    given = doc.take("type")
    return ProviderType.CUSTOM if given == "federated" else ProviderType(member("type", given, ProviderType))


def _provider_config(doc: Doc, world: World) -> dict[str, Any] | None:
    """The configuration with its keys and tokens encrypted; a federated provider says so in it (MIG-9)."""
    given = doc.take("config")
    config = _sealed("config", mapping("config", given), world) if given is not None else {}
    if doc.peek("type") == "federated":
        config["federation"] = doc.take("federation", "federationConfig") or True
    return config or None


def _sealed(field: str, value: Any, world: World) -> Any:
    match value:
        case dict():
            return {
                name: world.sealed(f"{field}.{name}", one)
                if isinstance(one, str) and one and names_secret(name)
                else _sealed(f"{field}.{name}", one, world)
                for name, one in value.items()
            }
        case list():
            return [_sealed(field, one, world) for one in value]
    return value


PROVIDERS: Final = Mapping("providers", Provider, {"type": _provider_type, "config": _provider_config})


def _scope(kind: str, entity: str, field: str) -> Any:
    """The project or environment that a grant is narrowed to: a column, or Mission Control's scope {type, id}."""

    def rule(doc: Doc, world: World) -> Any:
        scope = doc.take("scope")
        if scope is None:
            return key(entity, field)(doc, world)
        named = mapping("scope", scope)
        if named.get("type") not in ("tenant", "project", "environment"):
            raise Rejection("scope", str(scope), "is a scope that is neither a tenant, a project nor an environment")
        return world.keys.need(entity, "scope.id", named.get("id")) if named["type"] == kind else None

    return rule


ROLE_ASSIGNMENTS: Final = Mapping(
    "roleAssignments",
    RoleAssignment,
    {
        "project_id": _scope("project", "Project", "projectId"),
        "environment_id": _scope("environment", "Environment", "environmentId"),
        "operator_id": key("Operator", "operatorId"),
        "assigned_at": at("assignedAt"),
        "assigned_by_operator_id": person("assignedBy"),
    },
)
