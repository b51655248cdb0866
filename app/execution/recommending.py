"""Who would be best for a task, with the reasons (RTE-1 to RTE-3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import strawberry

from app.execution.candidates import candidates_in, candidates_statement
from app.execution.rules.routing import RECOMMENDED, delegation, ranked
from app.execution.seeing import require, seen_task
from app.graph.context import Info, context_of
from app.graph.entity import json_type, key, key_of
from app.graph.errors import BadUserInput
from app.graph.fields import argument, graph_field, list_of, optional
from app.graph.registry import Named
from db.base import JsonObject
from db.enums import TaskType

if TYPE_CHECKING:
    from app.registry.types import AgentInstance

MOST_CAPABILITIES: Final = 20


@json_type
class ScorePart:
    """One part of a score."""

    name: str = key("What it is for, such as `skill` or `load`.")
    share: float = key("What it adds to the score.")


@json_type
class TaskRecommendation:
    """An agent for a task, with its scores (RTE-1, RTE-3)."""

    instance: AgentInstance | None = key_of("AgentInstance", "The agent.")
    score: float = key("How well it fits, 0 to 1; the list is sorted by it (RTE-1).")
    parts: list[ScorePart] = key("What the score is made of.")
    reasoning: str = key("The parts in words.")
    load: int = key("Its tasks that are ASSIGNED or IN_PROGRESS.")
    budget_left_usd: float | None = key(
        "What it may still spend in US dollars, today and this month; null for no limit."
    )
    delegation_score: float = key("How well a part of another task would be with it, about 0 to 90 (RTE-3).")
    delegation_parts: list[ScorePart] = key("What that score is made of.")


async def _resolve(
    _root: Any,
    info: Info,
    taskId: str,  # noqa: N803  # the API's name
    requiredCapabilities: list[str] | None = None,  # noqa: N803
) -> list[JsonObject] | None:
    context = context_of(info)
    require(context, "AgentInstance", "AgentPerformance")
    wanted = requiredCapabilities or []
    if len(wanted) > MOST_CAPABILITIES:
        message = f"`requiredCapabilities` has {len(wanted)} entries, at most {MOST_CAPABILITIES} are taken."
        raise BadUserInput(message, "requiredCapabilities")
    task = await seen_task(context, taskId)
    if task is None:
        return None
    kind, now = TaskType(task.type), datetime.now(UTC)
    statement = candidates_statement(context.actor.tenant_id, task.project_id, task.id, kind)
    found = ranked(candidates_in(await context.reading.rows(statement), kind, now))[:RECOMMENDED]
    answers = []
    for one in found:
        delegated = delegation(one.candidate, wanted)
        left = one.candidate.budget_left
        answers.append(
            {
                "instanceId": str(one.candidate.id),
                "score": one.score,
                "parts": _parts(one.parts),
                "reasoning": one.reasoning,
                "load": one.candidate.load,
                "budgetLeftUsd": None if left is None else float(left),
                "delegationScore": delegated.score,
                "delegationParts": _parts(delegated.parts),
            }
        )
    return answers


def _parts(parts: tuple[tuple[str, float], ...]) -> list[JsonObject]:
    return [{"name": name, "share": share} for name, share in parts]


FIELDS: Final = (
    graph_field(
        "task_recommendations",
        optional(list_of(Named("TaskRecommendation"))),
        f"The {RECOMMENDED} agents of a task's project that it would best be given to, and why: ACTIVE ones with budget"
        " that may do such tasks and do not have it yet (RTE-2). Null where there is no such task.",
        _resolve,
        [
            argument("task_id", strawberry.ID, "The task."),
            argument(
                "required_capabilities",
                optional(list_of(str)),
                "What a part of it takes, for the score of delegation: tags of the agents' templates.",
                None,
            ),
        ],
    ),
)
