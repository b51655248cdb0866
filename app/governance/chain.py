"""The decision chain of a request: who asked, who voted, what became of it, newest first (APR-12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, select

from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.fields import GraphField, Shape, base_type, graph_field
from app.graph.loaders import Loader
from app.graph.scalars import format_datetime
from db import models
from db.base import JsonObject
from db.ids import first_id_at

_STAGES: Final = {"APPROVAL_REQUESTED": "REQUESTED"}
_WITHOUT_RECORD: Final = frozenset({"FIRST_APPROVAL", "FURTHER_APPROVAL", "ESCALATED"})
"""Stages that have an event and no record of their own; theirs is the request's."""
_ACTOR_KEYS: Final = {"HUMAN": "operatorId", "AGENT": "instanceId"}


def chain_of(
    votes: Sequence[Mapping[str, Any]] | None, records: Iterable[Any], events: Iterable[Any]
) -> list[JsonObject]:
    """The steps of one request, newest first: its change records, each with its event; events without a record of their
    own; and votes whose event is not kept any more. Pure."""
    steps: list[tuple[datetime, JsonObject]] = []
    by_record: dict[UUID, JsonObject] = {}
    for record in records:
        stage = _STAGES.get(record.type.value) or (record.after_state or {}).get("status") or record.type.value
        step = _step(record.timestamp, stage, record.reason)
        if record.actor_type.value in _ACTOR_KEYS and record.actor_id is not None:
            step[_ACTOR_KEYS[record.actor_type.value]] = str(record.actor_id)
        step["changeRecordId"] = str(record.id)
        by_record[record.id] = step
        steps.append((record.timestamp, step))
    for event in events:
        payload = event.payload or {}
        if payload.get("stage") not in _WITHOUT_RECORD and event.change_record_id in by_record:
            by_record[event.change_record_id]["opEventId"] = str(event.id)
            continue
        step = _step(event.timestamp, payload.get("stage"), payload.get("reason"))
        step |= {"operatorId": payload.get("operatorId"), "opEventId": str(event.id)}
        steps.append((event.timestamp, step))
    known = {(step["at"], step.get("operatorId")) for _, step in steps}
    for vote in votes or ():
        at = datetime.fromisoformat(vote["at"])
        if (format_datetime(at), vote.get("operatorId")) not in known:
            step = _step(at, vote.get("decision"), vote.get("reason"))
            steps.append((at, step | {"operatorId": vote.get("operatorId")}))
    return [step for _, step in sorted(steps, key=lambda one: one[0], reverse=True)]


def _step(at: datetime, stage: str | None, reason: str | None) -> JsonObject:
    return {"at": format_datetime(at), "stage": stage, "reason": reason}


class _ChainLoader(Loader[UUID, tuple[list[Any], list[Any]]]):
    """Records and events by request: two statements, however many requests."""

    def __init__(self, context: OperationContext) -> None:
        super().__init__()
        self._context = context

    async def batch_load_fn(self, keys: list[UUID]) -> list[tuple[list[Any], list[Any]]]:
        """The records whose target a request is, and the events that hang on them."""
        records, events = _table(models.ChangeRecord), _table(models.OpEvent)
        mine = select(records).where(
            self._context.reader.tenant(records),
            records.c.target_entity == models.ApprovalRecord.__name__,
            records.c.target_id.in_(keys),
        )
        found = await self._context.reading.rows(mine.order_by(records.c.seq))
        owner = {row.id: row.target_id for row in found}
        of_request: dict[UUID, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
        for row in found:
            of_request[row.target_id][0].append(row)
        if found:
            linked = select(events).where(
                self._context.reader.tenant(events),
                events.c.change_record_id.in_(list(owner)),
                events.c.id >= first_id_at(min(row.timestamp for row in found)),
            )
            for row in await self._context.reading.rows(linked.order_by(events.c.seq)):
                of_request[owner[row.change_record_id]][1].append(row)
        return [of_request[key] for key in keys]


def _table(model: Any) -> Table:
    table: Table = model.__table__
    return table


def decision_chain(description: str) -> Any:
    """A field with the decision chain of a request."""

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        async def resolve(row: Any, info: Info) -> list[JsonObject]:
            context = context_of(info)
            loader = context.loaders.own(_ChainLoader, lambda: _ChainLoader(context))
            records, events = await loader.load(row.id)
            return chain_of(row.decisions, records, events)

        return graph_field(name, shape.graphql(base_type(shape.name, {})), description, resolve)

    return Declared(make)
