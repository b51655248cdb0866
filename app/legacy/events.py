"""Op events that were written alongside, task events and ARM's cost ledger (MIG-6, MIG-9)."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.legacy.actors import actor_of
from app.legacy.document import Doc, Rejection, dollars, moment, words
from app.legacy.journal import Journal
from app.legacy.outcomes import Event, Outcome, Skipped
from app.legacy.world import World
from db.enums import OpEventType
from db.logs import EventDraft

_RUN_EVENTS: Final = frozenset({OpEventType.RUN_STARTED, OpEventType.RUN_COMPLETED, OpEventType.RUN_FAILED})
_LINKS: Final = (
    ("instance_id", "AgentInstance", ("instanceId", "agentId")),
    ("version_id", "AgentVersion", ("versionId",)),
    ("project_id", "Project", ("projectId",)),
    ("task_id", "Task", ("taskId",)),
    ("run_id", "Run", ("runId",)),
    ("tool_call_id", "ToolCall", ("toolCallId",)),
    ("workflow_run_id", "WorkflowRun", ("workflowRunId",)),
    ("change_record_id", "ChangeRecord", ("changeRecordId",)),
)


@dataclass
class Events:
    """Turns former telemetry into op events."""

    world: World
    journal: Journal
    ledger_total: Decimal = field(default=Decimal(0))
    """Sum of the cost ledger's rows, of any age (MIG-9)."""

    def event(self, doc: Doc) -> Outcome:
        """An op event that was written alongside. Raises Rejection."""
        kind, at = words("type", doc.take("type")), self._at(doc)
        if kind not in OpEventType.__members__:
            return Skipped(f"{kind} is no type of op event here")
        if (old := self.world.too_old(at)) is not None:
            return Skipped(old)
        links = self._links(doc)
        own = doc.take("payload")
        payload = dict(own) if isinstance(own, dict) else {} if own is None else {"value": own}
        doc.take("tenantId", "metadata")
        if rest := doc.rest():
            payload["legacy"] = rest
        ticking = kind == OpEventType.COST_TICK
        delta = payload.get("deltaUsd", payload.get("costUsd")) if ticking else None
        model = payload.get("model")
        return Event(
            EventDraft(
                type=OpEventType[kind],
                timestamp=at,
                payload=payload or None,
                event_id=doc.id,
                delta_usd=dollars("payload.deltaUsd", delta) if delta is not None else None,
                model=model if isinstance(model, str) else None,
                **links,
            )
        )

    def task_event(self, doc: Doc) -> Outcome:
        """An event of a task, linked to the change record that it went with (MIG-6). Raises Rejection."""
        kind, at = words("eventType", doc.take("eventType")), self._at(doc)
        if (old := self.world.too_old(at)) is not None:
            return Skipped(old)
        task = self.world.keys.need("Task", "taskId", doc.take("taskId"))
        related = doc.take("relatedId")
        run = self.world.keys.find("Run", related)
        tool_call = self.world.keys.find("ToolCall", related)
        new = OpEventType[kind] if kind in OpEventType.__members__ and OpEventType[kind] in _RUN_EVENTS else None
        if new is not None and self.journal.has_event(run, new):
            return Skipped("written alongside as an op event")
        actor = actor_of(doc, self.world, "actorType", "actorId")
        payload = {
            "stage": kind if new is None and kind != "TOOL_CALL" else None,
            "relatedId": self.world.named(related),
            "actor": actor.text,
            "before": doc.take("beforeState"),
            "after": doc.take("afterState"),
            "metadata": doc.take("metadata"),
        }
        agent = actor.id if actor.is_agent else None
        if run is not None:
            agent = agent or self.world.facts.run_instance.get(run)
        doc.take("tenantId")
        project = doc.take("projectId")
        rest = doc.rest()
        return Event(
            EventDraft(
                type=OpEventType.TOOL_CALL_COMPLETED if kind == "TOOL_CALL" else new or OpEventType.DECISION_MADE,
                timestamp=at,
                instance_id=agent,
                version_id=self.world.facts.instance_version.get(agent) if agent else None,
                project_id=self.world.keys.need("Project", "projectId", project)
                if project is not None
                else self.world.facts.task_project.get(task),
                task_id=task,
                run_id=run,
                tool_call_id=tool_call,
                change_record_id=self.journal.near(task, at),
                payload={name: value for name, value in payload.items() if value is not None}
                | ({"legacy": rest} if rest else {}),
                event_id=doc.id,
            )
        )

    def cost(self, doc: Doc) -> Outcome:
        """An entry of ARM's cost ledger as a cost tick (MIG-9). Raises Rejection."""
        amount = dollars("cost", doc.take("costUsd", "cost", "amount", "totalUsd"))
        self.ledger_total += amount
        at = self._at(doc)
        if (old := self.world.too_old(at)) is not None:
            return Skipped(old)
        links = self._links(doc)
        model = doc.peek("model")
        payload = {name: self.world.named(doc.take(name)) for name in ("tokensUsed", "source", "policyId", "model")}
        doc.take("tenantId")
        if rest := doc.rest():
            payload["legacy"] = rest
        return Event(
            EventDraft(
                type=OpEventType.COST_TICK,
                timestamp=at,
                delta_usd=amount,
                model=model if isinstance(model, str) else None,
                payload={"totalUsd": float(amount), **{name: one for name, one in payload.items() if one is not None}},
                event_id=doc.id,
                **links,
            )
        )

    def _links(self, doc: Doc) -> dict[str, Any]:
        """The rows that an event names. Version and project come from the instance where they are absent (OPE-1)."""
        links: dict[str, UUID | None] = {}
        for column, entity, names in _LINKS:
            value = doc.take(*names)
            links[column] = None if value is None else self.world.keys.need(entity, names[0], value)
        agent = links["instance_id"]
        if agent is not None:
            links["version_id"] = links["version_id"] or self.world.facts.instance_version.get(agent)
            links["project_id"] = links["project_id"] or self.world.facts.instance_project.get(agent)
        return links

    def _at(self, doc: Doc) -> Any:
        value = doc.take("timestamp")
        at = doc.created if value is None else moment("timestamp", value)
        if at > self.world.newest_event:
            raise Rejection("timestamp", value, "lies in the future")
        return at
