"""Commands of captures: pictures that work produced (CAP-1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.commands import Done, Refusal, Refused, command
from app.communication.rules.telegraph import is_web_address
from app.communication.standing import linked, place
from app.execution.rules.intake import clean_labels, sanitised
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import CaptureType
from db.models import AgentInstance, Capture, Task

MOST_TAGS: Final = 50
_LARGEST: Final = 2**31 - 1
"""What the columns of sizes hold."""


@command("write:captures", "CAPTURE_CREATED")
async def create_capture(
    uow: UnitOfWork,
    title: str,
    type: CaptureType,
    project_id: UUID | None = None,
    task_id: UUID | None = None,
    instance_id: UUID | None = None,
    description: str | None = None,
    url: str | None = None,
    file_storage_id: str | None = None,
    thumbnail_url: str | None = None,
    tags: Sequence[str] | None = None,
    captured_at: datetime | None = None,
    metadata: JsonObject | None = None,
    **sizes: Any,
) -> Done | Refused:
    """CAP-1. Keep a picture: its address, or its id in the store that it was uploaded to. One of a task belongs to the
    task's project."""
    if refused := _refuse_texts(title, tags):
        return refused
    if not url and not file_storage_id:
        return Refused(Refusal.VALIDATION_ERROR, "Give its `url`, or its `fileStorageId`.", "url")
    for field, address in (("url", url), ("thumbnail_url", thumbnail_url)):
        if address and not is_web_address(address):
            return Refused(Refusal.VALIDATION_ERROR, "The address begins with http:// or https://.", field)
    for field, size in sizes.items():
        if isinstance(size, int) and not 0 <= size <= _LARGEST:
            return Refused(Refusal.VALIDATION_ERROR, f"It is 0 to {_LARGEST}.", field)
    if project_id is None and task_id is not None and (task := await uow.get(Task, task_id)) is not None:
        project_id = task.project_id
    if refused := await place(uow, project_id):
        return refused
    about = await linked(uow, Task, task_id, project_id, "task_id")
    if isinstance(about, Refused):
        return about
    maker = await linked(uow, AgentInstance, instance_id, project_id, "instance_id")
    if isinstance(maker, Refused):
        return maker
    capture = uow.add(
        Capture(
            project_id=project_id,
            task_id=task_id,
            instance_id=instance_id,
            title=sanitised(title),
            description=None if description is None else sanitised(description),
            type=type,
            url=url or None,
            file_storage_id=file_storage_id or None,
            thumbnail_url=thumbnail_url or None,
            tags=clean_labels(tags or ()) or None,
            captured_at=captured_at or uow.now,
            metadata_=metadata,
            **sizes,
        )
    )
    _audit(uow, capture, "CAPTURE_CREATED", {"type": type.value})
    return Done(capture)


@command("write:captures", "CAPTURE_UPDATED")
async def update_capture(uow: UnitOfWork, capture_id: UUID, **changes: Any) -> Done | Refused:
    """CAP-1. Change a picture's title, description or tags; what is left out stays."""
    capture = await _capture(uow, capture_id)
    if isinstance(capture, Refused):
        return capture
    title = changes.get("title", capture.title)
    if refused := _refuse_texts(title or "", changes.get("tags")):
        return refused
    if "title" in changes:
        changes["title"] = sanitised(changes["title"])
    if changes.get("description") is not None:
        changes["description"] = sanitised(changes["description"])
    if "tags" in changes:
        changes["tags"] = clean_labels(changes["tags"] or ()) or None
    before, after = edit(capture, changes)
    _audit(uow, capture, "CAPTURE_UPDATED", {"before": before, "after": after})
    return Done(capture)


@command("delete:captures", "CAPTURE_DELETED")
async def delete_capture(uow: UnitOfWork, capture_id: UUID, reason: str | None = None) -> Done | Refused:
    """CAP-1. Remove a picture for good (decision 19); the file itself is its store's to remove."""
    capture = await _capture(uow, capture_id)
    if isinstance(capture, Refused):
        return capture
    told = {"title": capture.title, "url": capture.url, "fileStorageId": capture.file_storage_id}
    _audit(uow, capture, "CAPTURE_DELETED", told, reason)
    await uow.session.delete(capture)
    return Done(None, {"capture_id": str(capture.id)})


async def _capture(uow: UnitOfWork, capture_id: UUID) -> Capture | Refused:
    capture = await uow.lock(Capture, capture_id)
    if capture is None:
        return Refused(Refusal.NOT_FOUND, "No such capture.", "capture_id")
    uow.permit(project_id=capture.project_id)
    return capture


def _refuse_texts(title: str, tags: Sequence[str] | None) -> Refused | None:
    if not sanitised(title):
        return Refused(Refusal.VALIDATION_ERROR, "Say in a line what it shows.", "title")
    if len(clean_labels(tags or ())) > MOST_TAGS:
        return Refused(Refusal.VALIDATION_ERROR, f"It has at most {MOST_TAGS} tags.", "tags")
    return None


def _audit(
    uow: UnitOfWork, capture: Capture, action: str, metadata: JsonObject, description: str | None = None
) -> None:
    uow.audit(
        action,
        resource=Capture.__name__,
        resource_id=capture.id,
        description=description,
        metadata=metadata,
    )
