"""Roles, permissions and the people who hold them (RBAC-1, RBAC-4, RBAC-10)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.auth.permissions import PERMISSIONS, SYSTEM_ROLES, find_system_role
from app.legacy.document import Doc, Rejection, items, mapping, optional_moment, words
from app.legacy.engine import Engine
from app.legacy.journal import Journal
from app.legacy.keys import row_id
from app.legacy.mapping import Mapping, Row, table_of
from app.legacy.permissions import role_for_access, roles_for, translate
from app.legacy.tables.identity import ORG_MEMBERS
from app.legacy.world import World
from db.enums import ChangeRecordType, OperatorStatus
from db.models import Operator, Permission, Role, RoleAssignment

_PERMISSIONS: Final = table_of(Permission)
_ROLES: Final = table_of(Role)
_ASSIGNMENTS: Final = table_of(RoleAssignment)
_OPERATORS: Final = table_of(Operator)


def _translated(doc: Doc, world: World) -> list[str]:
    """The role's permissions in this vocabulary; what was weakened or dropped is noted (decision 39)."""
    originals = [words("permissions", one) for one in items("permissions", doc.peek("permissions") or [])]
    return sorted(_noted(translate(originals), world).names)


def _noted(translated: Any, world: World) -> Any:
    for original in translated.weakened:
        world.report.note(f"The permission {original!r} is not known here: it becomes reading the same resource")
    for original in translated.dropped:
        world.report.note(f"The permission {original!r} is not known here, nor is its resource: it is left out")
    return translated


ROLES: Final = Mapping(
    "roles",
    Role,
    {"permissions": _translated, "is_system": lambda doc, world: False},
    more=lambda doc, world: {"legacyPermissions": doc.take("permissions"), "legacyIsSystem": doc.take("isSystem")},
)


@dataclass
class People:
    """The roles of the tenant, and whom the import gives them to."""

    engine: Engine
    journal: Journal
    founded: datetime
    """When what the import adds by itself counts as made."""
    _roles: dict[str, UUID] = field(default_factory=dict)
    _entries: dict[tuple[str, str], UUID] = field(default_factory=dict)
    _grants: set[tuple[UUID, UUID, UUID | None, UUID | None]] = field(default_factory=set)

    @property
    def world(self) -> World:
        """The import's world."""
        return self.engine.world

    async def prepare(self) -> None:
        """Add the built-in roles and the entries of the registry that the tenant lacks (RBAC-1, RBAC-4)."""
        connection, own = self.engine.connection, self.world.tenant_id
        for name, role_id in await connection.execute(
            select(_ROLES.c.name, _ROLES.c.id).where(_ROLES.c.tenant_id == own)
        ):
            self._roles[name] = role_id
        columns = (_PERMISSIONS.c.resource, _PERMISSIONS.c.action, _PERMISSIONS.c.id)
        for resource, action, entry_id in await connection.execute(
            select(*columns).where(_PERMISSIONS.c.tenant_id == own)
        ):
            self._entries[resource, action] = entry_id
        for role in SYSTEM_ROLES.values():
            if role.assignable and role.name not in self._roles:
                await self._add_role(role.name, role.description, role.permissions, is_system=True)
        for entry in PERMISSIONS.values():
            if (entry.resource, entry.action) not in self._entries:
                row = self._row("permission", entry.name) | {
                    "resource": entry.resource,
                    "action": entry.action,
                    "description": entry.description,
                    "category": entry.category,
                }
                await self.engine.add("Permission", _PERMISSIONS, row)
                self._entries[entry.resource, entry.action] = row["id"]

    async def permissions(self) -> None:
        """Join the snapshot's permissions to the entries of the registry that they are here."""
        async for docs in self.engine.fresh("permissions"):
            for doc in docs:
                translated = translate([f"{doc.peek('resource')}.{doc.peek('action')}"])
                _noted(translated, self.world)
                if not translated.names:
                    self.engine.skip(doc, "unknown here")
                    continue
                entry = PERMISSIONS[min(translated.names)]
                await self.engine.merge(doc, "Permission", self._entries[entry.resource, entry.action])

    async def roles(self) -> None:
        """Import the roles. One that is called as a built-in one, or as one the tenant has, gets a name of its own."""
        async for docs in self.engine.fresh("roles"):
            for mapped in self.engine.map(ROLES, docs):
                name = mapped.row["name"]
                built_in = find_system_role(name)
                if mapped.doc.values.get("isSystem") is True and built_in is not None and built_in.assignable:
                    await self.engine.merge(mapped.doc, "Role", self._roles[built_in.name])
                    continue
                if built_in is not None or name in self._roles:
                    mapped.row["name"] = self._free_name(f"Imported \N{EN DASH} {name}")
                    self.world.report.note(f"The role {name!r} is called {mapped.row['name']!r}: its name was taken")
                await self.engine.write("Role", _ROLES, [mapped])
                self._roles[mapped.row["name"]] = mapped.row["id"]

    async def load_grants(self) -> None:
        """Read who holds what, so that nothing is granted twice."""
        columns = (_ASSIGNMENTS.c.operator_id, _ASSIGNMENTS.c.role_id, _ASSIGNMENTS.c.project_id)
        found = select(*columns, _ASSIGNMENTS.c.environment_id).where(_ASSIGNMENTS.c.tenant_id == self.world.tenant_id)
        self._grants = {(one[0], one[1], one[2], one[3]) for one in await self.engine.connection.execute(found)}

    async def operator_roles(self, known: Iterable[str]) -> None:
        """Give ARM's operators the roles of their rows (MIG-9); those known from before keep what they have."""
        before = set(known)
        for document in self.engine.snapshot.documents("operators"):
            operator = self.world.keys.find("Operator", document["_id"])
            role = document.get("role")
            if operator is None or document["_id"] in before or not isinstance(role, str):
                continue
            doc = Doc("operators", document)
            for name in self._mapped_roles(role):
                await self._grant(doc, operator, self._roles[name], None, name)

    async def members(self) -> None:
        """Import the directory; members with an e-mail address become operators with the roles they had (RBAC-10)."""
        async for docs in self.engine.fresh("orgMembers"):
            mapped = self.engine.map(ORG_MEMBERS, docs)
            await self.engine.write("OrgMember", ORG_MEMBERS.target, mapped)
            for one in mapped:
                if self.world.keys.find("OrgMember", one.doc.id) is None or not one.row["email"]:
                    continue
                try:
                    access = self._access(one.doc)
                except Rejection as rejection:
                    report = self.world.report
                    report.reject(
                        "orgMembers", one.doc.id, rejection.field, rejection.value, rejection.reason, row_kept=True
                    )
                    access = []
                operator = await self._operator(one.doc, one.row)
                await self._grant_all(one.doc, operator, one.row["name"], access)
        await self.engine.link(ORG_MEMBERS.target)

    def _access(self, doc: Doc) -> list[tuple[str, UUID]]:
        """The projects that the member may enter, with the role there."""
        found = []
        for one in items("projectAccess", doc.values.get("projectAccess") or []):
            entry = mapping("projectAccess", one)
            role, exact = role_for_access(words("projectAccess", entry.get("accessLevel")))
            if not exact:
                self.world.report.note(
                    f"The access level {entry['accessLevel']!r} is not known here: it becomes {role}"
                )
            found.append((role, self.world.keys.need("Project", "projectAccess", entry.get("projectId"))))
        return found

    async def _operator(self, doc: Doc, member: Row) -> UUID:
        """The operator of this address, made where there is none."""
        email = member["email"]
        if (found := self.world.people.get(email.casefold())) is not None:
            return found
        own = row_id(self.world.tenant_id, "orgMembers:operator", doc.id, doc.created)
        row: Row = {
            "id": own,
            "tenant_id": self.world.tenant_id,
            "auth_id": f"invite:{own}",
            "name": member["name"],
            "email": email,
            "status": OperatorStatus.ACTIVE if member["active"] else OperatorStatus.SUSPENDED,
            "last_login_at": optional_moment("lastLoginAt", doc.values.get("lastLoginAt")),
            "metadata": {"source": "migration", "legacyTable": doc.table, "legacyId": doc.id},
            "created_at": doc.created,
            "updated_at": doc.created,
        }
        await self.engine.add("Operator", _OPERATORS, row)
        self.journal.made(ChangeRecordType.OPERATOR_CREATED, "Operator", row, doc, {"status": row["status"].value})
        self.world.people[email.casefold()] = own
        return own

    async def _grant_all(self, doc: Doc, operator: UUID, name: str, access: list[tuple[str, UUID]]) -> None:
        role = doc.values.get("systemRole")
        for built_in in self._mapped_roles(role) if isinstance(role, str) else ():
            await self._grant(doc, operator, self._roles[built_in], None, built_in)
        for built_in, project in access:
            await self._grant(doc, operator, self._roles[built_in], project, f"{built_in}:{project}")
        custom = doc.values.get("permissions")
        if isinstance(custom, list) and custom:
            held = _noted(translate(str(one) for one in custom), self.world).names
            title = self._free_name(f"Imported \N{EN DASH} {name}")
            row = await self._add_role(title, f"The permissions of {name} in the former system.", held, doc=doc)
            await self._grant(doc, operator, row, None, "custom")

    def _mapped_roles(self, role: str) -> tuple[str, ...]:
        names, exact = roles_for(role)
        if not exact:
            self.world.report.note(f"The role {role!r} is not known here: it becomes {names[0]}")
        return names

    async def _grant(self, doc: Doc, operator: UUID, role: UUID, project: UUID | None, which: str) -> None:
        if (operator, role, project, None) in self._grants:
            return
        self._grants.add((operator, role, project, None))
        row: Row = {
            "id": row_id(self.world.tenant_id, f"{doc.table}:grant:{which}", doc.id, doc.created),
            "tenant_id": self.world.tenant_id,
            "role_id": role,
            "operator_id": operator,
            "project_id": project,
            "assigned_at": optional_moment("invitedAt", doc.values.get("invitedAt")) or doc.created,
            "metadata": {"source": "migration", "legacyTable": doc.table, "legacyId": doc.id},
            "created_at": doc.created,
            "updated_at": doc.created,
        }
        await self.engine.add("RoleAssignment", _ASSIGNMENTS, row)

    async def _add_role(
        self,
        name: str,
        description: str,
        permissions: Iterable[str],
        *,
        is_system: bool = False,
        doc: Doc | None = None,
    ) -> UUID:
        row = self._row("role", doc.id if doc else name, doc.created if doc else None) | {
            "name": name,
            "description": description,
            "permissions": sorted(permissions),
            "is_system": is_system,
        }
        await self.engine.add("Role", _ROLES, row)
        self._roles[name] = row["id"]
        return UUID(str(row["id"]))

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self._roles:
            name, number = f"{wanted} ({number})", number + 1
        return name

    def _row(self, kind: str, name: str, at: datetime | None = None) -> dict[str, Any]:
        created = at or self.founded
        return {
            "id": row_id(self.world.tenant_id, f"import:{kind}", name, created),
            "tenant_id": self.world.tenant_id,
            "metadata": {"source": "migration"},
            "created_at": created,
            "updated_at": created,
        }
