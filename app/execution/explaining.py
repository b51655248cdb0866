"""Why a task may or may not go on: the verdict of policy for its first agent, written by nobody (VIEW-4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import strawberry
from sqlalchemy import select

from app.auth.actor import ActorKind
from app.auth.permissions import READ_PERMISSION
from app.commands import Refused
from app.execution.seeing import require, seen_task
from app.governance.asking import action_of
from app.governance.loading import situation_of
from app.governance.policy import Action, ActionType, PolicyLevel, evaluate
from app.governance.question import Question
from app.governance.verdicts import decision_json
from app.graph.context import Info, OperationContext, context_of
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import argument, described_enum, graph_field, optional
from app.graph.registry import Named, camel
from db import models
from db.base import JsonObject
from db.enums import InstanceState, PolicyVerdict, RiskLevel, TaskStatus

_NEXT: Final = {
    TaskStatus.INBOX: TaskStatus.ASSIGNED,
    TaskStatus.ASSIGNED: TaskStatus.IN_PROGRESS,
    TaskStatus.IN_PROGRESS: TaskStatus.REVIEW,
    TaskStatus.REVIEW: TaskStatus.DONE,
    TaskStatus.NEEDS_APPROVAL: TaskStatus.IN_PROGRESS,
    TaskStatus.BLOCKED: TaskStatus.IN_PROGRESS,
    TaskStatus.FAILED: TaskStatus.INBOX,
}
"""The step that is asked about where none is named."""
_ASSIGNEE: Final = models.TaskAssignee.__table__


async def _resolve(
    _root: Any,
    info: Info,
    taskId: str,  # noqa: N803  # the API's name
    to: Any = None,
    toolName: str | None = None,  # noqa: N803
    estimatedCostUsd: float | None = None,  # noqa: N803
) -> JsonObject | None:
    context = context_of(info)
    require(context, "PolicyEnvelope")
    task = await seen_task(context, taskId)
    if task is None:
        return None
    status = TaskStatus(task.status)
    action = action_of(
        ActionType.TRANSITION if toolName is None else ActionType.TOOL_CALL,
        toolName,
        None,
        None,
        _NEXT.get(status, TaskStatus.DONE) if to is None else TaskStatus(to),
        estimatedCostUsd,
        None,
        task.id,
    )
    if isinstance(action, Refused):
        raise BadUserInput(action.message, camel(action.field or "taskId"))
    assignee_id = await _first_assignee(context, task.id)
    if context.actor.kind is ActorKind.INSTANCE and assignee_id not in (None, context.actor.id):
        raise Forbidden(READ_PERMISSION["PolicyEnvelope"])  # the policy that binds another (decision 31)
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    if assignee_id is None:
        return _unassigned(action, now)
    question = Question(tenant_id=context.actor.tenant_id, now=now, instance_id=assignee_id, task_id=task.id)
    (row,) = await context.reading.rows(question.statement)
    found = situation_of(row, question)
    answer = decision_json(found.facts.policy, action, evaluate(found.facts, action), now)
    if found.facts.state is not InstanceState.ACTIVE and answer["decision"] != PolicyVerdict.DENY:
        reason = f"The agent is {found.facts.state}, not ACTIVE."
        answer |= {"decision": PolicyVerdict.DENY.value, "reason": reason, "requiredApprovals": []}
        answer["triggeredRules"] = [*answer["triggeredRules"], f"assignee_not_active:{found.facts.state}"]
        answer["violations"] = [*answer["violations"], "ASSIGNEE_NOT_ACTIVE"]
        answer["remediationHints"] = [*answer["remediationHints"], "Give the task to an agent that is ACTIVE."]
    return answer


async def _first_assignee(context: OperationContext, task_id: UUID) -> UUID | None:
    statement = (
        select(_ASSIGNEE.c.instance_id)
        .where(context.reader.tenant(_ASSIGNEE), _ASSIGNEE.c.task_id == task_id)  # type: ignore[arg-type]
        .order_by(_ASSIGNEE.c.position)
        .limit(1)
    )
    rows = await context.reading.rows(statement)
    return rows[0].instance_id if rows else None


def _unassigned(action: Action, now: datetime) -> JsonObject:
    """A task of nobody's: somebody has to say whose it is."""
    reason = "Nobody is assigned to the task."
    return {
        "decision": PolicyVerdict.NEEDS_APPROVAL.value,
        "actionType": action.type.value,
        "toolName": action.tool,
        "riskLevel": RiskLevel.GREEN.value,
        "autonomyTier": 0,
        "reason": reason,
        "triggeredRules": ["task_unassigned"],
        "violations": [],
        "remediationHints": ["Assign the task to an agent, or let one claim it."],
        "requiredApprovals": [{"type": "TRANSITION", "reason": reason}],
        "source": PolicyLevel.DEFAULT.value,
        "effectiveEnvelope": [],
        "evaluatedAt": now.isoformat(),
    }


FIELDS: Final = (
    graph_field(
        "task_explain",
        optional(Named("PolicyDecision")),
        "Why a task may or may not go on: what policy says to the next step, or to a tool, of its first agent; nothing"
        " is written (VIEW-4). A task of nobody's is NEEDS_APPROVAL, one whose agent is not ACTIVE a DENY. Null where"
        " there is no such task.",
        _resolve,
        [
            argument("task_id", strawberry.ID, "The task."),
            argument(
                "to", optional(described_enum(TaskStatus)), "The step; the next one of its life if not said.", None
            ),
            argument("tool_name", optional(str), "A tool, in the place of a step.", None),
            argument("estimated_cost_usd", optional(float), "What it is expected to cost, in US dollars.", None),
        ],
    ),
)
