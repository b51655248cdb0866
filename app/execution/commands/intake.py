"""What outside systems send: issues that are kept as tasks (TASK-5)."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.commands import Done, Refusal, Refused, command
from app.execution.commands.tasks import add_task, note_creation, note_update
from app.execution.commands.values import MOST_LABELS
from app.execution.rules.intake import (
    LONGEST_TITLE,
    clean_labels,
    priority_of_labels,
    sanitised,
    type_of_labels,
)
from app.execution.rules.work import BUDGETS, LONGEST_CONTENT
from app.identity.standing import open_project
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.enums import OpEventType, TaskSource
from db.models import Task

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_STATE: Final = "githubState"
_ADDRESS: Final = "githubUrl"


@command("write:tasks", OpEventType.DECISION_MADE)
async def upsert_issue(
    uow: UnitOfWork,
    project_id: UUID,
    repository: str,
    number: int,
    title: str,
    body: str | None = None,
    labels: list[str] | None = None,
    state: str | None = None,
    url: str | None = None,
) -> Done | Refused:
    """TASK-5. Keep an issue of the project's repository as a task: a new one in INBOX, of a known one the texts.

    Its labels say what kind of work it is and how urgent, as long as it is new. The status of a known task never
    follows the issue's.
    """
    if not _REPOSITORY.fullmatch(repository):
        return Refused(Refusal.VALIDATION_ERROR, "A repository is written `owner/name`.", "repository")
    if number < 1:
        return Refused(Refusal.VALIDATION_ERROR, "An issue's number is 1 or more.", "number")
    plain_title, text = sanitised(title), None if body is None else sanitised(body)
    tags = clean_labels(map(sanitised, labels or ()))
    name = f"[GH-{number}] {plain_title}"
    if not plain_title or len(name) > LONGEST_TITLE:
        most = LONGEST_TITLE - len(name) + len(plain_title)
        return Refused(Refusal.VALIDATION_ERROR, f"This issue's title has 1 to {most} characters.", "title")
    if len(text or "") > LONGEST_CONTENT:
        return Refused(Refusal.VALIDATION_ERROR, f"A body has at most {LONGEST_CONTENT} characters.", "body")
    if len(tags) > MOST_LABELS:
        return Refused(Refusal.VALIDATION_ERROR, f"A task has at most {MOST_LABELS} labels.", "labels")
    project = await open_project(uow, project_id)
    if isinstance(project, Refused):
        return project
    uow.permit(project_id=project_id)
    reference = f"{repository.lower()}#{number}"
    key = f"github:{reference}"
    statement = select(Task.id).where(Task.tenant_id == uow.tenant_id, Task.idempotency_key == key)
    known = await uow.lock(Task, await uow.session.scalar(statement))
    notes = {name: value for name, value in ((_STATE, state), (_ADDRESS, url)) if value is not None}
    if known is None:
        kind = type_of_labels(tags)
        task = add_task(
            uow,
            project_id=project_id,
            title=name,
            description=text,
            type=kind,
            priority=priority_of_labels(tags),
            labels=tags or None,
            budget_allocated=BUDGETS[kind],
            source=TaskSource.GITHUB,
            source_ref=reference,
            idempotency_key=key,
            metadata_=notes or None,
        )
        first = note_creation(uow, task)
        uow.emit(
            OpEventType.DECISION_MADE,
            task_id=task.id,
            project_id=project_id,
            change_record_id=first,
            payload={"stage": "TASK_SYNCED", "sourceRef": reference, "created": True},
        )
        return Done(task, {"created": True})
    if known.project_id != project_id:
        message = "The issue is kept as a task of another project."
        return Refused(Refusal.CONFLICT, message, "project_id")
    changes = {
        "title": name,
        "description": text,
        "labels": tags or None,
        "metadata": {**(known.metadata_ or {}), **notes} or None,
    }
    before, after = edit(known, changes)
    note_update(uow, known, before, after, None, stage="TASK_SYNCED")
    return Done(known, {"created": False})
