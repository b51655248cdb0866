"""How far a permission reaches: the whole tenant, or named projects and environments (RBAC-6, RBAC-7).

Everything here is a value: frozen, hashable, equal when it means the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, TypeAlias
from uuid import UUID


class TenantWide(Enum):
    """The reach that covers every row of the tenant. Its one member is `TENANT_WIDE`."""

    TENANT_WIDE = "tenant"

    def covers(
        self, project_id: UUID | None = None, environment_id: UUID | None = None, instance_id: UUID | None = None
    ) -> bool:
        """Always true."""
        return True


TENANT_WIDE: Final = TenantWide.TENANT_WIDE
"""Every row of the tenant, rows without a project or an environment included."""


@dataclass(frozen=True)
class Scope:
    """Some rows of the tenant: those that carry one of these projects, environments, pairs of both, or instances.

    An empty scope is false and covers nothing. A pair that its project or its environment covers anyway is left out,
    so two scopes are equal exactly when they cover the same rows.
    """

    projects: frozenset[UUID] = frozenset()
    """Rows of these projects, in any environment."""
    environments: frozenset[UUID] = frozenset()
    """Rows in these environments, of any project."""
    pairs: frozenset[tuple[UUID, UUID]] = frozenset()
    """(project, environment): rows that carry both."""
    instances: frozenset[UUID] = frozenset()
    """Rows that are an agent's own (`OWN_COLUMN`); for agents only."""

    def __post_init__(self) -> None:
        needed = frozenset(
            pair for pair in self.pairs if pair[0] not in self.projects and pair[1] not in self.environments
        )
        object.__setattr__(self, "pairs", needed)

    def __bool__(self) -> bool:
        return bool(self.projects or self.environments or self.pairs or self.instances)

    def __or__(self, other: "Scope") -> "Scope":
        return Scope(
            self.projects | other.projects,
            self.environments | other.environments,
            self.pairs | other.pairs,
            self.instances | other.instances,
        )

    def covers(
        self, project_id: UUID | None = None, environment_id: UUID | None = None, instance_id: UUID | None = None
    ) -> bool:
        """Whether a row that carries these keys is inside. A row that carries none of them is not (RBAC-7)."""
        return (
            project_id in self.projects
            or environment_id in self.environments
            or (project_id, environment_id) in self.pairs
            or instance_id in self.instances
        )


Reach: TypeAlias = TenantWide | Scope
"""How far a permission goes."""

NOWHERE: Final = Scope()
"""The reach of a permission that is not held."""


@dataclass(frozen=True)
class Assignment:
    """What one role assignment grants (RBAC-6): its role's permissions, there where the assignment says."""

    permissions: frozenset[str]
    project_id: UUID | None = None
    environment_id: UUID | None = None
    expires_at: datetime | None = None
    """The first moment at which it no longer counts; None for never."""

    @property
    def reach(self) -> Reach:
        """Tenant-wide, or the one project, environment or pair of both."""
        match self.project_id, self.environment_id:
            case None, None:
                return TENANT_WIDE
            case UUID() as project, None:
                return Scope(projects=frozenset({project}))
            case None, UUID() as environment:
                return Scope(environments=frozenset({environment}))
            case UUID() as project, UUID() as environment:
                return Scope(pairs=frozenset({(project, environment)}))
        raise AssertionError("unreachable")

    def counts(self, now: datetime) -> bool:
        """Whether it has not expired at `now`."""
        return self.expires_at is None or now < self.expires_at


class Grants(Mapping[str, Reach]):
    """Everything a caller may do: permission -> how far. One hashable value; a permission that is not held is no key.

    `union` makes it of role assignments; the constructor takes a finished mapping, and leaves empty scopes out.
    """

    __slots__ = ("_hash", "_reaches")

    def __init__(self, reaches: Mapping[str, Reach]) -> None:
        self._reaches = {permission: reach for permission, reach in reaches.items() if reach is TENANT_WIDE or reach}
        self._hash = hash(frozenset(self._reaches.items()))

    @classmethod
    def union(cls, assignments: Iterable[Assignment], now: datetime) -> "Grants":
        """The union of the assignments that have not expired at `now` (RBAC-7)."""
        reaches: dict[str, Reach] = {}
        for assignment in assignments:
            if not assignment.counts(now):
                continue
            reach = assignment.reach
            for permission in assignment.permissions:
                reaches[permission] = _widest(reaches.get(permission, NOWHERE), reach)
        return cls(reaches)

    @classmethod
    def everywhere(cls, permissions: Iterable[str]) -> "Grants":
        """These permissions, tenant-wide."""
        return cls(dict.fromkeys(permissions, TENANT_WIDE))

    def __getitem__(self, permission: str) -> Reach:
        return self._reaches[permission]

    def __contains__(self, permission: object) -> bool:
        return permission in self._reaches

    def __iter__(self) -> Iterator[str]:
        return iter(self._reaches)

    def __len__(self) -> int:
        return len(self._reaches)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grants) and self._hash == other._hash and self._reaches == other._reaches

    def __repr__(self) -> str:
        return f"Grants({self._reaches!r})"


def _widest(one: Reach, other: Reach) -> Reach:
    if isinstance(one, TenantWide) or isinstance(other, TenantWide):
        return TENANT_WIDE
    return one | other


NO_GRANTS: Final = Grants({})
"""Nothing at all: what an agent in QUARANTINED has (decision 26)."""
