"""Change records that were written alongside, and task transitions (MIG-5, MIG-8, AUD-2)."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from app.legacy.actors import actor_of
from app.legacy.document import Doc, Rejection, items, moment, words
from app.legacy.journal import Journal, status_of
from app.legacy.keys import entity_named, row_id
from app.legacy.outcomes import Audit, Change, Covered, Event, Outcome, Skipped
from app.legacy.world import World
from db.enums import ActorType, AuditSeverity, ChangeRecordType, OpEventType
from db.logs import ChangeDraft, EventDraft

_RENAMED: Final = {
    "POLICY_CREATED": ChangeRecordType.POLICY_ATTACHED,
    "POLICY_UPDATED": ChangeRecordType.POLICY_ATTACHED,
    "POLICY_DELETED": ChangeRecordType.POLICY_ATTACHED,
    "POLICY_DENIED": ChangeRecordType.POLICY_EVALUATED,
    "APPROVAL_CANCELLED": ChangeRecordType.APPROVAL_DECIDED,
    "APPROVAL_CANCELED": ChangeRecordType.APPROVAL_DECIDED,
    "APPROVAL_EXPIRED": ChangeRecordType.APPROVAL_DECIDED,
}
_DEPLOYED: Final = {
    "ACTIVE": ChangeRecordType.DEPLOYMENT_ACTIVATED,
    "ROLLING_BACK": ChangeRecordType.DEPLOYMENT_ROLLED_BACK,
    "ROLLED_BACK": ChangeRecordType.DEPLOYMENT_ROLLED_BACK,
}
_ACTOR_FIELDS: Final = ("actorId", "actorAgentId", "actorUserId")
_OUT_OF_SCOPE: Final = "about quality control, which is out of scope"


def new_type(kind: str, after: Any) -> ChangeRecordType | None:
    """The type that a former change record becomes; None for what is no change record here (AUD-2)."""
    if kind in ChangeRecordType.__members__:
        return ChangeRecordType[kind]
    if kind == "DEPLOYMENT_UPDATED":
        return _DEPLOYED.get(str(status_of(after)), ChangeRecordType.DEPLOYMENT_CREATED)
    if kind.startswith("AGENT_"):
        return ChangeRecordType.INSTANCE_TRANSITIONED
    return _RENAMED.get(kind)


@dataclass(frozen=True)
class Changes:
    """Turns former change records and transitions into what they are here."""

    world: World
    journal: Journal

    def transition(self, doc: Doc) -> Outcome:
        """The change record of a task transition, whatever its age (MIG-5)."""
        task = self.world.keys.need("Task", "taskId", doc.take("taskId"))
        actor = actor_of(doc, self.world, "actorType", "actorAgentId", "actorUserId", "actorId")
        at = moment("timestamp", doc.take("timestamp")) if doc.peek("timestamp") is not None else doc.created
        kept = {name: doc.take(name) for name in ("validationResult", "artifactsSnapshot", "sessionKey")}
        return Change(
            ChangeDraft(
                id=row_id(self.world.tenant_id, doc.table, doc.id, doc.created),
                type=ChangeRecordType.TASK_TRANSITIONED,
                actor_type=actor.type,
                actor_id=actor.id,
                target_entity="Task",
                target_id=task,
                before_state={"status": words("fromStatus", doc.take("fromStatus"))},
                after_state={"status": words("toStatus", doc.take("toStatus"))},
                reason=doc.take("reason"),
                timestamp=at,
                project_id=self._find(doc, "Project", "projectId") or self.world.facts.task_project.get(task),
                instance_id=actor.id if actor.is_agent else None,
                idempotency_key=_key(doc),
                metadata=self._metadata(doc, actor.text, {name: one for name, one in kept.items() if one is not None}),
            )
        )

    def record(self, doc: Doc) -> Outcome:
        """What a change record of ARM or Mission Control becomes. Raises Rejection."""
        kind = words("type", doc.take("type", "changeType"))
        after = doc.take("afterState", "after", "payload")
        if kind.startswith("QC_"):
            return Skipped(_OUT_OF_SCOPE)
        if kind == "INSTANCE_HEARTBEAT":
            return self._event(doc, OpEventType.HEARTBEAT, None, after)
        if kind.startswith("EVAL_") or kind == "VERSION_EVAL_COMPLETED":
            return self._event(doc, OpEventType.DECISION_MADE, "EVALUATION", after)
        renamed = new_type(kind, after)
        if renamed is None:
            self.world.report.note(f"Change records of the type {kind!r} are audit logs")
            return self._audit(doc, kind, after)
        return self._change(doc, kind, renamed, after)

    def _change(self, doc: Doc, kind: str, renamed: ChangeRecordType, after: Any) -> Outcome:
        entity, target = self._target(doc)
        at = self._at(doc)
        before = _object(doc.take("beforeState", "before"))
        states = (status_of(before), status_of(after))
        if renamed is ChangeRecordType.TASK_TRANSITIONED:
            covered = self.journal.find(renamed, target, at, states if any(states) else None)
            if covered is not None:
                return Covered("ChangeRecord", covered)
        actor = actor_of(doc, self.world, "actorType", *_ACTOR_FIELDS)
        summary, reason = doc.take("summary"), doc.take("reason")
        extra = {} if kind == renamed.value else {"legacyType": kind}
        return Change(
            ChangeDraft(
                id=row_id(self.world.tenant_id, doc.table, doc.id, doc.created),
                type=renamed,
                actor_type=actor.type,
                actor_id=actor.id if actor.type is not ActorType.SYSTEM else None,
                target_entity=entity,
                target_id=target,
                before_state=before,
                after_state=_object(after) or _decided(kind),
                reason=reason or summary,
                summary=summary,
                evidence_links=[
                    words("evidenceLinks", one) for one in items("evidenceLinks", doc.take("evidenceLinks") or [])
                ]
                or None,
                timestamp=at,
                project_id=self._find(doc, "Project", "projectId"),
                instance_id=self._find(doc, "AgentInstance", "instanceId"),
                version_id=self._find(doc, "AgentVersion", "versionId"),
                idempotency_key=_key(doc),
                metadata=self._metadata(doc, actor.text, extra),
            )
        )

    def _target(self, doc: Doc) -> tuple[str, UUID]:
        """The row that the record is about: as it says, else the most specific row that it names."""
        word, named = doc.take("targetEntity", "relatedTable", "targetType"), doc.take("targetId", "relatedId")
        if named is not None:
            entity = entity_named(word) if isinstance(word, str) else None
            if entity is not None and self.world.keys.find(entity, named) is not None:
                return entity, self.world.keys.need(entity, "targetId", named)
            if (found := self.world.keys.find_any(named)) is not None:
                return found
            raise Rejection("targetId", named, self.world.keys.why_not(entity or "row", named))
        for entity, name in (
            ("AgentInstance", "instanceId"),
            ("AgentVersion", "versionId"),
            ("AgentTemplate", "templateId"),
            ("Project", "projectId"),
        ):
            if doc.peek(name) is not None:
                return entity, self.world.keys.need(entity, name, doc.peek(name))
        return "Tenant", self.world.tenant_id

    def _audit(self, doc: Doc, kind: str, after: Any) -> Outcome:
        actor = actor_of(doc, self.world, "actorType", *_ACTOR_FIELDS)
        extra = {"after": after, "before": doc.take("beforeState", "before")}
        row = {
            "id": row_id(self.world.tenant_id, doc.table, doc.id, doc.created),
            "tenant_id": self.world.tenant_id,
            "severity": AuditSeverity.INFO,
            "action": kind,
            "actor_type": actor.type,
            "actor_id": actor.id,
            "resource": doc.take("targetEntity", "relatedTable", "targetType"),
            "resource_id": self.world.named(doc.take("targetId", "relatedId")),
            "description": doc.take("summary", "reason"),
            "timestamp": self._at(doc),
            "created_at": doc.created,
        }
        row["metadata"] = self._metadata(doc, actor.text, {name: one for name, one in extra.items() if one is not None})
        return Audit(row)

    def _event(self, doc: Doc, kind: OpEventType, stage: str | None, after: Any) -> Outcome:
        at = self._at(doc)
        if (old := self.world.too_old(at)) is not None:
            return Skipped(old)
        named = doc.take("targetId", "relatedId")
        agent = self.world.keys.find("AgentInstance", doc.take("instanceId") or named)
        payload = {"stage": stage, "legacyType": doc.take("type", "changeType"), "after": after}
        return Event(
            EventDraft(
                type=kind,
                timestamp=at,
                instance_id=agent,
                version_id=self._find(doc, "AgentVersion", "versionId"),
                project_id=self._find(doc, "Project", "projectId"),
                payload={name: value for name, value in payload.items() if value is not None},
                event_id=doc.id,
            )
        )

    @staticmethod
    def _at(doc: Doc) -> Any:
        value = doc.take("timestamp")
        return doc.created if value is None else moment("timestamp", value)

    def _find(self, doc: Doc, entity: str, name: str) -> UUID | None:
        value = doc.take(name)
        return None if value is None else self.world.keys.need(entity, name, value)

    @staticmethod
    def _metadata(doc: Doc, actor: str | None, extra: dict[str, Any]) -> dict[str, Any]:
        own = doc.take("metadata")
        found = dict(own) if isinstance(own, dict) else {}
        found |= {**extra, "source": "migration", "legacyTable": doc.table, "legacyId": doc.id}
        if actor is not None:
            found["actorText"] = actor
        doc.take("tenantId")
        if rest := doc.rest():
            found["legacy"] = rest
        return found


def _key(doc: Doc) -> str | None:
    """The idempotency key, if there is one."""
    value = doc.take("idempotencyKey")
    return words("idempotencyKey", value) or None if value is not None else None


def _object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) or value is None else {"value": value}


def _decided(kind: str) -> dict[str, Any] | None:
    """What the former types CANCELLED and EXPIRED said in their names."""
    if not kind.startswith("APPROVAL_"):
        return None
    decision = kind.removeprefix("APPROVAL_").replace("CANCELLED", "CANCELED")
    return {"status": decision} if decision in ("CANCELED", "EXPIRED") else None
