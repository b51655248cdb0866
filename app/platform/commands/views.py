"""Commands of what a person keeps for themselves: saved views and watches (WATCH-1)."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import select

from app.auth.permissions import READ_PERMISSION
from app.commands import Done, Refusal, Refused, command
from app.identity.commands.places import blank
from app.identity.standing import open_project
from app.rows import as_json, edit
from app.unit_of_work import UnitOfWork
from db import models
from db.base import JsonObject, Model
from db.enums import SavedViewScope, WatchEntityType
from db.models import Operator, Project, SavedView, WatchSubscription

_SHARE: Final = "write:saved-views"
_KEEP: Final = "read:saved-views"
_NO_VIEW: Final = Refused(Refusal.NOT_FOUND, "No such saved view.", "view_id")
LARGEST_FILTERS: Final = 20_000
"""Bytes of a view's filters as JSON."""
WATCHABLE: Final = {
    "Task": WatchEntityType.TASK,
    "ApprovalRecord": WatchEntityType.APPROVAL,
    "AgentInstance": WatchEntityType.INSTANCE,
    "Project": WatchEntityType.PROJECT,
    "Deployment": WatchEntityType.DEPLOYMENT,
}
"""What may be watched, by its type."""


@command(_SHARE, "SAVED_VIEW_CREATED", or_permission=_KEEP)
async def create_saved_view(
    uow: UnitOfWork,
    project_id: UUID,
    name: str,
    scope: SavedViewScope,
    filters: JsonObject,
    description: str | None = None,
    is_shared: bool = False,
) -> SavedView | Refused:
    """WATCH-1. Keep a filter under a name. One of one's own takes the permission to read views, one that the project's
    other members see that to write them."""
    uow.permit(project_id=project_id, permission=_SHARE if is_shared else _KEEP)
    project = await open_project(uow, project_id)
    if isinstance(project, Refused):
        return project
    if refused := blank("name", {"name": name}) or _bad_filters(filters):
        return refused
    view = uow.add(
        SavedView(
            project_id=project_id,
            owner_operator_id=uow.actor.id,
            name=name.strip(),
            description=description,
            scope=scope,
            filters=filters,
            is_shared=is_shared,
        )
    )
    _note(uow, "SAVED_VIEW_CREATED", view, after={"name": view.name, "scope": scope.value, "isShared": is_shared})
    return view


@command(_SHARE, "SAVED_VIEW_UPDATED", or_permission=_KEEP)
async def update_saved_view(uow: UnitOfWork, view_id: UUID, **changes: Any) -> SavedView | Refused:
    """WATCH-1. Change a view of one's own; what is left out stays. Sharing it takes the permission to write views."""
    view = await _own(uow, view_id)
    if isinstance(view, Refused):
        return view
    if view.is_shared or changes.get("is_shared"):
        uow.permit(project_id=view.project_id, permission=_SHARE)
    refused = blank("name", changes)
    if not refused and "filters" in changes:
        refused = _bad_filters(changes["filters"])
    if refused:
        return refused
    before, after = edit(
        view, {name: value for name, value in changes.items() if value is not None or name == "description"}
    )
    if after:
        _note(uow, "SAVED_VIEW_UPDATED", view, before=before, after=after)
    return view


@command(_SHARE, "SAVED_VIEW_DELETED", or_permission=_KEEP)
async def delete_saved_view(uow: UnitOfWork, view_id: UUID) -> Done | Refused:
    """WATCH-1. Remove a view of one's own, also for those whom it was shared with."""
    view = await _own(uow, view_id)
    if isinstance(view, Refused):
        return view
    await uow.session.delete(view)
    _note(uow, "SAVED_VIEW_DELETED", view, before=as_json(view))
    return Done(None, {"view_id": str(view.id)})


async def _own(uow: UnitOfWork, view_id: UUID) -> SavedView | Refused:
    """The view, locked, where it is the caller's; a private one of somebody else's is not there at all."""
    view = await uow.lock(SavedView, view_id)
    if view is None or (view.owner_operator_id != uow.actor.id and not view.is_shared):
        return _NO_VIEW
    uow.permit(project_id=view.project_id, permission=_KEEP)
    if view.owner_operator_id != uow.actor.id:
        message = "Only whoever made a view changes it. Make one of your own from it."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "view_id")
    return view


def _bad_filters(filters: Any) -> Refused | None:
    if isinstance(filters, dict) and len(orjson.dumps(filters)) <= LARGEST_FILTERS:
        return None
    message = f"The filters are a JSON object of at most {LARGEST_FILTERS} bytes."
    return Refused(Refusal.VALIDATION_ERROR, message, "filters")


def _note(uow: UnitOfWork, action: str, view: SavedView, **what: Any) -> None:
    uow.audit(action, resource=SavedView.__name__, resource_id=view.id, metadata=what)


# --- Watches ----------------------------------------------------------------------------------------------------------


@command(_KEEP, "WATCH_TOGGLED")
async def toggle_watch(uow: UnitOfWork, entity_id: tuple[str, UUID], watching: bool | None = None) -> Done | Refused:
    """WATCH-1. Begin to watch a task, a request, an agent, a project or a release, or cease to: a switch, unless
    `watching` says which way. What is watched must be there for the caller to read."""
    kind, row_id = entity_id
    model: type[Model] = getattr(models, kind)
    entity: Any = None if kind == models.Tenant.__name__ else await uow.get(model, row_id)
    if entity is None:
        return Refused(Refusal.NOT_FOUND, f"No such {kind}.", "entity_id")
    project_id = entity.id if isinstance(entity, Project) else getattr(entity, "project_id", None)
    environment_id = getattr(entity, "environment_id", None)
    uow.permit(project_id=project_id, environment_id=environment_id)
    watchable = WATCHABLE.get(kind)
    if watchable is None:
        message = f"A {kind} cannot be watched. These can: {', '.join(WATCHABLE)}."
        return Refused(Refusal.VALIDATION_ERROR, message, "entity_id")
    uow.permit(project_id=project_id, environment_id=environment_id, permission=READ_PERMISSION[kind])
    await uow.lock(Operator, uow.actor.id)  # one's own switches turn one after the other
    statement = select(WatchSubscription).where(
        WatchSubscription.tenant_id == uow.tenant_id,
        WatchSubscription.operator_id == uow.actor.id,
        WatchSubscription.entity_type == watchable,
        WatchSubscription.entity_id == row_id,
    )
    known = (await uow.session.scalars(statement)).first()
    wanted = known is None if watching is None else watching
    if wanted is (known is not None):
        return Done(known, {"watching": wanted})
    if known is not None:
        await uow.session.delete(known)
    else:
        known = uow.add(
            WatchSubscription(project_id=project_id, operator_id=uow.actor.id, entity_type=watchable, entity_id=row_id)
        )
    uow.audit(
        "WATCH_TOGGLED",
        resource=WatchSubscription.__name__,
        resource_id=known.id,
        metadata={"watching": wanted, "entityType": kind, "entityId": str(row_id)},
    )
    return Done(known if wanted else None, {"watching": wanted})
