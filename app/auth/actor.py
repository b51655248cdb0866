"""The caller of an operation, as one frozen value: who, of which tenant, and what they may do.

An actor is made by `app.auth.authenticate` from a token and one look at the database. Nothing else makes one, save
tests and the jobs that act for the system.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

from app.auth.permissions import (
    INSTANCE_ACTIONS,
    INSTANCE_OWN,
    INSTANCE_PERMISSIONS,
    INSTANCE_TYPES,
    PERMISSIONS,
    PLATFORM_PERMISSIONS,
    READ_PERMISSION,
)
from app.auth.scope import NO_GRANTS, NOWHERE, TENANT_WIDE, Grants, Reach, Scope
from db.enums import ActorType, InstanceState

if TYPE_CHECKING:
    from app.auth.claims import Token

NO_TENANT: Final = UUID(int=0)
"""The tenant of the platform's own actor: no tenant has this id, so under row-level security it sees no row."""

ActorKey: TypeAlias = tuple["ActorKind", frozenset[str], frozenset[str]]
"""(kind, permissions held tenant-wide, permissions held for a scope): see `Actor.key`."""


class ActorKind(StrEnum):
    """What kind of caller this is."""

    OPERATOR = "operator"
    """A person, with roles."""
    INSTANCE = "instance"
    """An agent, with the fixed permissions of agents and its own project (RBAC-11, decision 31)."""
    PLATFORM = "platform"
    """Whoever runs the platform: bootstrap, retention and jobs, across tenants, without reading them (decision 24)."""

    @property
    def in_journals(self) -> ActorType:
        """What the journals call it."""
        return _IN_JOURNALS[self]


_IN_JOURNALS: Final = {
    ActorKind.OPERATOR: ActorType.HUMAN,
    ActorKind.INSTANCE: ActorType.AGENT,
    ActorKind.PLATFORM: ActorType.SYSTEM,
}


@dataclass(frozen=True)
class Actor:
    """One authenticated caller."""

    kind: ActorKind
    tenant_id: UUID
    """The only tenant this actor can see; `NO_TENANT` for the platform."""
    tenant_slug: str
    id: UUID
    """The operator's or the instance's id; `NO_TENANT` for the platform."""
    name: str
    permissions: Grants
    token_expires_at: datetime
    """When the token stops being good (UTC). Sockets close then."""
    project_id: UUID | None = None
    """The instance's project; None for everybody else."""
    instance_state: str | None = None
    """The instance's state as this request began; None for everybody else."""
    grants_change_at: datetime | None = None
    """When the first of the grants comes to its end (UTC); None where none does."""
    token: "Token | None" = field(default=None, compare=False, repr=False)
    """What the caller came with, to look at them again while a stream is open; None for those who have none."""

    def can(self, permission: str) -> bool:
        """Whether the permission is held anywhere at all. Where: `scope`."""
        return permission in self.permissions

    def scope(self, permission: str) -> Reach:
        """How far the permission goes: `TENANT_WIDE`, or a `Scope`, which is empty (false) if it is not held."""
        return self.permissions.get(permission, NOWHERE)

    def may_read(self, type_name: str) -> bool:
        """Whether rows of this GraphQL type may be read at all (decisions 28, 30, 31).

        Raises KeyError for what is not one of the 55 types.
        """
        permission = READ_PERMISSION[type_name]
        return permission in self.permissions and (self.kind is not ActorKind.INSTANCE or type_name in INSTANCE_TYPES)

    def read_scope(self, type_name: str) -> Reach:
        """Which rows of this GraphQL type a list may show (decision 29). Empty (false) where `may_read` is false.

        Raises KeyError for what is not one of the 55 types.
        """
        found = self._read_scopes.get(type_name)
        if found is None:
            found = self.scope(READ_PERMISSION[type_name]) if self.may_read(type_name) else NOWHERE
            self._read_scopes[type_name] = found
        return found

    @cached_property
    def _read_scopes(self) -> dict[str, Reach]:
        return {}

    @cached_property
    def principal(self) -> bytes:
        """Whose limits count: tenant and id, as bytes, whose hash is cheap and kept."""
        return self.tenant_id.bytes + self.id.bytes

    @cached_property
    def key(self) -> ActorKey:
        """What a compiled query may depend on: which permissions are held, and whether each is scoped.

        The ids of a scope are no part of it (decision 29): they are parameters of the statement, so that a thousand
        people with a project each share their plans.
        """
        wide = frozenset(name for name, reach in self.permissions.items() if reach is TENANT_WIDE)
        return _shared((self.kind, wide, frozenset(self.permissions) - wide))


_MOST_KEYS: Final = 1_000
_keys: Final[dict[ActorKey, ActorKey]] = {}


def _shared(key: ActorKey) -> ActorKey:
    """The one object for all equal keys: sets of a hundred names are looked up with each request, and to find that two
    are the same one is quicker than to compare them."""
    if len(_keys) >= _MOST_KEYS:
        _keys.clear()
    return _keys.setdefault(key, key)


def instance_grants(instance_id: UUID, project_id: UUID) -> Grants:
    """The fixed grants of an agent (decision 31): its project's work, of what binds it only its own, and what it may do
    for itself."""
    own, work = Scope(instances=frozenset({instance_id})), Scope(projects=frozenset({project_id}))
    reading = {name: own if name in INSTANCE_OWN else work for name in INSTANCE_PERMISSIONS}
    return Grants(reading | dict.fromkeys(INSTANCE_ACTIONS, own))


def instance_actor(
    *,
    tenant_id: UUID,
    tenant_slug: str,
    instance_id: UUID,
    name: str,
    state: str,
    project_id: UUID,
    token_expires_at: datetime,
    token: "Token | None" = None,
) -> Actor:
    """The actor of an agent. In QUARANTINED it has no permissions: `viewer` and the heartbeat need none
    (decision 26)."""
    return Actor(
        kind=ActorKind.INSTANCE,
        tenant_id=tenant_id,
        tenant_slug=tenant_slug,
        id=instance_id,
        name=name,
        permissions=NO_GRANTS if state == InstanceState.QUARANTINED else instance_grants(instance_id, project_id),
        token_expires_at=token_expires_at,
        project_id=project_id,
        instance_state=state,
        token=token,
    )


def platform_actor(token_expires_at: datetime, token: "Token | None" = None) -> Actor:
    """The actor of the platform token (decision 24): no tenant, and the permissions that no tenant's role has."""
    return Actor(
        kind=ActorKind.PLATFORM,
        tenant_id=NO_TENANT,
        tenant_slug="",
        id=NO_TENANT,
        name="platform",
        permissions=Grants.everywhere(PLATFORM_PERMISSIONS),
        token_expires_at=token_expires_at,
        token=token,
    )


def system_actor(tenant_id: UUID) -> Actor:
    """The gateway itself at work in one tenant, as a job: it may do everything, and no token stands for it."""
    return Actor(
        kind=ActorKind.PLATFORM,
        tenant_id=tenant_id,
        tenant_slug="",
        id=NO_TENANT,
        name="system",
        permissions=Grants.everywhere(PERMISSIONS),
        token_expires_at=datetime.max.replace(tzinfo=UTC),
    )
