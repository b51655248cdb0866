"""Activities of Mission Control: each becomes a change record, an op event or an audit log (MIG-4)."""

from dataclasses import dataclass
from typing import Any, Final

from app.legacy.actors import Actor, actor_of
from app.legacy.document import Doc, Rejection
from app.legacy.journal import Journal
from app.legacy.keys import entity_named, row_id
from app.legacy.mapping import Row
from app.legacy.outcomes import Audit, Change, Covered, Event, Outcome, Skipped
from app.legacy.world import World
from db.enums import AuditSeverity, ChangeRecordType, OpEventType
from db.logs import ChangeDraft, EventDraft

_CHANGES: Final = {
    "PROJECT_CREATED": ChangeRecordType.PROJECT_CREATED,
    "AGENT_REGISTERED": ChangeRecordType.INSTANCE_CREATED,
    "AGENT_DEPLOYED": ChangeRecordType.INSTANCE_CREATED,
    "AGENT_STATUS_CHANGED": ChangeRecordType.INSTANCE_TRANSITIONED,
    "AGENT_PAUSED": ChangeRecordType.INSTANCE_TRANSITIONED,
    "AGENT_RESUMED": ChangeRecordType.INSTANCE_TRANSITIONED,
    "AGENT_RESET": ChangeRecordType.INSTANCE_TRANSITIONED,
    "AGENT_QUARANTINED": ChangeRecordType.EMERGENCY_QUARANTINE,
    "TASK_CREATED": ChangeRecordType.TASK_CREATED,
    "TASK_TRANSITION": ChangeRecordType.TASK_TRANSITIONED,
    "AUTO_ASSIGNED": ChangeRecordType.TASK_ASSIGNED,
    "APPROVAL_REQUESTED": ChangeRecordType.APPROVAL_REQUESTED,
    "APPROVAL_APPROVED": ChangeRecordType.APPROVAL_DECIDED,
    "APPROVAL_DENIED": ChangeRecordType.APPROVAL_DECIDED,
    "SOUL_CHANGED": ChangeRecordType.IDENTITY_UPDATED,
    "WORKFLOW_STARTED": ChangeRecordType.WORKFLOW_STARTED,
    "WORKFLOW_COMPLETED": ChangeRecordType.WORKFLOW_COMPLETED,
}
_MODES: Final = {"PAUSED": ChangeRecordType.EMERGENCY_PAUSE, "QUARANTINED": ChangeRecordType.EMERGENCY_QUARANTINE}
_AUDITED: Final = frozenset(
    {
        *("MISSION_STATEMENT_UPDATED", "PROJECT_UPDATED", "PROJECT_DELETED", "PROJECT_GITHUB_UPDATED"),
        *("PROJECT_SWARM_CONFIG_UPDATED", "AGENT_UPDATED", "ERROR_LOGGED"),
    }
)
_STAGES: Final = frozenset(
    {
        *("APPROVAL_FIRST_APPROVAL", "APPROVAL_ESCALATED", "TASK_UPDATED", "TASK_DECOMPOSED", "TASK_ROUTED"),
        *("TASK_WATCHERS_NOTIFIED", "AGENT_LEARNING", "WORKFLOW_ESCALATED", "SQUAD_DEPLOYED", "STANDUP_REPORT"),
        *("PERFORMANCE_LOG", "MESSAGE_POSTED"),
    }
)
_STAGE_FAMILIES: Final = ("EXECUTION_", "REVIEW_", "PATTERN_", "GITHUB_")


@dataclass(frozen=True)
class Activities:
    """Turns activities into what they were about."""

    world: World
    journal: Journal

    def outcome(self, doc: Doc) -> Outcome:
        """What becomes of an activity. Raises Rejection where it refers to nothing."""
        action = doc.take("action")
        if not isinstance(action, str):
            raise Rejection("action", action, "is no text")
        mode = self._mode(doc)
        kind = _MODES.get(mode) if action == "OPERATOR_MODE_UPDATED" else _CHANGES.get(action)
        if kind is not None:
            return self._change(doc, action, kind)
        if action in _AUDITED or action == "OPERATOR_MODE_UPDATED" or action.startswith("SAVED_VIEW_"):
            return self._audit(doc, action)
        if action not in _STAGES and not action.startswith(_STAGE_FAMILIES):
            self.world.report.note(
                f"Activities {action!r}, which no rule maps, are op events DECISION_MADE with that stage"
            )
        return self._event(doc, action)

    def _change(self, doc: Doc, action: str, kind: ChangeRecordType) -> Outcome:
        entity, target = self._target(doc, kind)
        before, after = _state(doc, "beforeState"), _state(doc, "afterState")
        states = (before or {}).get("status"), (after or {}).get("status")
        of_task = kind is ChangeRecordType.TASK_TRANSITIONED
        covered = self.journal.find(kind, target, doc.created, states if of_task and any(states) else None)
        if covered is not None:
            return Covered("ChangeRecord", covered)
        actor = actor_of(doc, self.world, "actorType", "actorId")
        description = doc.take("description")
        return Change(
            ChangeDraft(
                id=row_id(self.world.tenant_id, doc.table, doc.id, doc.created),
                type=kind,
                actor_type=actor.type,
                actor_id=actor.id,
                target_entity=entity,
                target_id=target,
                before_state=before,
                after_state=after or self._decision(action),
                reason=description,
                summary=description,
                timestamp=doc.created,
                project_id=self._find(doc, "Project", "projectId"),
                instance_id=self._find(doc, "AgentInstance", "agentId"),
                metadata=_metadata(doc, action, actor),
            )
        )

    @staticmethod
    def _decision(action: str) -> dict[str, Any] | None:
        return (
            {"status": action.removeprefix("APPROVAL_")} if action in ("APPROVAL_APPROVED", "APPROVAL_DENIED") else None
        )

    def _target(self, doc: Doc, kind: ChangeRecordType) -> tuple[str, Any]:
        """The row that the activity is about: its target, else its task, its agent, its project, its tenant."""
        word, named = doc.take("targetType"), doc.take("targetId")
        if named is not None:
            entity = entity_named(word) if isinstance(word, str) else None
            if entity is not None:
                return entity, self.world.keys.need(entity, "targetId", named)
            found = self.world.keys.find_any(named)
            if found is not None:
                return found
            raise Rejection("targetId", named, "refers to nothing in the snapshot")
        for entity, name in (("Task", "taskId"), ("AgentInstance", "agentId"), ("Project", "projectId")):
            if (value := doc.take(name)) is not None:
                return entity, self.world.keys.need(entity, name, value)
        return "Tenant", self.world.tenant_id

    def _audit(self, doc: Doc, action: str) -> Outcome:
        actor = actor_of(doc, self.world, "actorType", "actorId")
        row: Row = {
            "id": row_id(self.world.tenant_id, doc.table, doc.id, doc.created),
            "tenant_id": self.world.tenant_id,
            "severity": AuditSeverity.ERROR if action == "ERROR_LOGGED" else AuditSeverity.INFO,
            "action": action,
            "actor_type": actor.type,
            "actor_id": actor.id,
            "resource": doc.take("targetType"),
            "resource_id": self.world.named(doc.take("targetId")),
            "description": doc.take("description"),
            "timestamp": doc.created,
            "created_at": doc.created,
        }
        doc.take("projectId", "taskId", "agentId")
        row["metadata"] = _metadata(doc, action, actor)
        return Audit(row)

    def _event(self, doc: Doc, action: str) -> Outcome:
        if (old := self.world.too_old(doc.created)) is not None:
            return Skipped(old)
        if action == "MESSAGE_POSTED":
            message = self.world.keys.find("Message", doc.peek("targetId"))
            if message is None:
                return Skipped("of a message that is not there")
        actor = actor_of(doc, self.world, "actorType", "actorId")
        posted = action == "MESSAGE_POSTED"
        agent = self._find(doc, "AgentInstance", "agentId") or (actor.id if actor.is_agent else None)
        payload = {
            "stage": None if posted else action,
            "description": doc.take("description"),
            "messageId": self.world.named(doc.peek("targetId")) if posted else None,
            "targetType": doc.take("targetType"),
            "targetId": self.world.named(doc.take("targetId")),
            "actor": actor.text,
            "before": doc.take("beforeState"),
            "after": doc.take("afterState"),
            "metadata": doc.take("metadata"),
        }
        return Event(
            EventDraft(
                type=OpEventType.MESSAGE_SENT if posted else OpEventType.DECISION_MADE,
                timestamp=doc.created,
                instance_id=agent,
                version_id=self.world.facts.instance_version.get(agent) if agent else None,
                project_id=self._find(doc, "Project", "projectId"),
                task_id=self._find(doc, "Task", "taskId"),
                payload={name: value for name, value in payload.items() if value is not None},
                event_id=doc.id,
            )
        )

    def _find(self, doc: Doc, entity: str, name: str) -> Any:
        value = doc.take(name)
        return None if value is None else self.world.keys.need(entity, name, value)

    @staticmethod
    def _mode(doc: Doc) -> str:
        for name in ("afterState", "metadata"):
            found = doc.peek(name)
            if isinstance(found, dict) and isinstance(found.get("mode"), str):
                return str(found["mode"])
        return ""


def _state(doc: Doc, name: str) -> dict[str, Any] | None:
    value = doc.take(name)
    return value if isinstance(value, dict) or value is None else {"status": value}


def _metadata(doc: Doc, action: str, actor: Actor) -> dict[str, Any]:
    """Where the row came from, and what no column took."""
    own = doc.take("metadata")
    found = dict(own) if isinstance(own, dict) else {}
    found |= {"source": "migration", "legacyTable": doc.table, "legacyId": doc.id, "legacyAction": action}
    if actor.text is not None:
        found["actorText"] = actor.text
    doc.take("tenantId")
    if rest := doc.rest():
        found["legacy"] = rest
    return found
