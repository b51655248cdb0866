"""Commands of meetings: planned, held, called off, and what came of them (MTG-1 to MTG-4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.commands import Done, Refusal, Refused, command
from app.communication.machines import MEETING
from app.communication.rules.meetings import (
    LONGEST_MEETING,
    MOST_ITEMS,
    ActionItem,
    ImpossibleDate,
    agenda_of,
    calendar_entry,
    items_in,
)
from app.communication.standing import agents_by_id, place
from app.execution.commands.tasks import add_task, note_creation
from app.execution.rules.intake import LONGEST_TITLE
from app.execution.rules.threads import ready
from app.execution.rules.work import BUDGETS
from app.execution.standing import ASSIGNABLE, allows, hold_instances, hold_mode
from app.governance.loading import policies_for
from app.governance.policy.risk import redact_value
from app.identity.standing import open_project
from app.lifecycle import refuse_step
from app.registry.commands import mode_of
from app.rows import plain
from app.unit_of_work import UnitOfWork
from db.base import JsonObject, JsonObjects
from db.enums import InstanceState, MeetingProvider, MeetingStatus, OperatorMode, TaskType
from db.models import AgentInstance, Meeting, Task, TaskAssignee

_M: Final = MeetingStatus
_PRIORITY: Final = 3
"""MTG-3. How urgent a task is that a meeting found."""


@command("write:meetings", "MEETING_SCHEDULED")
async def schedule_meeting(
    uow: UnitOfWork,
    title: str,
    scheduled_at: datetime,
    duration: int,
    project_id: UUID | None = None,
    host_instance_id: UUID | None = None,
    participants: Sequence[Mapping[str, Any]] | None = None,
    topics: Sequence[str] | None = None,
    provider: MeetingProvider | None = None,
    external_meeting_ref: str | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """MTG-2. Plan a meeting of agents: with a numbered agenda, and an entry for calendars. Its host takes part."""
    subject = ready(title)
    if not subject:
        return Refused(Refusal.VALIDATION_ERROR, "A meeting has a subject.", "title")
    if not 0 < duration <= LONGEST_MEETING:
        return Refused(Refusal.VALIDATION_ERROR, f"It lasts 1 to {LONGEST_MEETING} minutes.", "duration")
    if refused := await place(uow, project_id):
        return refused
    wanted = list(participants or ())
    agents = await agents_by_id(uow, [one["instance_id"] for one in wanted], project_id, "participants", ".instance_id")
    if isinstance(agents, Refused):
        return agents
    host = await agents_by_id(uow, [host_instance_id] if host_instance_id else [], project_id, "host_instance_id")
    if isinstance(host, Refused):
        return Refused(host.code, host.message, "host_instance_id")
    if host_instance_id is not None and host_instance_id not in agents:
        wanted.insert(0, {"instance_id": host_instance_id, "role": "host"})
    known = {**agents, **host}
    who = list({one["instance_id"]: one for one in wanted}.values())
    meeting = uow.add(
        Meeting(
            project_id=project_id,
            title=subject,
            agenda=agenda_of(topics or ()),
            scheduled_at=scheduled_at,
            duration=duration,
            status=_M.SCHEDULED,
            host_instance_id=host_instance_id,
            participants=[_participant(one) for one in who],
            provider=provider or MeetingProvider.MANUAL,
            external_meeting_ref=external_meeting_ref,
            metadata_=metadata,
        )
    )
    meeting.calendar_payload = calendar_entry(
        meeting.id,
        subject,
        scheduled_at,
        duration,
        None if host_instance_id is None else _name(known[host_instance_id]),
        [_name(known[one["instance_id"]]) for one in who],
    )
    _audit(uow, meeting, "MEETING_SCHEDULED", {"scheduledAt": plain(scheduled_at)})
    return Done(meeting)


def _participant(given: Mapping[str, Any]) -> JsonObject:
    """A participant under the names that the column has always had."""
    position = given.get("org_position")
    return {
        "agentId": str(given["instance_id"]),
        "orgPosition": None if position is None else position.value,
        "role": given.get("role"),
    }


def _name(agent: AgentInstance) -> str:
    return agent.name or str(agent.id)


@command("write:meetings", "MEETING_STARTED")
async def start_meeting(
    uow: UnitOfWork, meeting_id: UUID, expected_status: MeetingStatus | None = None
) -> Done | Refused:
    """MTG-1. Begin a meeting that was planned."""
    meeting = await _step(uow, meeting_id, _M.IN_PROGRESS, expected_status)
    if isinstance(meeting, Refused):
        return meeting
    meeting.status = _M.IN_PROGRESS
    _audit(uow, meeting, "MEETING_STARTED")
    return Done(meeting)


@command("write:meetings", "MEETING_CANCELLED")
async def cancel_meeting(
    uow: UnitOfWork, meeting_id: UUID, reason: str | None = None, expected_status: MeetingStatus | None = None
) -> Done | Refused:
    """MTG-1. Call off a meeting that has not ended."""
    meeting = await _step(uow, meeting_id, _M.CANCELLED, expected_status)
    if isinstance(meeting, Refused):
        return meeting
    meeting.status = _M.CANCELLED
    _audit(uow, meeting, "MEETING_CANCELLED", description=None if reason is None else redact_value(reason))
    return Done(meeting)


@command("write:meetings", "MEETING_COMPLETED")
async def complete_meeting(
    uow: UnitOfWork,
    meeting_id: UUID,
    notes: str | None = None,
    notes_doc_path: str | None = None,
    action_items: Sequence[Mapping[str, Any]] | None = None,
    expected_status: MeetingStatus | None = None,
) -> Done | Refused:
    """MTG-1, MTG-4. End a meeting. Lists under a heading «Action items» of its notes become action items, besides those
    that are given. A MANUAL meeting may be completed without having been started."""
    meeting = await _step(uow, meeting_id, _M.COMPLETED, expected_status)
    if isinstance(meeting, Refused):
        return meeting
    if meeting.status is _M.SCHEDULED and meeting.provider is not MeetingProvider.MANUAL:
        message = f"A meeting at {meeting.provider.value} is started first; a MANUAL one may be written up afterwards."
        return Refused(Refusal.INVALID_STATE_TRANSITION, message, "meeting_id", (_M.IN_PROGRESS, _M.CANCELLED))
    text = None if notes is None else redact_value(ready(notes))
    items = await _items(uow, meeting, text, list(action_items or ()))
    if isinstance(items, Refused):
        return items
    kept = list(meeting.action_items or ())
    if len(kept) + len(items) > MOST_ITEMS:
        field = "notes" if len(action_items or ()) <= MOST_ITEMS else "action_items"
        return Refused(Refusal.VALIDATION_ERROR, f"A meeting has at most {MOST_ITEMS} action items.", field)
    meeting.status = _M.COMPLETED
    meeting.notes = meeting.notes if text is None else text
    meeting.notes_doc_path = meeting.notes_doc_path if notes_doc_path is None else notes_doc_path
    if items:
        meeting.action_items = [*kept, *items]
    _audit(uow, meeting, "MEETING_COMPLETED", {"actionItems": len(meeting.action_items or ())})
    return Done(meeting)


async def _items(
    uow: UnitOfWork, meeting: Meeting, notes: str | None, given: Sequence[Mapping[str, Any]]
) -> JsonObjects | Refused:
    """What is to be done: first as the input says, then as the notes do; owners are agents by name where one has it."""
    assignees = [(at, one["assignee_id"]) for at, one in enumerate(given) if one.get("assignee_id") is not None]
    here = await agents_by_id(uow, [row_id for _, row_id in assignees], meeting.project_id, "action_items")
    if isinstance(here, Refused):
        position = int((here.field or "").removeprefix("action_items[").removesuffix("]"))
        return Refused(here.code, here.message, f"action_items[{assignees[position][0]}].assignee_id")
    made = []
    for position, one in enumerate(given):
        if not (description := redact_value(ready(one["description"]))):
            message = "Say what is to be done."
            return Refused(Refusal.VALIDATION_ERROR, message, f"action_items[{position}].description")
        made.append(_item(ActionItem(description, None, one.get("due_at")), one.get("assignee_id")))
    try:
        found = items_in(notes or "")
    except ImpossibleDate as error:
        return Refused(Refusal.VALIDATION_ERROR, f"No calendar has the day in this line: {error}", "notes")
    names = await _named(uow, meeting.project_id, {one.owner for one in found if one.owner is not None})
    return made + [_item(one, names.get(one.owner or "")) for one in found]


def _item(item: ActionItem, assignee_id: UUID | None) -> JsonObject:
    made: JsonObject = {"description": item.description, "completed": item.completed}
    if assignee_id is not None:
        made["assigneeAgentId"] = str(assignee_id)
    elif item.owner is not None:
        made["owner"] = item.owner
    if item.due_at is not None:
        made["dueAt"] = plain(item.due_at)
    return made


async def _named(uow: UnitOfWork, project_id: UUID | None, names: Iterable[str]) -> dict[str, UUID]:
    """The agents of the project that have these names; a name that two have means neither."""
    wanted = sorted(names)
    if not wanted or project_id is None:
        return {}
    statement = select(AgentInstance.name, AgentInstance.id).where(
        AgentInstance.tenant_id == uow.tenant_id,
        AgentInstance.project_id == project_id,
        AgentInstance.name.in_(wanted),
        AgentInstance.state != InstanceState.RETIRED,
    )
    found: dict[str, list[UUID]] = {}
    for row in await uow.session.execute(statement):
        found.setdefault(str(row.name), []).append(row.id)
    return {name: ids[0] for name, ids in found.items() if len(ids) == 1}


# --- Action items become tasks (MTG-3) --------------------------------------------------------------------------------


@command("write:meetings", "MEETING_ACTION_ITEMS_CONVERTED")
async def convert_meeting_action_items(uow: UnitOfWork, meeting_id: UUID) -> Done | Refused:
    """MTG-3. Make a task of every action item that is neither done nor a task already; twice makes nothing twice.

    Needs `write:tasks` as well. The task is the agent's who was named, where it may be given work; it stays in INBOX.
    """
    await hold_mode(uow)
    meeting = await _meeting(uow, meeting_id)
    if isinstance(meeting, Refused):
        return meeting
    if meeting.project_id is None:
        message = "The meeting belongs to no project, and a task does."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "meeting_id")
    uow.permit(project_id=meeting.project_id, permission="write:tasks")
    project = await open_project(uow, meeting.project_id, "meeting_id")
    if isinstance(project, Refused):
        return project
    items = [dict(one) for one in meeting.action_items or ()]
    open_items = [one for one in items if not one.get("completed") and not one.get("taskId")]
    willing = await _willing(uow, meeting.project_id, open_items)
    tasks = []
    for item in open_items:
        task = _task(uow, meeting, item)
        item["taskId"] = str(task.id)
        tasks.append(task)
    if tasks:
        meeting.action_items = items
        await uow.session.flush()  # tasks first, what refers to them after
    for item, task in zip(open_items, tasks, strict=True):
        assignee = _id_in(item.get("assigneeAgentId"))
        mine = [] if assignee is None or assignee not in willing else [assignee]
        uow.session.add_all(
            TaskAssignee(tenant_id=uow.tenant_id, task_id=task.id, instance_id=one, position=0) for one in mine
        )
        note_creation(uow, task, mine)
    made = [str(task.id) for task in tasks]
    _audit(uow, meeting, "MEETING_ACTION_ITEMS_CONVERTED", {"taskIds": made})
    return Done(meeting, {"tasks": made})


def _id_in(text: object) -> UUID | None:
    """The id that an item names its agent by; None for a name from an import."""
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _task(uow: UnitOfWork, meeting: Meeting, item: Mapping[str, Any]) -> Task:
    text = ready(str(item.get("description") or "")) or meeting.title
    due_at = item.get("dueAt")
    return add_task(
        uow,
        by_system=True,
        project_id=meeting.project_id,
        title=text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1]}…",
        description=None if len(text) <= LONGEST_TITLE else text,
        type=TaskType.OPS,
        priority=_PRIORITY,
        budget_allocated=BUDGETS[TaskType.OPS],
        due_at=None if due_at is None else datetime.fromisoformat(due_at),
        created_by_ref=f"meeting:{meeting.id}",
    )


async def _willing(uow: UnitOfWork, project_id: UUID, items: Iterable[Mapping[str, Any]]) -> set[UUID]:
    """Of the agents that the items name, those that may be given such work now (TASK-3): nobody in an emergency."""
    named = {key for one in items if (key := _id_in(one.get("assigneeAgentId"))) is not None}
    if not named or await mode_of(uow, project_id) is not OperatorMode.NORMAL:
        return set()
    agents = await hold_instances(uow, sorted(named))
    fit = [one.id for one in agents.values() if one.project_id == project_id and one.state in ASSIGNABLE]
    policies = await policies_for(uow, fit) if fit else {}
    return {one for one in fit if allows(policies[one], TaskType.OPS)}


# --- what they have in common -----------------------------------------------------------------------------------------


async def _meeting(uow: UnitOfWork, meeting_id: UUID) -> Meeting | Refused:
    meeting = await uow.lock(Meeting, meeting_id)
    if meeting is None:
        return Refused(Refusal.NOT_FOUND, "No such meeting.", "meeting_id")
    uow.permit(project_id=meeting.project_id)
    return meeting


async def _step(
    uow: UnitOfWork, meeting_id: UUID, to: MeetingStatus, expected: MeetingStatus | None
) -> Meeting | Refused:
    """The meeting, locked, where the table lets it go there."""
    meeting = await _meeting(uow, meeting_id)
    if isinstance(meeting, Refused):
        return meeting
    refused = refuse_step(MEETING, meeting.status, to, uow.actor_type, expected, expected_field="expected_status")
    if refused is None:
        return meeting
    field = "meeting_id" if refused.field == "to" else refused.field
    return Refused(refused.code, refused.message, field, refused.allowed)


def _audit(
    uow: UnitOfWork,
    meeting: Meeting,
    action: str,
    metadata: JsonObject | None = None,
    description: str | None = None,
) -> None:
    uow.audit(
        action,
        resource=Meeting.__name__,
        resource_id=meeting.id,
        description=description,
        metadata=metadata,
    )
