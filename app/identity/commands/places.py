"""Commands of projects and environments: where work happens (TEN-2, TEN-3)."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, func, select

from app.commands import Refusal, Refused, command
from app.identity.rules import environment_fault, policy_defaults_fault, swarm_fault
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import AuditSeverity, ChangeRecordType, InstanceState
from db.models import AgentInstance, Environment, Project, Task

SLUG: Final = re.compile(r"[a-z0-9-]+")
_NO_KEY: Final = (
    "The gateway has no key to encrypt secrets with. Whoever runs it sets FLEETGRAPH_SECRET_KEY; nothing was stored."
)


def bad_slug(slug: str) -> Refused | None:
    """TEN-2. Slugs are lower-case letters, digits and hyphens."""
    if SLUG.fullmatch(slug):
        return None
    return Refused(Refusal.VALIDATION_ERROR, "A slug has lower-case letters, digits and hyphens only.", "slug")


def blank(name: str, changes: JsonObject) -> Refused | None:
    """A name that is given must have something in it."""
    if name in changes and not (changes[name] or "").strip():
        return Refused(Refusal.VALIDATION_ERROR, f"The {name} may not be blank.", name)
    return None


def no_seal(field: str) -> Refused:
    """PII-4. A secret is encrypted or not stored at all."""
    return Refused(Refusal.DEPENDENCY_NOT_MET, _NO_KEY, field)


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
    return add_project(uow, name, slug, description, default_environment_id, metadata)


def add_project(
    uow: UnitOfWork,
    name: str,
    slug: str,
    description: str | None,
    default_environment_id: UUID | None,
    metadata: JsonObject | None,
    **recorded: Any,
) -> Project:
    """A new project with its record; `recorded` is what else the record says, where it belongs to a cascade."""
    project = uow.add(
        Project(
            name=name,
            slug=slug,
            description=description,
            default_environment_id=default_environment_id,
            metadata_=metadata,
        )
    )
    after = {"name": name, "slug": slug}
    uow.record(ChangeRecordType.PROJECT_CREATED, project, after=after, project_id=project.id, **recorded)
    return project


@command("write:projects", "PROJECT_UPDATED")
async def update_project(uow: UnitOfWork, project_id: UUID, **changes: Any) -> Project | Refused:
    """TEN-3, PII-4. Change a project; its slug stays, and a webhook secret is encrypted and never shown again."""
    project = await uow.lock(Project, project_id)
    if project is None:
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    uow.permit(project_id=project.id)
    if refused := blank("name", changes):
        return refused
    for field, fault in (
        ("swarm_config", swarm_fault(changes.get("swarm_config"))),
        ("policy_defaults", policy_defaults_fault(changes.get("policy_defaults"))),
    ):
        if fault is not None:
            return Refused(Refusal.VALIDATION_ERROR, fault, field)
    environment_id = changes.get("default_environment_id")
    if environment_id is not None and await uow.get(Environment, environment_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such environment.", "default_environment_id")
    if changes.get("github_webhook_secret") is not None:
        if uow.seal is None:
            return no_seal("github_webhook_secret")
        changes["github_webhook_secret"] = uow.seal.seal(changes["github_webhook_secret"])
    before, after = edit(project, changes, secret=frozenset({"github_webhook_secret"}))
    if after:
        uow.audit(
            "PROJECT_UPDATED",
            resource="Project",
            resource_id=project.id,
            metadata={"before": before, "after": after},
        )
    return project


@command("delete:projects", "PROJECT_DELETED")
async def delete_project(uow: UnitOfWork, project_id: UUID, reason: str | None = None) -> Project | Refused:
    """TEN-3. Delete a project that has no tasks and no agents but retired ones; its history stays, and its slug.

    The row stays with `deletedAt`, since the journals name it for ever.
    """
    mine = (Project.tenant_id == uow.tenant_id, Project.id == project_id)
    project = (
        await uow.session.scalars(
            # The full lock: whoever makes a task or an agent here holds the row's key until it is made.
            select(Project).where(*mine).with_for_update().execution_options(populate_existing=True)
        )
    ).first()
    if project is None:
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    uow.permit(project_id=project.id)
    if project.deleted_at is not None:
        return Refused(Refusal.CONFLICT, "The project was deleted before.", "project_id")
    tasks = exists().where(Task.tenant_id == uow.tenant_id, Task.project_id == project.id)
    if await uow.session.scalar(select(tasks)):
        message = "The project has tasks, and what was worked on is kept. A project with tasks cannot be deleted."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "project_id")
    agents = select(func.count()).where(
        AgentInstance.tenant_id == uow.tenant_id,
        AgentInstance.project_id == project.id,
        AgentInstance.state != InstanceState.RETIRED,
    )
    if count := await uow.session.scalar(agents):
        message = f"{count} of its agents are not retired. Retire them first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "project_id")
    project.deleted_at = uow.now
    uow.audit(
        "PROJECT_DELETED",
        resource="Project",
        resource_id=project.id,
        severity=AuditSeverity.WARNING,
        description=reason,
    )
    return project


@command("write:environments", ChangeRecordType.ENVIRONMENT_CREATED)
async def create_environment(
    uow: UnitOfWork, name: str, slug: str, is_production: bool, config: JsonObject | None = None
) -> Environment | Refused:
    """TEN-2, TEN-3. Make a release target, within the tenant's `maxEnvironments`."""
    uow.permit()
    if refused := bad_slug(slug):
        return refused
    if fault := environment_fault(config):
        return Refused(Refusal.VALIDATION_ERROR, fault, "config")
    tenant = await uow.tenant(lock=True)
    mine = Environment.tenant_id == uow.tenant_id
    if await uow.session.scalar(select(Environment.id).where(mine, Environment.slug == slug)):
        return Refused(Refusal.DUPLICATE_RESOURCE, f"An environment with the slug '{slug}' exists.", "slug")
    count = await uow.session.scalar(select(func.count()).select_from(Environment).where(mine)) or 0
    if tenant.max_environments is not None and count >= tenant.max_environments:
        message = f"The tenant may have {tenant.max_environments} environments and has them all."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    return add_environment(uow, name, slug, is_production, config)


def add_environment(
    uow: UnitOfWork, name: str, slug: str, is_production: bool, config: JsonObject | None, **recorded: Any
) -> Environment:
    """A new release target with its record; `recorded` is what else the record says, where it belongs to a cascade."""
    environment = uow.add(Environment(name=name, slug=slug, is_production=is_production, config=config))
    uow.record(
        ChangeRecordType.ENVIRONMENT_CREATED,
        environment,
        after={"name": name, "slug": slug, "isProduction": is_production},
        **recorded,
    )
    return environment


@command("write:environments", "ENVIRONMENT_UPDATED")
async def update_environment(uow: UnitOfWork, environment_id: UUID, **changes: Any) -> Environment | Refused:
    """TEN-3. Change a release target; its slug stays, and production stays production, with its dual control."""
    environment = await uow.lock(Environment, environment_id)
    if environment is None:
        return Refused(Refusal.NOT_FOUND, "No such environment.", "environment_id")
    uow.permit(environment_id=environment.id)
    if refused := blank("name", changes):
        return refused
    if fault := environment_fault(changes.get("config")):
        return Refused(Refusal.VALIDATION_ERROR, fault, "config")
    wanted = changes.get("is_production", environment.is_production)
    if environment.is_production and not wanted:
        message = "A production environment stays one (DEP-1). Make another environment for what needs no approval."
        return Refused(Refusal.VALIDATION_ERROR, message, "is_production")
    changes["is_production"] = bool(wanted)
    before, after = edit(environment, changes)
    if after:
        uow.audit(
            "ENVIRONMENT_UPDATED",
            resource="Environment",
            resource_id=environment.id,
            metadata={"before": before, "after": after},
        )
    return environment
