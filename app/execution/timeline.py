"""What happened to a task, in order: changes, messages, runs, tool calls, approvals and events as one list (TASK-8)."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import orjson
import strawberry
from sqlalchemy import ARRAY, ColumnElement, Uuid, and_, bindparam, func, literal, or_, select, true

from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.entity import Entity
from app.graph.errors import BadUserInput
from app.graph.fields import GraphField, Shape, argument, described_enum, graph_field, list_of, optional
from app.graph.loaders import Loader
from app.graph.pricing import LIST_SIZE
from app.graph.registry import ENTITIES, TYPES, EntityType, Named
from app.redaction import shown
from db.enums.described import Described

USUAL: Final = 50
MOST: Final = 200
"""Entries of one page."""
_LONGEST: Final = 300
"""Characters of a sentence out of somebody's text."""


class TaskTimelineKind(Described):
    """What an entry of a task's timeline is."""

    CHANGE = "CHANGE", "A governed change, such as a step of the task."
    APPROVAL = "APPROVAL", "A request for approval was made."
    RUN = "RUN", "A run began."
    TOOL_CALL = "TOOL_CALL", "A tool was called."
    MESSAGE = "MESSAGE", "Somebody wrote in the thread."
    EVENT = "EVENT", "Telemetry."


described_enum(TaskTimelineKind)


@dataclass(frozen=True)
class _Kind:
    """One kind of entry: the rows that it is made of, their time, and what they say."""

    kind: TaskTimelineKind
    entity: str
    clock: str
    of_task: Callable[[Any, ColumnElement[UUID]], ColumnElement[bool]]
    says: Callable[[Any], str]


def _by_task_id(table: Any, task_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    return table.c.task_id == task_id  # type: ignore[no-any-return]


def _by_target(table: Any, task_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    return and_(table.c.target_entity == "Task", table.c.target_id == task_id)


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


def _cut(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _of_change(row: Any) -> str:
    before, after = (row.before_state or {}).get("status"), (row.after_state or {}).get("status")
    step = f"{before} to {after}" if before and after else _plain(row.type)
    return f"{step}: {_cut(row.reason)}" if row.reason else step


def _of_message(row: Any) -> str:
    return f"{_plain(row.type)}: {_cut(row.content_redacted or shown(row, 'content'))}"


def _of_run(row: Any) -> str:
    cost = float(row.cost_usd)
    return f"{_plain(row.status)}, {row.model}, {cost:.4f} US dollars" + (f": {_cut(row.error)}" if row.error else "")


def _of_tool_call(row: Any) -> str:
    said = f"{row.tool_name} ({_plain(row.risk_level)}): {_plain(row.status)}"
    return f"{said}: {_cut(row.error)}" if row.error else said


def _of_approval(row: Any) -> str:
    return f"{row.request_type}: {_plain(row.status)}: {_cut(row.action_summary)}"


def _of_event(row: Any) -> str:
    payload = row.payload or {}
    said = payload.get("stage") or payload.get("toolName") or payload.get("status") or payload.get("summary")
    return f"{_plain(row.type)}: {_cut(str(said))}" if said else _plain(row.type)


_KINDS: Final = (
    _Kind(TaskTimelineKind.CHANGE, "ChangeRecord", "timestamp", _by_target, _of_change),
    _Kind(TaskTimelineKind.APPROVAL, "ApprovalRecord", "requested_at", _by_task_id, _of_approval),
    _Kind(TaskTimelineKind.RUN, "Run", "started_at", _by_task_id, _of_run),
    _Kind(TaskTimelineKind.TOOL_CALL, "ToolCall", "started_at", _by_task_id, _of_tool_call),
    _Kind(TaskTimelineKind.MESSAGE, "Message", "created_at", _by_task_id, _of_message),
    _Kind(TaskTimelineKind.EVENT, "OpEvent", "timestamp", _by_task_id, _of_event),
)
"""In the order in which they stand where they are of the same millisecond."""


@dataclass(frozen=True, order=True)
class Position:
    """Where an entry stands in its timeline; totally ordered."""

    at: datetime
    rank: int
    id: UUID

    @property
    def text(self) -> str:
        """The position as a cursor."""
        return base64.urlsafe_b64encode(orjson.dumps([self.at.isoformat(), self.rank, self.id.hex])).decode()

    @classmethod
    def of(cls, text: str) -> Position:
        """The position of a cursor. Raises BadUserInput."""
        try:
            at, rank, row_id = orjson.loads(base64.urlsafe_b64decode(text.encode()))
            found = cls(datetime.fromisoformat(at), int(rank), UUID(row_id))
            if found.at.tzinfo is None:
                raise ValueError("no zone")
        except (ValueError, TypeError, AttributeError):
            raise BadUserInput("`after` is the `cursor` of an entry of this timeline.", "after") from None
        return found


@strawberry.type(description="One thing that happened to a task, or about it (TASK-8).")
class TaskTimelineEntry:
    """An entry, and the row that it is made of."""

    kind: TaskTimelineKind = strawberry.field(description="What it is.")
    at: datetime = strawberry.field(description="When it happened.")
    summary: str = strawberry.field(
        description="What happened, in a line; of a text that has a redacted version, that (PII-4)."
    )
    node: Entity = strawberry.field(description="The row that it is made of.")
    cursor: str = strawberry.field(description="Its place in the timeline, for `after`.")


@dataclass(frozen=True)
class Entry:
    """An entry as the loader finds it."""

    position: Position
    source: _Kind
    row: Any

    def shown(self) -> TaskTimelineEntry:
        """As the graph shows it."""
        return TaskTimelineEntry(
            kind=self.source.kind,
            at=self.position.at,
            summary=self.source.says(self.row),
            node=self.row,
            cursor=self.position.text,
        )


class TimelineLoader(Loader[UUID, list[Entry]]):
    """Pages of timelines by task, the same page of each."""

    def __init__(self, context: OperationContext, first: int, after: Position | None) -> None:
        super().__init__()
        self._context, self._first, self._after = context, first, after

    async def batch_load_fn(self, keys: list[UUID]) -> list[list[Entry]]:
        """One statement for each kind that the caller may read, however many tasks."""
        found: dict[UUID, list[Entry]] = defaultdict(list)
        for rank, source in enumerate(_KINDS):
            if not self._context.actor.may_read(source.entity):
                continue
            entity = ENTITIES[source.entity]
            self._context.loaders.fetcher.observe(entity.name, len(keys))
            for found_row in await self._context.reading.rows(self._statement(entity, source, rank, keys)):
                task_id, row = found_row[0], entity.row(*found_row[1:])
                position = Position(getattr(row, source.clock) or row.created_at, rank, row.id)
                found[task_id].append(Entry(position, source, row))
        return [sorted(found[key], key=lambda entry: entry.position)[: self._first] for key in keys]

    def _statement(self, entity: EntityType, source: _Kind, rank: int, keys: list[UUID]) -> Any:
        table = entity.table
        wanted = func.unnest(bindparam(None, keys, ARRAY(Uuid))).table_valued("id", name="wanted").render_derived()
        clock = table.c[source.clock]
        at = func.coalesce(clock, table.c.created_at) if clock.nullable else clock
        conditions = [*self._context.reader.visible(entity), source.of_task(table, wanted.c.id)]
        if self._after is not None:
            conditions.append(_behind(at, table.c.id, rank, self._after))
        page = select(*table.columns).where(*conditions).order_by(at, table.c.id).limit(self._first).lateral("page")
        return select(wanted.c.id, *page.c).select_from(wanted.join(page, true()))


def _behind(at: Any, row_id: Any, rank: int, after: Position) -> ColumnElement[bool]:
    """Whether a row of a kind stands behind a position."""
    if rank > after.rank:
        return at >= after.at  # type: ignore[no-any-return]
    if rank < after.rank:
        return at > after.at  # type: ignore[no-any-return]
    return or_(at > after.at, and_(at == literal(after.at), row_id > after.id))


def load_timeline(context: OperationContext, task_id: UUID, first: int, after: Position | None = None) -> Any:
    """A page of a task's timeline, with those of the other tasks that are asked for at once."""
    made = context.loaders.own(("timeline", first, after), lambda: TimelineLoader(context, first, after))
    return made.load(task_id)


async def _resolve(row: Any, info: Info, first: int = USUAL, after: str | None = None) -> list[TaskTimelineEntry]:
    if not 1 <= first <= MOST:
        raise BadUserInput(f"`first` is 1 to {MOST}.", "first")
    position = None if after is None else Position.of(after)
    return [one.shown() for one in await load_timeline(context_of(info), row.id, first, position)]


def timeline(description: str) -> Any:
    """The timeline of the task that the row is."""

    def make(_declaration: Declaration, name: str, _shape: Shape) -> GraphField:
        made = graph_field(
            name,
            list_of(Named("TaskTimelineEntry")),
            description,
            _resolve,
            [
                argument("first", int, f"How many entries, 1 to {MOST}.", USUAL),
                argument("after", optional(str), "Only those behind the entry with this `cursor`.", None),
            ],
        )
        made.metadata = MappingProxyType({LIST_SIZE: USUAL})
        return made

    return Declared(make)


TYPES["TaskTimelineEntry"] = TaskTimelineEntry
