"""The ground an import stands on: the tenant, its default project, and a place for agents to run (MIG-0c, MIG-1)."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.legacy.engine import Engine
from app.legacy.journal import Journal
from app.legacy.keys import row_id
from app.legacy.mapping import Row, metadata_of, table_of
from app.legacy.snapshot import CannotImportError
from app.legacy.tenancy import Survey
from db.enums import ActorType, ChangeRecordType
from db.logs import ChangeDraft
from db.models import Environment, Project, Tenant

_SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NOBODY: Final = UUID(int=0)
"""In place of a tenant's id where the tenant's own is made: it follows from the slug, wherever it is imported."""
_TENANTS: Final = table_of(Tenant)
_PROJECTS: Final = table_of(Project)
_ENVIRONMENTS: Final = table_of(Environment)


@dataclass(frozen=True, slots=True)
class Home:
    """The tenant that is imported into."""

    id: UUID
    created: bool
    timezone: str
    retention_days: int


async def find_tenant(connection: AsyncConnection, slug: str, found: Survey, at: datetime) -> Home:
    """The tenant of this slug; made where there is none, with the name that the snapshot gives it (MIG-0b).

    Raises CannotImportError for a slug that is none.
    """
    if not _SLUG.fullmatch(slug) or len(slug) > 63:
        raise CannotImportError(
            f"--tenant {slug!r} is no slug. Use lower-case letters, digits and hyphens, such as mission-control."
        )
    row = (await connection.execute(select(_TENANTS).where(_TENANTS.c.slug == slug))).one_or_none()
    if row is not None:
        return Home(row.id, False, row.timezone, row.op_event_retention_days or 30)
    given = found.tenant or {}
    values: Row = {
        "id": row_id(_NOBODY, "tenants", slug, at),
        "name": _text(given.get("name")) or slug,
        "slug": slug,
        "active": given.get("active") is not False,
        "settings": {"missionStatement": statement} if (statement := _text(given.get("missionStatement"))) else None,
        "metadata": {"source": "migration"},
        "created_at": at,
        "updated_at": at,
    }
    await connection.execute(insert(_TENANTS), [values])
    return Home(values["id"], True, "UTC", 30)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value and "\x00" not in value else None


@dataclass
class Ground:
    """Sees to what rows without a project or environment need."""

    engine: Engine
    journal: Journal
    home: Home
    founded: datetime

    async def tenant(self) -> None:
        """Join the snapshot's tenant to the one that is imported into."""
        world = self.engine.world
        async for docs in self.engine.fresh("tenants"):
            for doc in docs:
                if self.home.created:
                    metadata = metadata_of(doc, {"source": "migration"})
                    values = update(_TENANTS).where(_TENANTS.c.id == self.home.id).values(metadata=metadata)
                    await self.engine.connection.execute(values.values(updated_at=doc.created))
                else:
                    world.report.note("The tenant was there before the import, and its own settings stay as they are")
                await self.engine.merge(doc, "Tenant", self.home.id)
        if self.home.created:
            world.report.created["Tenant"] += 1
            self._made(ChangeRecordType.TENANT_BOOTSTRAPPED, "Tenant", {"id": self.home.id}, {})

    async def places(self, *, lacks_project: bool) -> None:
        """Find the default project and the environment for production; make those that are needed and missing."""
        world, connection = self.engine.world, self.engine.connection
        columns = (_ENVIRONMENTS.c.id, _ENVIRONMENTS.c.slug, _ENVIRONMENTS.c.is_production)
        own = select(*columns).where(_ENVIRONMENTS.c.tenant_id == world.tenant_id).order_by(_ENVIRONMENTS.c.id)
        environments = (await connection.execute(own)).all()
        ranked = sorted(environments, key=lambda one: (not one.is_production, one.slug not in ("prod", "production")))
        if ranked and (ranked[0].is_production or ranked[0].slug in ("prod", "production")):
            world.environment = ranked[0].id
        elif self.engine.counts.get("agents") or self.engine.counts.get("agentInstances"):
            row = {"name": "Production", "slug": "prod", "is_production": True}
            world.environment = await self._add("Environment", _ENVIRONMENTS, row, ChangeRecordType.ENVIRONMENT_CREATED)
        chosen = select(_PROJECTS.c.id, _PROJECTS.c.slug, _PROJECTS.c.default_environment_id)
        projects = (await connection.execute(chosen.where(_PROJECTS.c.tenant_id == world.tenant_id))).all()
        world.project_environments = {
            one.id: one.default_environment_id for one in projects if one.default_environment_id
        }
        named = [one.id for one in projects if one.slug == "default"]
        if named or len(projects) == 1:
            world.project = named[0] if named else projects[0].id
        elif lacks_project:
            row = {"name": "Default", "slug": "default", "default_environment_id": world.environment}
            world.project = await self._add("Project", _PROJECTS, row, ChangeRecordType.PROJECT_CREATED)

    async def _add(self, entity: str, table: Any, values: Row, kind: ChangeRecordType) -> UUID:
        row: Row = values | {
            "id": row_id(self.home.id, f"import:{entity}", "", self.founded),
            "tenant_id": self.home.id,
            "metadata": {"source": "migration"},
            "created_at": self.founded,
            "updated_at": self.founded,
        }
        await self.engine.add(entity, table, row)
        self._made(kind, entity, row, {"slug": values["slug"]})
        self.engine.world.report.note(
            f"The tenant had no {entity.lower()} for what names none: {values['slug']!r} was made"
        )
        return UUID(str(row["id"]))

    def _made(self, kind: ChangeRecordType, entity: str, row: Row, after: dict[str, Any]) -> None:
        self.journal.change(
            ChangeDraft(
                id=row_id(self.home.id, f"import:{kind}", "", self.founded),
                type=kind,
                actor_type=ActorType.SYSTEM,
                target_entity=entity,
                target_id=row["id"],
                after_state=after or None,
                reason="Imported from a snapshot of the former system.",
                timestamp=self.founded,
                metadata={"source": "migration"},
            )
        )
