"""The former systems' permissions and roles in this system's vocabulary (RBAC-10, decision 39).

What no rule maps becomes the nearest permission that cannot give more: reading the same resource, or nothing. The
original stays in the metadata of the role, and the report names what was changed.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from app.auth.permissions import ADMIN, APPROVER, OPERATOR, PERMISSIONS, VIEWER

_EXPLICIT: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("agents", "manage"): ("write:instances", "start:instances", "stop:instances"),
    ("agents", "configure"): ("write:policies",),
    ("approvals", "decide"): ("approve:approvals", "reject:approvals"),
    ("projects", "delete"): ("delete:projects",),
    ("settings", "manage"): ("write:tenant",),
}
_RESOURCES: Final[Mapping[str, str]] = {
    "agents": "instances",
    "policy": "policies",
    "budget": "budgets",
    "telemetry": "op-events",
    "events": "op-events",
    "settings": "tenant",
    "members": "people",
    "users": "operators",
}
_ACTIONS: Final[Mapping[str, str]] = {
    "view": "read",
    "list": "read",
    "get": "read",
    "create": "write",
    "edit": "write",
    "update": "write",
    "manage": "write",
}

_SYSTEM_ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "OWNER": (ADMIN,),
    "ADMIN": (ADMIN,),
    "MANAGER": (OPERATOR, APPROVER),
    "MEMBER": (OPERATOR,),
    "OPERATOR": (OPERATOR,),
    "APPROVER": (APPROVER,),
    "VIEWER": (VIEWER,),
}
_ACCESS_LEVELS: Final[Mapping[str, str]] = {"ADMIN": ADMIN, "EDIT": OPERATOR, "VIEW": VIEWER}


class Translated(NamedTuple):
    """Permissions of the vocabulary, and the originals that were only nearly matched or not at all."""

    names: frozenset[str]
    weakened: tuple[str, ...]
    dropped: tuple[str, ...]


def translate(originals: Iterable[str]) -> Translated:
    """The vocabulary's permissions for a list such as `tasks.create`, `templates:create` or `read:tasks`."""
    names: set[str] = set()
    weakened, dropped = [], []
    for original in originals:
        found, exact = _one(original)
        names |= found
        if not found:
            dropped.append(original)
        elif not exact:
            weakened.append(original)
    return Translated(frozenset(names), tuple(weakened), tuple(dropped))


def _one(original: str) -> tuple[frozenset[str], bool]:
    if original in PERMISSIONS:
        return frozenset({original}), True
    first, _, second = original.strip().casefold().replace(":", ".").partition(".")
    if (explicit := _EXPLICIT.get((first, second))) is not None:
        return frozenset(explicit), True
    resource = _RESOURCES.get(first, first).replace("_", "-")
    for candidate in (f"{second}:{resource}", f"{_ACTIONS.get(second, second)}:{resource}"):
        if candidate in PERMISSIONS:
            return frozenset({candidate}), True
    reading = f"read:{resource}"
    return (frozenset({reading}), False) if reading in PERMISSIONS else (frozenset(), False)


def roles_for(system_role: str) -> tuple[tuple[str, ...], bool]:
    """The built-in roles that a former role becomes, and whether a rule says so; an unknown one becomes Viewer."""
    found = _SYSTEM_ROLES.get(system_role.strip().upper())
    return (found, True) if found is not None else ((VIEWER,), False)


def role_for_access(level: str) -> tuple[str, bool]:
    """The built-in role that access to a project becomes, and whether a rule says so; an unknown one is Viewer."""
    found = _ACCESS_LEVELS.get(level.strip().upper())
    return (found, True) if found is not None else (VIEWER, False)
