"""Search over tasks: words that begin so, in titles, descriptions and labels (TASK-6, decision 23)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import strawberry
from sqlalchemy import ARRAY, Boolean, Text, Uuid, bindparam, case, column, exists, false, func, or_, select, text, true
from sqlalchemy.sql import ColumnElement

from app.execution.seeing import require
from app.graph.context import Info, OperationContext, context_of
from app.graph.entity import json_type, key, key_of
from app.graph.errors import BadUserInput
from app.graph.fields import argument, described_enum, graph_field, list_of, optional
from app.graph.ids import parse_id_of
from app.graph.registry import ENTITIES, Named
from db import models
from db.base import JsonObject
from db.enums import TaskStatus, TaskType
from db.functions.search import MOST_HITS
from db.ids import first_id_at

if TYPE_CHECKING:
    from app.execution.types import Task

USUAL: Final = 50
MOST: Final = 200
LONGEST: Final = 500
"""Characters of what is searched for."""
MOST_WORDS: Final = 20
FEWEST_CHARACTERS: Final = 2
_WORD: Final = re.compile(r"[^\W_]+")
_SIMPLE: Final = text("'simple'::regconfig")
_ASSIGNEE: Final = models.TaskAssignee.__table__


def words_of(given: str, name: str = "text") -> list[str]:
    """The words that are searched for, in lower case. Raises BadUserInput where there is nothing to search for."""
    if len(given) > LONGEST:
        raise BadUserInput(f"`{name}` has {len(given)} characters, at most {LONGEST} are taken.", name)
    words = list(dict.fromkeys(_WORD.findall(given.lower())))
    if sum(map(len, words)) < FEWEST_CHARACTERS:
        raise BadUserInput(f"`{name}` has at least {FEWEST_CHARACTERS} letters or digits.", name)
    if len(words) > MOST_WORDS:
        raise BadUserInput(f"`{name}` has {len(words)} words, at most {MOST_WORDS} are taken.", name)
    return words


def _labels_of(given: str) -> Any:
    return bindparam(None, list(dict.fromkeys([given.strip(), *words_of(given)])), ARRAY(Text))


def query_of(given: str, weight: str = "") -> ColumnElement[Any]:
    """What a text matches that has a word beginning with each of these; `weight` says in which part of it."""
    return func.to_tsquery(_SIMPLE, " & ".join(f"{word}:*{weight}" for word in words_of(given)))


def task_hits(given: str) -> Any:
    """The tasks that have every one of these words, or a label that is one of them, as a table of `id` and `in_title`;
    the best ones, a bounded number. To be joined with the tasks, whose wall and conditions hold as ever."""
    found = func.gateway.search_tasks(query_of(given), query_of(given, "A"), _labels_of(given))
    return found.table_valued(column("id", Uuid), column("in_title", Boolean), name="hit")


def seen_hits(context: OperationContext, hits: Any, given: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Which hits the caller may find, and whether it was by their title: of a task that hides something from them, by
    what they see of it alone (PII-4)."""
    entity = ENTITIES["Task"]
    table, hiding = entity.table, entity.hiding
    if hiding is None or context.actor.can(hiding.permission):
        return true(), hits.c.in_title
    wanted = query_of(given)
    title, description, labels = (
        hiding.shown(table, name, context.actor.id) for name in ("title", "description", "labels")
    )
    in_title = func.to_tsvector(_SIMPLE, title).op("@@")(wanted)
    in_texts = func.to_tsvector(_SIMPLE, title + " " + func.coalesce(description, "")).op("@@")(wanted)
    in_labels = labels.op("&&")(_labels_of(given))
    hides = table.c[hiding.names].is_not(None)
    return or_(~hides, in_texts, func.coalesce(in_labels, false())), case((hides, in_title), else_=hits.c.in_title)


@json_type
class TaskSearchResult:
    """What was found (TASK-6)."""

    total: int = key(f"How many were found in all; of a common word no more than {MOST_HITS} are looked at.")
    tasks: list[Task] = key_of("Task", "Those that have the words in their title first, then the newest.", "taskIds")


def _conditions(context: OperationContext, given: dict[str, Any]) -> list[ColumnElement[bool]]:
    table = ENTITIES["Task"].table
    found: list[ColumnElement[bool]] = [*context.reader.visible(ENTITIES["Task"])]
    for name, values in (("status", "statuses"), ("type", "types"), ("priority", "priorities")):
        if given.get(values) is not None:
            found.append(table.c[name].in_([getattr(one, "value", one) for one in given[values]]))
    if (project := given.get("projectId")) is not None:
        found.append(table.c.project_id == _key("Project", project, "projectId"))
    if (assignee := given.get("assigneeId")) is not None:
        instance_id = _key("AgentInstance", assignee, "assigneeId")
        found.append(
            exists().where(
                _ASSIGNEE.c.tenant_id == table.c.tenant_id,
                _ASSIGNEE.c.task_id == table.c.id,
                _ASSIGNEE.c.instance_id == instance_id,
            )
        )
    since, until = given.get("from"), given.get("to")
    if isinstance(since, datetime):
        found.append(table.c.id >= first_id_at(since))
    if isinstance(until, datetime):
        found.append(table.c.id < first_id_at(until))
    return found


def _key(name: str, value: str, where: str) -> UUID:
    return parse_id_of(ENTITIES[name].prefix, name, value, where)


async def _resolve(_root: Any, info: Info, text: str, first: int = USUAL, **given: Any) -> JsonObject:
    context = context_of(info)
    require(context, "Task")
    if not 1 <= first <= MOST:
        raise BadUserInput(f"`first` is 1 to {MOST}.", "first")
    hits, table = task_hits(text), ENTITIES["Task"].table
    is_seen, in_title = seen_hits(context, hits, text)
    statement = (
        select(table.c.id, func.count().over().label("total"))
        .join(hits, hits.c.id == table.c.id)
        .where(*_conditions(context, given), is_seen)
        .order_by(in_title.desc(), table.c.id.desc())
        .limit(first)
    )
    rows = await context.reading.rows(statement)
    return {"total": rows[0].total if rows else 0, "taskIds": [str(row.id) for row in rows]}


FIELDS: Final = (
    graph_field(
        "task_search",
        Named("TaskSearchResult"),
        "Tasks by their words: every word of the text begins a word of the title or the description, in any case; or a"
        " label is one of them (TASK-6).",
        _resolve,
        [
            argument("text", str, f"What to look for, {FEWEST_CHARACTERS} letters or digits at least."),
            argument("first", int, f"How many, 1 to {MOST}.", USUAL),
            argument("statuses", optional(list_of(described_enum(TaskStatus))), "Only in one of these.", None),
            argument("types", optional(list_of(described_enum(TaskType))), "Only of one of these kinds.", None),
            argument("priorities", optional(list_of(int)), "Only of one of these priorities, 1 to 4.", None),
            argument("project_id", optional(strawberry.ID), "Only in this project.", None),
            argument("assignee_id", optional(strawberry.ID), "Only those of this agent.", None),
            argument("from_", optional(datetime), "Only those made at this moment or later.", None),
            argument("to", optional(datetime), "Only those made before this moment.", None),
        ],
    ),
)
