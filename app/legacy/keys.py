"""From the ids of a snapshot to the ids of rows, and which row continues which document (MIG-0a, CVX-5)."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, any_, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.legacy.document import Doc, Rejection
from db.ids import id_from
from db.models.gateway import LegacyId

ENTITY_OF_TABLE: Final[Mapping[str, str]] = {
    "projects": "Project",
    "environments": "Environment",
    "operators": "Operator",
    "org_members": "OrgMember",
    "providers": "Provider",
    "agent_templates": "AgentTemplate",
    "agent_versions": "AgentVersion",
    "agent_instances": "AgentInstance",
    "policy_envelopes": "PolicyEnvelope",
    "approval_records": "ApprovalRecord",
    "deployments": "Deployment",
    "roles": "Role",
    "change_records": "ChangeRecord",
    "tasks": "Task",
    "messages": "Message",
    "runs": "Run",
    "tool_calls": "ToolCall",
    "telegraph_threads": "TelegraphThread",
    "telegraph_messages": "TelegraphMessage",
    "meetings": "Meeting",
    "workflows": "Workflow",
    "workflow_runs": "WorkflowRun",
    "evaluation_suites": "EvaluationSuite",
    "evaluation_runs": "EvaluationRun",
    "notification_events": "NotificationEvent",
    "experiments": "Experiment",
    "webhooks": "Webhook",
}
"""The tables that other rows refer to, with the name of their type: the ids of these are kept at hand."""

_TARGETS: Final = ("Tenant", "AgentIdentity", "Review", "Alert", "ExecutionRequest", "OperatorControl", "SavedView")
"""Types that no column refers to, but a journal may be about."""
REFERRED: Final = frozenset((*ENTITY_OF_TABLE.values(), *_TARGETS))

_TABLE_WORDS: Final[Mapping[str, str]] = {
    "AGENT": "AgentInstance",
    "INSTANCE": "AgentInstance",
    "APPROVAL": "ApprovalRecord",
    "THREAD": "TelegraphThread",
    "POLICY": "PolicyEnvelope",
    "TEMPLATE": "AgentTemplate",
    "VERSION": "AgentVersion",
    "IDENTITY": "AgentIdentity",
    "agents": "AgentInstance",
    "approvals": "ApprovalRecord",
    "policies": "PolicyEnvelope",
}


def entity_named(word: str) -> str | None:
    """The type that a snapshot means by a word such as `TASK`, `AGENT` or `agentVersions`; None for other words."""
    if word in _TABLE_WORDS:
        return _TABLE_WORDS[word]
    flat = word.replace("_", "").replace("-", "").casefold()
    return next((one for one in REFERRED if flat in (one.casefold(), f"{one.casefold()}s")), None)


def row_id(tenant_id: UUID, table: str, legacy_id: str, at: datetime) -> UUID:
    """The id of the row that continues a document: the same in every import of it into the same tenant.

    A UUIDv7 of the document's time (decision 20) whose random bits are a hash of tenant, table and legacy id.
    """
    digest = hashlib.sha256(f"{tenant_id}:{table}:{legacy_id}".encode()).digest()
    return id_from(at, int.from_bytes(digest[:10]))


def any_of(values: Sequence[UUID] | Sequence[str]) -> Any:
    """`= ANY(array)`: one parameter, however many values; IN would need one for each."""
    kind = Uuid() if values and isinstance(values[0], UUID) else Text()
    return any_(literal(list(values), ARRAY(kind)))


class Keys:
    """The ids of everything that was imported so far, by type and legacy id."""

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self._rows: defaultdict[str, dict[str, UUID]] = defaultdict(dict)
        self._absent: dict[str, str] = {}

    def add(self, entity: str, legacy_id: str, row: UUID) -> None:
        """Remember a row that exists now."""
        if entity in REFERRED:
            self._rows[entity][legacy_id] = row

    def add_absent(self, legacy_id: str, why: str) -> None:
        """Remember that a document got no row of its own, so that what refers to it can say why it cannot."""
        self._absent[legacy_id] = why

    def find(self, entity: str, legacy_id: Any) -> UUID | None:
        """The row of this type that continues the document, if there is one."""
        return self._rows[entity].get(legacy_id) if isinstance(legacy_id, str) else None

    def find_any(self, legacy_id: Any) -> tuple[str, UUID] | None:
        """Type and row of a document of whatever table."""
        if isinstance(legacy_id, str):
            for entity, rows in self._rows.items():
                if legacy_id in rows:
                    return entity, rows[legacy_id]
        return None

    def need(self, entity: str, field: str, legacy_id: Any) -> UUID:
        """The row of this type that continues the document. Raises Rejection where there is none (MIG-0c)."""
        found = self.find(entity, legacy_id)
        if found is None:
            raise Rejection(field, legacy_id, self.why_not(entity, legacy_id))
        return found

    def why_not(self, entity: str, legacy_id: Any) -> str:
        """Why a reference finds no row, for the report."""
        why = self._absent.get(legacy_id) if isinstance(legacy_id, str) else None
        return f"refers to a document that {why}" if why else f"refers to no {entity} of the snapshot or the tenant"

    def all_of(self, entity: str) -> Mapping[str, UUID]:
        """Every row of a type by its legacy id."""
        return self._rows[entity]

    async def load(self, connection: AsyncConnection) -> None:
        """Take up what earlier imports into this tenant left, as far as rows refer to it."""
        found = await connection.stream(
            select(LegacyId.entity, LegacyId.legacy_id, LegacyId.row_id).where(
                LegacyId.tenant_id == self.tenant_id, LegacyId.entity.in_(REFERRED)
            )
        )
        async for entity, legacy_id, row in found:
            self._rows[entity][legacy_id] = row

    async def known(self, connection: AsyncConnection, table: str, docs: Sequence[Doc]) -> dict[str, tuple[UUID, str]]:
        """Row and content hash of those of the documents that were imported before, by legacy id."""
        found = await connection.execute(
            select(LegacyId.legacy_id, LegacyId.row_id, LegacyId.content_hash, LegacyId.entity).where(
                LegacyId.tenant_id == self.tenant_id,
                LegacyId.legacy_table == table,
                LegacyId.legacy_id == any_of([doc.id for doc in docs]),
            )
        )
        rows = {}
        for legacy_id, row, content_hash, entity in found:
            rows[legacy_id] = (row, content_hash)
            self.add(entity, legacy_id, row)
        return rows

    async def record(self, connection: AsyncConnection, entries: Sequence[tuple[Doc, str, UUID]]) -> None:
        """Write down which row, of which type, continues each document: the side map of MIG-0a."""
        await connection.execute(
            _RECORD,
            {
                "tenant_id": self.tenant_id,
                "tables": [doc.table for doc, _, _ in entries],
                "ids": [doc.id for doc, _, _ in entries],
                "entities": [entity for _, entity, _ in entries],
                "rows": [row for _, _, row in entries],
                "hashes": [doc.hash for doc, _, _ in entries],
            },
        )


_RECORD: Final = text(
    "INSERT INTO gateway.legacy_ids (tenant_id, legacy_table, legacy_id, entity, row_id, content_hash)"
    " SELECT :tenant_id, * FROM unnest(CAST(:tables AS text[]), CAST(:ids AS text[]), CAST(:entities AS text[]),"
    " CAST(:rows AS uuid[]), CAST(:hashes AS text[]))"
)
