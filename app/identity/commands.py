"""Commands of tenancy and identity: projects and environments."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from sqlalchemy import func, select

from app.commands import Refusal, Refused, command
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ChangeRecordType
from db.models import Environment, Project

SLUG: Final = re.compile(r"[a-z0-9-]+")


def bad_slug(slug: str) -> Refused | None:
    """TEN-2. Slugs are lower-case letters, digits and hyphens."""
    if SLUG.fullmatch(slug):
        return None
    return Refused(Refusal.VALIDATION_ERROR, "A slug has lower-case letters, digits and hyphens only.", "slug")


@command("write:projects", ChangeRecordType.PROJECT_CREATED)
async def create_project(
    uow: UnitOfWork,
    name: str,
    slug: str,
    description: str | None = None,
    default_environment_id: UUID | None = None,
    metadata: JsonObject | None = None,
) -> Project | Refused:
    """TEN-3. Make a project; its slug is unique in the tenant."""
    uow.permit()
    if refused := bad_slug(slug):
        return refused
    if await uow.session.scalar(select(Project.id).where(Project.tenant_id == uow.tenant_id, Project.slug == slug)):
        return Refused(Refusal.DUPLICATE_RESOURCE, f"A project with the slug '{slug}' exists.", "slug")
    if default_environment_id and await uow.get(Environment, default_environment_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such environment.", "default_environment_id")
    project = uow.add(
        Project(
            name=name,
            slug=slug,
            description=description,
            default_environment_id=default_environment_id,
            metadata_=metadata,
        )
    )
    uow.record(ChangeRecordType.PROJECT_CREATED, project, after={"name": name, "slug": slug}, project_id=project.id)
    return project


@command("write:environments", ChangeRecordType.ENVIRONMENT_CREATED)
async def create_environment(
    uow: UnitOfWork, name: str, slug: str, is_production: bool, config: JsonObject | None = None
) -> Environment | Refused:
    """TEN-2, TEN-3. Make a release target, within the tenant's `maxEnvironments`."""
    uow.permit()
    if refused := bad_slug(slug):
        return refused
    tenant = await uow.tenant(lock=True)
    mine = Environment.tenant_id == uow.tenant_id
    if await uow.session.scalar(select(Environment.id).where(mine, Environment.slug == slug)):
        return Refused(Refusal.DUPLICATE_RESOURCE, f"An environment with the slug '{slug}' exists.", "slug")
    count = await uow.session.scalar(select(func.count()).select_from(Environment).where(mine)) or 0
    if tenant.max_environments is not None and count >= tenant.max_environments:
        message = f"The tenant may have {tenant.max_environments} environments and has them all."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    environment = uow.add(Environment(name=name, slug=slug, is_production=is_production, config=config))
    uow.record(
        ChangeRecordType.ENVIRONMENT_CREATED,
        environment,
        after={"name": name, "slug": slug, "isProduction": is_production},
    )
    return environment
