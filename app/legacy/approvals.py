"""Approvals, and the records that were written alongside them: one row each (MIG-3, MIG-0f).

The record's ids and lineage stay, the approval's content and decisions count: the record may be stale (C16).
"""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from app.legacy.document import Doc, Rejection, iso, member, moment, whole, words
from app.legacy.engine import BATCH, Engine
from app.legacy.mapping import Mapping, Row, constant, instance, key, person, renamed, table_of
from app.legacy.tables.execution import unless_blank
from app.legacy.world import World
from db.enums import ApprovalDecision, RiskLevel
from db.models import AgentVersionApproval, ApprovalRecord

REQUEST_TYPES: Final = (
    *("TOOL_EXECUTION", "RUN_START", "TRANSITION", "SPAWN", "COMPLETE_TASK", "BUDGET_OVERRIDE", "OPERATOR_OVERRIDE"),
    *("VERSION_PROMOTION", "DEPLOYMENT", "INSTANCE_REACTIVATION", "INSTANCE_QUARANTINE", "POLICY_AUTONOMY_INCREASE"),
    *("WORKFLOW_STEP_RETRY", "ROLE_GRANT"),
)
"""What can be asked for (APR-1)."""
_NEAREST: Final = {
    "DEPLOY": "DEPLOYMENT",
    "DEPLOYMENT_ACTIVATION": "DEPLOYMENT",
    "BUDGET_EXCEEDED": "BUDGET_OVERRIDE",
    "BUDGET": "BUDGET_OVERRIDE",
    "TASK_COMPLETION": "COMPLETE_TASK",
    "REVIEW_TO_DONE": "COMPLETE_TASK",
    "TASK_TRANSITION": "TRANSITION",
    "SPAWN_AGENT": "SPAWN",
    "SPAWN_SUBAGENT": "SPAWN",
    "VERSION_TRANSITION": "VERSION_PROMOTION",
    "PROMOTION": "VERSION_PROMOTION",
    "ROLE_ASSIGNMENT": "ROLE_GRANT",
}
_NO_JUSTIFICATION: Final = "(none recorded)"
_OPEN: Final = (ApprovalDecision.PENDING, ApprovalDecision.ESCALATED)
_DECISIONS: Final = (
    *("status", "decided_at", "decision_reason", "escalation_level", "escalated_at", "escalated_by_operator_id"),
    *("escalation_reason", "required_decision_count", "decision_count", "expires_at", "decisions"),
)
"""Columns that the approval decides alone."""
_LINEAGE: Final = ("id", "tenant_id", "created_at", "version_id", "policy_envelope_id", "requested_at", "metadata")
"""Columns that the record decides, where there is one."""


def _request_type(doc: Doc, world: World) -> str:
    """The kind of request; one that no rule maps is taken as a tool's (decision 39)."""
    given = words("actionType", doc.peek("requestType") or doc.peek("actionType"))
    if given in REQUEST_TYPES:
        doc.take("requestType", "actionType")
        return given
    nearest = _NEAREST.get(given, "TOOL_EXECUTION")
    world.report.note_once(
        str(doc.peek("legacyApprovalId") or doc.id),
        f"Approvals of the action {given!r} have the request type {nearest}",
    )
    return nearest


def _summary(doc: Doc, world: World) -> str:
    return words("actionSummary", doc.take("actionSummary") or doc.peek("actionType") or doc.peek("requestType"))


def _justification(doc: Doc, world: World) -> str:
    given = doc.take("justification")
    return words("justification", given).strip() or _NO_JUSTIFICATION if given is not None else _NO_JUSTIFICATION


def _target(doc: Doc, world: World) -> tuple[str, UUID] | None:
    """The row that the action is about: the tool call before the task (MIG-3)."""
    for entity, name in (("ToolCall", "toolCallId"), ("Task", "taskId")):
        if doc.peek(name) is not None:
            return entity, world.keys.need(entity, name, doc.peek(name))
    named = doc.peek("targetId")
    found = world.keys.find_any(named)
    if found is not None:
        doc.take("targetId", "targetEntity", "targetType")
    return found


def _status(doc: Doc, world: World) -> ApprovalDecision:
    """The status; what is open though its time is over has expired (MIG-3)."""
    status = ApprovalDecision(member("status", doc.take("status"), ApprovalDecision))
    until = doc.peek("expiresAt")
    over = until is not None and world.as_of > moment("expiresAt", until)
    return ApprovalDecision.EXPIRED if status in _OPEN and over else status


def _required(doc: Doc, world: World) -> int:
    given = doc.take("requiredDecisionCount")
    if given is not None:
        return max(whole("requiredDecisionCount", given, bits=31), 1)
    return 2 if doc.peek("riskLevel") == RiskLevel.RED else 1


def _count(doc: Doc, world: World) -> int:
    """Votes to approve; the former system counted a denial among them (APR-2)."""
    given = doc.take("decisionCount")
    if given is None:
        return 1 if doc.peek("status") == ApprovalDecision.APPROVED else 0
    denials = 1 if doc.peek("status") == ApprovalDecision.DENIED else 0
    return max(whole("decisionCount", given, bits=31) - denials, 0)


def _votes(doc: Doc, world: World) -> list[dict[str, Any]] | None:
    """The first of two votes, and the one that decided, as far as they are recorded (MIG-3)."""
    given = doc.take("decisions")
    if isinstance(given, list):
        return given
    votes = []
    first = ("firstDecisionByUserId", "firstDecisionAt", "firstDecisionReason")
    if doc.peek("firstDecisionAt") is not None:
        votes.append(_vote(world, "APPROVED", *(doc.take(name) for name in first)))
    status, at = doc.peek("status"), doc.peek("decidedAt")
    if at is not None and status in ("APPROVED", "DENIED"):
        who = doc.peek("decidedByUserId") or doc.peek("decidedByAgentId") or doc.peek("decidedBy")
        votes.append(_vote(world, status, who, at, doc.peek("decisionReason")))
    return votes or None


def _vote(world: World, decision: str, who: Any, at: Any, reason: Any) -> dict[str, Any]:
    operator = world.operator(who) if isinstance(who, str) else None
    vote = {
        "operatorId": str(operator) if operator else None,
        "text": None if operator else world.named(who),
        "decision": decision,
        "reason": reason,
        "at": iso(moment("firstDecisionAt", at)),
    }
    return {name: value for name, value in vote.items() if value is not None}


def _version(doc: Doc, world: World) -> UUID | None:
    named = key("AgentVersion", "versionId")(doc, world)
    agent = world.keys.find("AgentInstance", doc.peek("requestorAgentId") or doc.peek("requesterInstanceId"))
    return named or (world.facts.instance_version.get(agent) if agent else None)


def _metadata(doc: Doc, world: World) -> dict[str, Any]:
    """Who decided, where it was no operator: agents may not decide any more (MIG-3, APR-5)."""
    text_of, agent = doc.peek("decidedByUserId") or doc.peek("decidedBy"), doc.peek("decidedByAgentId")
    found: dict[str, Any] = {}
    if isinstance(text_of, str) and world.operator(text_of) is None:
        found["decidedByText"] = text_of
    if agent is not None:
        found["decidedByInstanceId"] = world.named(agent)
    doc.take("decidedByUserId", "decidedByAgentId")
    return found


_SHARED: Final = {
    "request_type": _request_type,
    "action_summary": _summary,
    "justification": _justification,
    "target_entity": lambda doc, world: found[0] if (found := _target(doc, world)) else None,
    "target_id": lambda doc, world: found[1] if (found := _target(doc, world)) else None,
    "status": _status,
    "required_decision_count": _required,
    "decision_count": _count,
    "decisions": _votes,
    "decided_by_operator_id": person("decidedByUserId", "decidedBy"),
    "escalated_by_operator_id": person("escalatedBy"),
    "idempotency_key": unless_blank("idempotencyKey"),
    "version_id": _version,
}

APPROVALS: Final = Mapping(
    "approvals",
    ApprovalRecord,
    {
        **_SHARED,
        "requester_id": constant(None),
        "requester_instance_id": instance("requestorAgentId", "requesterAgentId", "requestorInstanceId"),
        "legacy_approval_id": lambda doc, world: doc.id,
        "requested_at": lambda doc, world: doc.created,
    },
    more=_metadata,
)


_asking_person: Final = person("requesterId", "requestedBy")
_agent_of_record: Final = instance("requesterInstanceId", "instanceId")


def _asking_agent(doc: Doc, world: World) -> Any:
    """The agent that asks, unless a person does: a request has one requester (APR-1)."""
    return None if _asking_person(doc, world) is not None else _agent_of_record(doc, world)


RECORDS: Final = Mapping(
    "approvalRecords",
    ApprovalRecord,
    {
        **_SHARED,
        "requester_id": _asking_person,
        "requester_instance_id": _asking_agent,
        "legacy_approval_id": renamed("legacyApprovalId"),
    },
    more=_metadata,
)


@dataclass
class Approvals:
    """The approvals and approval records of one import."""

    engine: Engine
    approvals: dict[str, Doc] = field(default_factory=dict)
    """New approvals by legacy id."""

    async def run(self) -> None:
        """Import both tables."""
        async for docs in self.engine.fresh("approvals"):
            self.approvals |= {doc.id: doc for doc in docs}
        joined: list[tuple[Doc, str]] = []
        target = table_of(ApprovalRecord)
        async for docs in self.engine.fresh("approvalRecords"):
            mapped = []
            for one in self.engine.map(RECORDS, docs):
                mapped.append(one)
                approval = self.approvals.pop(str(one.row["legacy_approval_id"]), None)
                if approval is not None and self._join(one.row, approval):
                    joined.append((approval, one.doc.id))
            await self.engine.write("ApprovalRecord", target, mapped)
        for approval, record in joined:
            row = self.engine.world.keys.find("ApprovalRecord", record)
            if row is None:
                self.engine.reject(approval, Rejection("_id", record, "is continued by a record that was rejected"))
            else:
                await self.engine.merge(approval, "ApprovalRecord", row)
        rest = iter(self.approvals.values())
        while batch := list(islice(rest, BATCH)):
            await self.engine.write("ApprovalRecord", target, self.engine.map(APPROVALS, batch))

    def _join(self, row: Row, approval: Doc) -> bool:
        """Put the approval's content and decisions into the record's row; a bad approval leaves it as it is."""
        try:
            other = APPROVALS.map(approval, self.engine.world).row
        except Rejection as rejection:
            self.engine.reject(approval, rejection)
            return False
        for name, value in other.items():
            if name in _DECISIONS or (name not in _LINEAGE and value is not None):
                row[name] = value
        if other["requester_instance_id"] is not None:
            row["requester_id"] = None
        if approval.peek("decidedByAgentId") is not None:
            row["decided_by_operator_id"] = None
        extra = {name: one for name, one in other["metadata"].items() if name not in ("legacyTable", "legacyId")}
        row["metadata"] = {**extra, **row["metadata"]}
        return True

    async def point_tool_calls(self) -> None:
        """Put the approval's new id into the verdicts of tool calls that name it (TOL-3)."""
        world = self.engine.world
        ids = {legacy: str(row) for legacy, row in world.keys.all_of("ApprovalRecord").items()}
        if not ids:
            return
        await self.engine.connection.execute(
            text(
                "UPDATE tool_calls SET policy_result = jsonb_set(policy_result, '{approvalId}', to_jsonb(given.id))"
                " FROM unnest(CAST(:legacy AS text[]), CAST(:ids AS text[])) AS given (legacy, id)"
                " WHERE tool_calls.tenant_id = :tenant_id AND policy_result ->> 'approvalId' = given.legacy"
            ),
            {"tenant_id": world.tenant_id, "legacy": list(ids), "ids": list(ids.values())},
        )
        for target, row in self.engine.sample:
            verdict = row.get("policy_result") if target.name == "tool_calls" else None
            if isinstance(verdict, dict) and verdict.get("approvalId") in ids:
                row["policy_result"] = {**verdict, "approvalId": ids[verdict["approvalId"]]}

    async def approve_versions(self) -> None:
        """Link versions to the approvals that ARM listed on them (VER-1)."""
        world = self.engine.world
        for document in self.engine.snapshot.documents("agentVersions"):
            version = world.keys.find("AgentVersion", document["_id"])
            listed = document.get("approvals")
            if version is None or not isinstance(listed, list):
                continue
            found = [world.keys.find("ApprovalRecord", one) for one in listed]
            rows: list[Row] = [
                {"tenant_id": world.tenant_id, "version_id": version, "approval_id": one, "position": position}
                for position, one in enumerate(dict.fromkeys(one for one in found if one is not None))
            ]
            await self.engine.add_missing(table_of(AgentVersionApproval), rows)
