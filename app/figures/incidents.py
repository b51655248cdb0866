"""`incidents`: what went wrong, newest first, from the alerts and the security journal together."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any, Final, cast
from uuid import UUID

import strawberry
from sqlalchemy import Table, literal, select, union_all

from app.audit.types import AuditLog
from app.auth.permissions import READ_PERMISSION
from app.graph.context import OperationContext
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import computed
from app.graph.ids import parse_global_id
from app.graph.paging import DEFAULT_PAGE, MAX_PAGE
from app.graph.registry import ENTITIES
from app.platform.types import Alert
from db import models
from db.enums import AlertStatus, AuditSeverity

_PREFIXES: Final = {"alt": "Alert", "aud": "AuditLog"}
_LIVE: Final = (AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)
_SERIOUS: Final = (AuditSeverity.ERROR, AuditSeverity.WARNING)


@strawberry.enum(description="How much an incident matters, whichever journal it comes from.")
class IncidentSeverity(enum.Enum):
    """The severities of alerts and of the security journal in one scale."""

    INFO = strawberry.enum_value("INFO", description="Good to know.")
    WARNING = strawberry.enum_value("WARNING", description="Somebody should look at it.")
    ERROR = strawberry.enum_value("ERROR", description="Something failed or was broken into.")
    CRITICAL = strawberry.enum_value("CRITICAL", description="Somebody must act now.")


@strawberry.type(description="Something that went wrong: an alert that is not settled, or a serious security event.")
class Incident:
    """One incident. Exactly one of `alert` and `auditLog` is there."""

    row: strawberry.Private[Any]
    kind: strawberry.Private[str]
    severity: IncidentSeverity = strawberry.field(description="How much it matters.")
    at: datetime = strawberry.field(description="When it happened.")
    title: str = strawberry.field(description="What happened, in a line.")

    @computed("The alert, where it is one: acknowledge, resolve or ignore it.")
    def alert(self) -> Alert | None:
        """The alert's row."""
        return cast("Alert", self.row) if self.kind == "Alert" else None

    @computed("The row of the security journal, where it is one.")
    def audit_log(self) -> AuditLog | None:
        """The journal's row."""
        return cast("AuditLog", self.row) if self.kind == "AuditLog" else None


def _title(kind: str, row: Any) -> str:
    return str(row.title if kind == "Alert" else row.description or row.action)


@computed(
    "What went wrong, newest first: alerts that are not settled, and errors and warnings of the security journal."
    f" Shows what the caller may read of the two: `{READ_PERMISSION['Alert']}`, `{READ_PERMISSION['AuditLog']}`. Three"
    f" statements at most; {MAX_PAGE} incidents at most.",
    most=DEFAULT_PAGE,
)
async def incidents(
    info: strawberry.Info,
    first: Annotated[int, strawberry.argument(description=f"How many, at most {MAX_PAGE}.")] = DEFAULT_PAGE,
    before: Annotated[
        strawberry.ID | None,
        strawberry.argument(description="Only those before this one: the id of an Alert or an AuditLog, to page on."),
    ] = None,
) -> list[Incident]:
    """FORBIDDEN where the caller may read neither."""
    context = cast("OperationContext", info.context)
    if not 0 <= first <= MAX_PAGE:
        raise BadUserInput(f"`first` is {first}; a page has 0 to {MAX_PAGE} rows.", "first")
    bound = None if before is None else _bound(before)
    parts = []
    for kind, model, conditions in (
        ("Alert", models.Alert, [models.Alert.status.in_(_LIVE)]),
        ("AuditLog", models.AuditLog, [models.AuditLog.severity.in_(_SERIOUS)]),
    ):
        if not context.actor.may_read(kind):
            continue
        table = cast("Table", model.__table__)
        rows = select(table.c.id, literal(kind).label("kind")).where(
            *context.reader.visible(ENTITIES[kind]), *conditions, *([] if bound is None else [table.c.id < bound])
        )
        parts.append(rows.order_by(table.c.id.desc()).limit(first))
    if not parts:
        raise Forbidden(READ_PERMISSION["Alert"])
    both = union_all(*(part.subquery().select() for part in parts)).subquery()
    found = await context.reading.rows(select(both).order_by(both.c.id.desc()).limit(first))
    rows_of: dict[UUID, Any] = {}
    for kind in dict.fromkeys(row.kind for row in found):
        ids = [row.id for row in found if row.kind == kind]
        rows_of |= {row.id: row for row in await context.loaders.row(ENTITIES[kind]).load_many(ids) if row is not None}
    return [
        Incident(
            row=rows_of[one.id],
            kind=one.kind,
            severity=IncidentSeverity[rows_of[one.id].severity.name],
            at=rows_of[one.id].created_at if one.kind == "Alert" else rows_of[one.id].timestamp,
            title=_title(one.kind, rows_of[one.id]),
        )
        for one in found
        if one.id in rows_of
    ]


def _bound(text: str) -> UUID:
    prefix, row_id = parse_global_id(text, "before")
    if prefix not in _PREFIXES:
        raise BadUserInput("`before` is the id of an Alert (`alt_…`) or of an AuditLog (`aud_…`).", "before")
    return row_id


FIELDS: Final = (incidents,)
