"""What was learnt, as answers: who is best for a kind of work, what it will take, what somebody is good at (LRN-3,
LRN-4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import strawberry
from sqlalchemy import select

from app.auth.permissions import READ_PERMISSION
from app.graph.context import Info, OperationContext, context_of
from app.graph.entity import json_type, key, key_of
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import argument, described_enum, graph_field, list_of, optional
from app.graph.ids import parse_id_of
from app.graph.registry import ENTITIES, Named
from app.intelligence.rules import FEWEST_TASKS, GOOD, WEAK, Record, Trait, estimate, suitability, together, trait_of
from db import models
from db.base import JsonObject
from db.enums import InstanceState, TaskType
from db.enums.described import Described

if TYPE_CHECKING:
    from app.intelligence.types import AgentPattern
    from app.registry.types import AgentInstance

MOST: Final = 50
"""Entries of an answer."""
_DONE, _PATTERN, _INSTANCE = (
    models.AgentPerformance.__table__,
    models.AgentPattern.__table__,
    models.AgentInstance.__table__,
)


class AgentTrait(Described):
    """What an insight says of an agent (LRN-3)."""

    STRENGTH = "STRENGTH", "It is good at this."
    WEAKNESS = "WEAKNESS", "It is bad at this."


@json_type
class AgentRanking:
    """How good an agent is for a kind of work (LRN-3)."""

    instance: AgentInstance | None = key_of("AgentInstance", "The agent.")
    score: float = key("0.7 of its success rate and 0.3 of its cheapness, 0 to 1; 0.5 without history.")
    success_rate: float | None = key("Share of its tasks of the type that ended DONE; null without any.")
    tasks: int = key("Its tasks of the type that are counted.")
    avg_cost_usd: float = key("Mean cost of one in US dollars; 0 where none is known.")


@json_type
class TaskEstimate:
    """What the next task of a type will take, by those that were finished (LRN-4)."""

    cost_usd: float = key("Expected cost in US dollars; 0.5 where nothing is known.")
    minutes: float = key("Expected time in minutes; 30 where nothing is known.")
    confidence: float = key("How sure that is, 0 to 1; it grows with the number of tasks.")
    tasks: int = key("The tasks that it rests on.")


@json_type
class TypeRecord:
    """What an agent did of one kind of work."""

    task_type: str = key("The kind of work.")
    success_rate: float = key("Share that ended DONE.")
    tasks: int = key("How many are counted.")
    avg_cost_usd: float = key("Mean cost in US dollars; 0 where none is known.")
    avg_minutes: float = key("Mean time in minutes; 0 where none is known.")


@json_type
class AgentProfile:
    """What an agent is good and bad at, over all versions that it ran (LRN-4)."""

    success_rate: float | None = key("Share of all its tasks that ended DONE; null without any.")
    tasks: int = key("All its tasks that are counted.")
    best_types: list[TypeRecord] = key(f"Kinds of work with a success rate from {GOOD} on, the best first.")
    worst_types: list[TypeRecord] = key(f"Kinds of work with a success rate below {WEAK}, the worst first.")


@json_type
class LearningInsight:
    """Something that was learnt of an agent of a project (LRN-3)."""

    instance: AgentInstance | None = key_of("AgentInstance", "The agent.")
    trait: AgentTrait = key("What it is.")
    subject: str = key("At what: a kind of work, or what somebody noted.")
    confidence: float = key("How sure it is, 0 to 1; the list is sorted by it.")
    tasks: int | None = key("The tasks of that kind that are counted; null where it was noted and not counted.")
    pattern: AgentPattern | None = key_of("AgentPattern", "The pattern that says so; null where the counts alone do.")


def _project(context: OperationContext, text: str | None) -> UUID | None:
    """The project that is asked about; with none, the whole tenant. Raises Forbidden outside of the grant."""
    needed = READ_PERMISSION["AgentPerformance"]
    if not context.actor.may_read("AgentPerformance"):
        raise Forbidden(needed)
    project_id = None if text is None else parse_id_of(ENTITIES["Project"].prefix, "Project", text, "projectId")
    if not context.actor.scope(needed).covers(project_id):
        raise Forbidden(needed)
    return project_id


def _record(row: Any) -> Record:
    return Record(row.success_count, row.failure_count, float(row.avg_cost_usd), row.avg_completion_time_ms)


def _by(rows: Iterable[Any], name: str) -> dict[Any, Record]:
    """The records of several versions as one, by a column."""
    found: dict[Any, list[Record]] = defaultdict(list)
    for row in rows:
        found[getattr(row, name)].append(_record(row))
    return {one: together(records) for one, records in found.items()}


def _first(first: int) -> int:
    if not 1 <= first <= MOST:
        raise BadUserInput(f"`first` is 1 to {MOST}.", "first")
    return first


async def _best(
    _root: Any,
    info: Info,
    projectId: str,  # noqa: N803  # the API's name
    taskType: Any,  # noqa: N803
    first: int = 5,
) -> list[JsonObject]:
    context = context_of(info)
    project_id, most = _project(context, projectId), _first(first)
    kind = TaskType(taskType)
    joined = _INSTANCE.outerjoin(
        _DONE,
        (_DONE.c.tenant_id == _INSTANCE.c.tenant_id)
        & (_DONE.c.instance_id == _INSTANCE.c.id)
        & (_DONE.c.task_type == kind.value),
    )
    columns = [_DONE.c[name] for name in ("success_count", "failure_count", "avg_cost_usd", "avg_completion_time_ms")]
    statement = (
        select(_INSTANCE.c.id, *columns)
        .select_from(joined)
        .where(
            context.reader.tenant(_INSTANCE),  # type: ignore[arg-type]
            _INSTANCE.c.project_id == project_id,
            _INSTANCE.c.state != InstanceState.RETIRED,
        )
    )
    rows = await context.reading.rows(statement)
    agents = {row.id: Record(0, 0, 0.0, 0.0) for row in rows}
    agents |= _by((row for row in rows if row.success_count is not None), "id")
    ranked = sorted(agents.items(), key=lambda one: (-suitability(one[1]), -one[1].tasks, one[0]))
    return [
        {
            "instanceId": str(instance_id),
            "score": suitability(record),
            "successRate": record.success_rate,
            "tasks": record.tasks,
            "avgCostUsd": record.avg_cost,
        }
        for instance_id, record in ranked[:most]
    ]


async def _estimate(
    _root: Any,
    info: Info,
    taskType: Any,  # noqa: N803  # the API's name
    projectId: str | None = None,  # noqa: N803
) -> JsonObject:
    context = context_of(info)
    project_id = _project(context, projectId)
    statement = select(_DONE).where(context.reader.tenant(_DONE), _DONE.c.task_type == TaskType(taskType).value)  # type: ignore[arg-type]
    if project_id is not None:
        statement = statement.where(_DONE.c.project_id == project_id)
    found = estimate(map(_record, await context.reading.rows(statement)))
    return {
        "costUsd": found.cost_usd,
        "minutes": found.minutes,
        "confidence": found.confidence,
        "tasks": found.tasks,
    }


async def _profile(_root: Any, info: Info, instanceId: str) -> JsonObject | None:  # noqa: N803  # the API's name
    context = context_of(info)
    if not context.actor.may_read("AgentPerformance"):
        raise Forbidden(READ_PERMISSION["AgentPerformance"])
    entity = ENTITIES["AgentInstance"]
    key = parse_id_of(entity.prefix, entity.name, instanceId, "instanceId")
    instance = await context.loaders.row(entity, scoped=True).load(key)
    if instance is None:
        return None
    visible = context.reader.visible(ENTITIES["AgentPerformance"])
    rows = await context.reading.rows(select(_DONE).where(*visible, _DONE.c.instance_id == instance.id))
    types = _by(rows, "task_type")
    whole = together(types.values())
    known = [(kind, record, record.success_rate) for kind, record in types.items() if record.tasks >= FEWEST_TASKS]
    shown = sorted(known, key=lambda one: (-(one[2] or 0.0), -one[1].tasks, one[0]))
    return {
        "successRate": whole.success_rate,
        "tasks": whole.tasks,
        "bestTypes": [_type(kind, record) for kind, record, rate in shown if rate is not None and rate >= GOOD],
        "worstTypes": [_type(kind, record) for kind, record, rate in shown[::-1] if rate is not None and rate < WEAK],
    }


def _type(kind: str, record: Record) -> JsonObject:
    return {
        "taskType": kind,
        "successRate": record.success_rate,
        "tasks": record.tasks,
        "avgCostUsd": record.avg_cost,
        "avgMinutes": record.avg_ms / 60_000,
    }


async def _insights(_root: Any, info: Info, projectId: str, first: int = 20) -> list[JsonObject]:  # noqa: N803
    context = context_of(info)
    project_id, most = _project(context, projectId), _first(first)
    counted = select(_DONE).where(context.reader.tenant(_DONE), _DONE.c.project_id == project_id)  # type: ignore[arg-type]
    noted = (
        select(*(_PATTERN.c[name] for name in ("id", "instance_id", "pattern", "confidence")))
        .where(
            context.reader.tenant(_PATTERN),  # type: ignore[arg-type]
            _PATTERN.c.project_id == project_id,
            _PATTERN.c.confidence > GOOD,
        )
        .order_by(_PATTERN.c.confidence.desc(), _PATTERN.c.id)
        .limit(most)
    )
    found: dict[tuple[UUID, str], JsonObject] = {}
    pairs: dict[tuple[UUID, str], list[Record]] = defaultdict(list)
    for row in await context.reading.rows(counted):
        pairs[row.instance_id, row.task_type].append(_record(row))
    for (instance_id, kind), records in pairs.items():
        record = together(records)
        if (trait := trait_of(record)) is not None:
            rate = record.success_rate or 0.0
            found[instance_id, trait.named(kind)] = {
                "instanceId": str(instance_id),
                "trait": trait.name,
                "subject": kind,
                "confidence": rate if trait is Trait.STRENGTH else 1 - rate,
                "tasks": record.tasks,
            }
    for row in await context.reading.rows(noted):
        word, _, subject = row.pattern.partition(":")
        if word in list(Trait):
            known = found.setdefault(
                (row.instance_id, row.pattern),
                {"instanceId": str(row.instance_id), "trait": Trait(word).name, "subject": subject, "tasks": None},
            )
            known |= {"patternId": str(row.id), "confidence": row.confidence}
    return sorted(found.values(), key=lambda one: (-one["confidence"], one["instanceId"], one["subject"]))[:most]


_PROJECT = argument("project_id", strawberry.ID, "The project.")
_FIRST = argument("first", int, f"How many, 1 to {MOST}.", 5)

FIELDS: Final = (
    graph_field(
        "best_instances",
        list_of(Named("AgentRanking")),
        "The agents of a project that are best for a kind of work, by what they did of it (LRN-3). Retired ones are not"
        " among them.",
        _best,
        [_PROJECT, argument("task_type", described_enum(TaskType), "The kind of work."), _FIRST],
    ),
    graph_field(
        "task_estimate",
        Named("TaskEstimate"),
        "What the next task of a type will cost and take (LRN-4).",
        _estimate,
        [
            argument("task_type", described_enum(TaskType), "The kind of work."),
            argument("project_id", optional(strawberry.ID), "By the tasks of this project alone.", None),
        ],
    ),
    graph_field(
        "performance_profile",
        optional(Named("AgentProfile")),
        "What an agent is good and bad at (LRN-4). Null where there is no such agent.",
        _profile,
        [argument("instance_id", strawberry.ID, "The agent.")],
    ),
    graph_field(
        "learning_insights",
        list_of(Named("LearningInsight")),
        "What was learnt of a project's agents, the surest first: by their counts, and by patterns that are sure enough"
        " (LRN-3).",
        _insights,
        [_PROJECT, argument("first", int, f"How many, 1 to {MOST}.", 20)],
    ),
)
