"""What is held about a person besides their own row (GDPR-1).

What is theirs is told in full: what they wrote, what they were given, what is known of them. The rest that names them
is the organisation's (who made a policy, who approved a release): of it the place is told where they are named, and not
the row, which may be more than they were ever allowed to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Column, ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import visitors

from app.graph.registry import camel
from app.redaction import REDACTED
from app.rows import as_json
from db.base import JsonObject, Model
from db.enums import ActorType
from db.models import (
    AgentTemplate,
    AgentTemplateOwner,
    ApprovalRecord,
    AuditLog,
    ChangeRecord,
    ExperimentAssignment,
    ExperimentEvent,
    Message,
    Notification,
    NotificationPreference,
    Operator,
    OrgMember,
    Review,
    RoleAssignment,
    SavedView,
    Task,
    TelegraphMessage,
    TelegraphThread,
    VoiceArtifact,
    WatchSubscription,
)

_Where = ColumnElement[bool]


@dataclass(frozen=True)
class Kind:
    """One kind of row that an export tells of."""

    model: type[Model]
    where: _Where
    only: tuple[str, ...] = ()
    """The part of the row that is the person's, under the API's names; the whole row where nothing is said."""

    def told(self, row: Model) -> JsonObject:
        """A row as the export has it. What is hidden from everybody but the agents of the task stays hidden (PII-4)."""
        told = as_json(row)
        for name in getattr(row, "redacted_fields", None) or ():
            if name in told:
                told[name] = REDACTED
        return {name: told[name] for name in self.only} if self.only else told


def kinds_of(operator: Operator) -> Mapping[str, Kind]:
    """What is told of a person, by the name that the export gives it."""
    who = operator.id
    said = select(TelegraphMessage.id).where(
        TelegraphMessage.tenant_id == operator.tenant_id, TelegraphMessage.sender_operator_id == who
    )
    owned = select(AgentTemplateOwner.template_id).where(
        AgentTemplateOwner.tenant_id == operator.tenant_id, AgentTemplateOwner.operator_id == who
    )
    voted = ApprovalRecord.decisions.contains([{"operatorId": str(who)}])
    thread = ("id", "projectId", "title", "channel", "createdAt")
    task = ("id", "projectId", "title", "description", "type", "labels", "createdAt")
    return {
        # What they were given, and what they set.
        "roleAssignments": Kind(RoleAssignment, RoleAssignment.operator_id == who),
        "notifications": Kind(Notification, Notification.operator_id == who),
        "notificationPreferences": Kind(NotificationPreference, NotificationPreference.operator_id == who),
        "savedViews": Kind(SavedView, SavedView.owner_operator_id == who),
        "watchSubscriptions": Kind(WatchSubscription, WatchSubscription.operator_id == who),
        "ownedTemplates": Kind(AgentTemplate, AgentTemplate.id.in_(owned), ("id", "name")),
        # What they wrote.
        "messages": Kind(Message, Message.author_operator_id == who),
        "telegraphMessages": Kind(TelegraphMessage, TelegraphMessage.sender_operator_id == who),
        "telegraphThreads": Kind(TelegraphThread, TelegraphThread.participants.contains([str(who)]), thread),
        "voiceArtifacts": Kind(VoiceArtifact, VoiceArtifact.linked_message_id.in_(said)),
        "tasks": Kind(Task, Task.creator_operator_id == who, task),
        "reviews": Kind(Review, or_(Review.reviewer_operator_id == who, Review.response_by_operator_id == who)),
        "approvalsRequested": Kind(ApprovalRecord, ApprovalRecord.requester_id == who),
        "approvalsDecided": Kind(ApprovalRecord, or_(ApprovalRecord.decided_by_operator_id == who, voted)),
        # What is known of them.
        "orgMembers": Kind(OrgMember, func.lower(OrgMember.email) == operator.email.lower()),
        "experimentAssignments": Kind(ExperimentAssignment, _is(ExperimentAssignment, operator)),
        "experimentEvents": Kind(ExperimentEvent, _is(ExperimentEvent, operator)),
        "changeRecords": Kind(ChangeRecord, _did(ChangeRecord, operator)),
        "auditLogs": Kind(AuditLog, _did(AuditLog, operator)),
    }


@cache
def naming() -> tuple[tuple[type[Model], InstrumentedAttribute[Any]], ...]:
    """The columns that name an operator in rows that are not told of otherwise, in the order of the types' names."""
    of_nobody = kinds_of(Operator(email=""))
    told = {one for kind in of_nobody.values() for one in visitors.iterate(kind.where) if isinstance(one, Column)}
    return tuple(
        (mapper.class_, getattr(mapper.class_, attribute.key))
        for mapper in sorted(Model.registry.mappers, key=lambda one: one.class_.__name__)
        for attribute in mapper.column_attrs
        for column in attribute.columns
        if column.info.get("references") == Operator.__tablename__ and column not in told
    )


def place(model: type[Model], column: InstrumentedAttribute[Any], row_id: Any) -> JsonObject:
    """Where a person is named, as the export has it."""
    return {"type": model.__name__, "id": str(row_id), "as": camel(column.key)}


def _is(model: Any, operator: Operator) -> _Where:
    found: _Where = (model.entity_type == Operator.__name__) & (model.entity_id == operator.id)
    return found


def _did(journal: Any, operator: Operator) -> _Where:
    found: _Where = (journal.actor_type == ActorType.HUMAN) & (journal.actor_id == operator.id)
    return found
