"""Commands of agent memory: what an agent keeps, and what is learnt about it (DOC-1, LRN-2)."""

from __future__ import annotations

import math
from typing import Any, Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.intelligence.learning import pattern_row, see_patterns
from app.intelligence.rules import MOST_EVIDENCE, Trait
from app.unit_of_work import PermissionDenied, UnitOfWork
from db.base import JsonObject
from db.enums import AgentDocumentType, OpEventType
from db.ids import created_at, new_id
from db.models import AgentDocument, AgentInstance

LONGEST_PATTERN: Final = 200
_AGENT_OR_PERSON: Final = (ActorKind.OPERATOR, ActorKind.INSTANCE)
_WRITE: Final = "write:intelligence"


@command(_WRITE, OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def set_document(
    uow: UnitOfWork,
    instance_id: UUID,
    type: AgentDocumentType,
    content: str,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """DOC-1. Put down one of an agent's memory files; what was in it before is gone. There is one of each type.

    An agent writes its own; a person writes those of the agents that they may.
    """
    instance = await _owner(uow, instance_id)
    if isinstance(instance, Refused):
        return instance
    row_id = new_id(uow.now)
    table: Any = AgentDocument.__table__
    values = {
        "tenant_id": uow.tenant_id,
        "id": row_id,
        "created_at": created_at(row_id),
        "updated_at": uow.now,
        "instance_id": instance.id,
        "project_id": instance.project_id,
        "type": type,
        "content": content,
        "metadata": metadata,
    }
    fresh = insert(table).values(values)
    statement = fresh.on_conflict_do_update(
        index_elements=["tenant_id", "instance_id", "type"],
        set_={
            "content": content,
            "updated_at": uow.now,
            "project_id": instance.project_id,
            "metadata": table.c.metadata if metadata is None else fresh.excluded.metadata,
        },
    ).returning(table.c.id)
    kept = await uow.session.scalar(statement)
    _tell(uow, instance, {"stage": "AGENT_DOCUMENT_SET", "type": type.value, "characters": len(content)})
    return Done(None, row_id=kept)


@command(_WRITE, OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def record_pattern(
    uow: UnitOfWork, instance_id: UUID, pattern: str, confidence: float, evidence: list[str] | None = None
) -> Done | Refused:
    """LRN-2. Record a strength or a weakness that an agent has shown at its version.

    Seen again, 0.6 of the new confidence and 0.4 of the old make the pattern's, and the evidence adds up.
    """
    trait, _, what = pattern.strip().partition(":")
    if trait not in list(Trait) or not what.strip() or len(what.strip()) > LONGEST_PATTERN:
        message = f"A pattern is `strength:` or `weakness:` with 1 to {LONGEST_PATTERN} characters behind it."
        return Refused(Refusal.VALIDATION_ERROR, message, "pattern")
    if not (math.isfinite(confidence) and 0 <= confidence <= 1):
        return Refused(Refusal.VALIDATION_ERROR, "A confidence is a number from 0 to 1.", "confidence")
    given = list(dict.fromkeys(one.strip() for one in evidence or ()))
    if "" in given:
        return Refused(Refusal.VALIDATION_ERROR, "An entry of the evidence is blank. Take it out.", "evidence")
    if len(given) > MOST_EVIDENCE:
        return Refused(Refusal.VALIDATION_ERROR, f"Evidence has at most {MOST_EVIDENCE} entries.", "evidence")
    instance = await _owner(uow, instance_id)
    if isinstance(instance, Refused):
        return instance
    named = Trait(trait).named(what.strip())
    row = pattern_row(
        uow,
        instance_id=instance.id,
        version_id=instance.version_id,
        project_id=instance.project_id,
        pattern=named,
        confidence=confidence,
        evidence=given,
    )
    (kept,) = await see_patterns(uow, [row])
    _tell(uow, instance, {"stage": "AGENT_PATTERN_RECORDED", "pattern": named, "confidence": confidence})
    return Done(None, row_id=kept)


async def _owner(uow: UnitOfWork, instance_id: UUID) -> AgentInstance | Refused:
    """The agent whose memory it is, where the caller may write it (RBAC-11)."""
    if uow.actor.kind is ActorKind.INSTANCE and instance_id != uow.actor.id:
        raise PermissionDenied(_WRITE)
    instance = await uow.get(AgentInstance, instance_id)
    if instance is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id, instance_id=instance.id)
    return instance


def _tell(uow: UnitOfWork, instance: AgentInstance, payload: JsonObject) -> None:
    uow.emit(
        OpEventType.DECISION_MADE,
        instance_id=instance.id,
        version_id=instance.version_id,
        project_id=instance.project_id,
        payload={**payload, "actorType": uow.actor_type.value},
    )
