"""The change records of the regional work: how each task came to where it stands, and what policy denied."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.enums import ActorType, ChangeRecordType
from db.ids import id_from
from db.logs import ChangeDraft

_TASKS: Final = text(
    """
    SELECT t.id, t.project_id, t.title, t.status, t.created_at, t.started_at, t.submitted_at, t.completed_at,
        t.updated_at, t.creator_operator_id AS operator_id, x.instance_id, a.id AS approval_id,
        a.created_at AS asked_at,
        a.decided_at, a.decided_by_operator_id AS voter_id, a.version_id
    FROM tasks t
    LEFT JOIN task_assignees x ON x.tenant_id = t.tenant_id AND x.task_id = t.id
    LEFT JOIN approval_records a ON a.tenant_id = t.tenant_id AND a.task_id = t.id
    WHERE t.tenant_id = :tenant AND t.idempotency_key LIKE 'region-%'
    """
)
_DENIED: Final = text(
    """
    SELECT c.id, c.project_id, c.instance_id, c.version_id, c.started_at AS at, c.tool_name, c.error AS reason
    FROM tool_calls c JOIN runs r ON r.tenant_id = c.tenant_id AND r.id = c.run_id
    WHERE c.tenant_id = :tenant AND c.status = 'DENIED' AND r.idempotency_key LIKE 'region-run-%'
    """
)
_HUMAN: Final = ActorType.HUMAN
_AGENT: Final = ActorType.AGENT
_SYSTEM: Final = ActorType.SYSTEM


async def records_of_work(connection: AsyncConnection, tenant_id: UUID) -> list[ChangeDraft]:
    """All of them, by time."""
    drafts = [draft for row in await connection.execute(_TASKS, {"tenant": tenant_id}) for draft in _of_task(row)]
    for row in await connection.execute(_DENIED, {"tenant": tenant_id}):
        state = {"decision": "DENY", "reason": row.reason, "toolName": row.tool_name, "risk": "RED"}
        drafts.append(
            _draft(
                ChangeRecordType.POLICY_EVALUATED,
                "ToolCall",
                row.id,
                row.at,
                1,
                (_SYSTEM, None),
                f"{row.tool_name} was denied.",
                after_state=state,
                reason=row.reason,
                project_id=row.project_id,
                instance_id=row.instance_id,
                version_id=row.version_id,
            )
        )
    return sorted(drafts, key=lambda one: one.timestamp)


def _of_task(row: Any) -> Iterator[ChangeDraft]:
    human, agent = (_HUMAN, row.operator_id), (_AGENT, row.instance_id)
    about = {"project_id": row.project_id}
    made = row.created_at
    yield _draft(
        ChangeRecordType.TASK_CREATED,
        "Task",
        row.id,
        made,
        1,
        human,
        f"Task «{row.title}» was made.",
        after_state={"status": "INBOX"},
        **about,
    )
    if row.instance_id is None:
        return
    yield _draft(
        ChangeRecordType.TASK_ASSIGNED,
        "Task",
        row.id,
        made + timedelta(minutes=4),
        2,
        human,
        f"«{row.title}» was assigned.",
        after_state={"assigneeIds": [str(row.instance_id)]},
        instance_id=row.instance_id,
        **about,
    )
    steps = [("INBOX", "ASSIGNED", made + timedelta(minutes=4), human)]
    if row.started_at is not None:
        steps.append(("ASSIGNED", "IN_PROGRESS", row.started_at, agent))
    if row.submitted_at is not None:
        steps.append(("IN_PROGRESS", "REVIEW", row.submitted_at, agent))
    if row.approval_id is not None:
        yield from _of_approval(row)
        steps.append(("REVIEW", "NEEDS_APPROVAL", row.asked_at, (_SYSTEM, None)))
    if row.status not in {"INBOX", steps[-1][1]}:
        by = {"DONE": human, "CANCELED": human, "FAILED": agent}.get(row.status, (_SYSTEM, None))
        steps.append((steps[-1][1], row.status, row.updated_at, by))
    for number, (before, after, at, by) in enumerate(steps):
        yield _draft(
            ChangeRecordType.TASK_TRANSITIONED,
            "Task",
            row.id,
            at,
            3 + number,
            by,
            f"«{row.title}» went from {before} to {after}.",
            before_state={"status": before},
            after_state={"status": after},
            **about,
        )


def _of_approval(row: Any) -> Iterator[ChangeDraft]:
    about = {"project_id": row.project_id, "instance_id": row.instance_id, "version_id": row.version_id}
    summary = f"Complete «{row.title}»"
    yield _draft(
        ChangeRecordType.APPROVAL_REQUESTED,
        "ApprovalRecord",
        row.approval_id,
        row.asked_at,
        1,
        (_AGENT, row.instance_id),
        f"Approval asked for: {summary}",
        after_state={"status": "PENDING", "requestType": "COMPLETE_TASK"},
        **about,
    )
    if row.decided_at is not None:
        yield _draft(
            ChangeRecordType.APPROVAL_DECIDED,
            "ApprovalRecord",
            row.approval_id,
            row.decided_at,
            2,
            (_HUMAN, row.voter_id),
            f"Approved: {summary}",
            before_state={"status": "PENDING"},
            after_state={"status": "APPROVED", "decision": "APPROVED"},
            reason="Looks right.",
            **about,
        )


def _draft(
    kind: ChangeRecordType,
    entity: str,
    row_id: UUID,
    at: datetime,
    number: int,
    by: tuple[ActorType, UUID | None],
    summary: str,
    **more: Any,
) -> ChangeDraft:
    """A record whose id follows from the row's, and from which of the row's records it is."""
    return ChangeDraft(
        id=id_from(at, row_id.int * 31 + number),
        type=kind,
        actor_type=by[0],
        actor_id=by[1],
        target_entity=entity,
        target_id=row_id,
        timestamp=at,
        summary=summary,
        **more,
    )
