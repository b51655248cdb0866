"""Plain Strawberry: the ordinary program that its documentation teaches, over the same models.

Types with fields, resolvers for relations, one dataloader for each relation (bench/plain_loaders.py), SQLAlchemy's ORM
underneath, and Strawberry's own ASGI view. Lists are Relay connections written as types (bench/plain_connection.py),
and the two custom scalars keep the answers equal to the gateway's. It knows one tenant and checks nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NewType
from uuid import UUID

import strawberry
from sqlalchemy import select
from strawberry.asgi import GraphQL
from strawberry.schema.config import StrawberryConfig
from strawberry.types import Info

from bench.plain_connection import Connection, connection
from bench.plain_loaders import TENANT, Context, Session
from bench.serving import serve
from db import models
from db.enums import (
    ApprovalDecision,
    ChangeRecordType,
    InstanceState,
    LifecycleState,
    OpEventType,
    RiskLevel,
    RunStatus,
    TaskStatus,
)
from db.ids import first_id_at

Asking = Info[Context, None]
Seq = NewType("Seq", int)

_ENUMS = (
    *(ApprovalDecision, ChangeRecordType, InstanceState, LifecycleState, OpEventType, RiskLevel, RunStatus, TaskStatus),
)
for enumeration in _ENUMS:
    strawberry.enum(enumeration)


def global_id(prefix: str, row_id: UUID) -> strawberry.ID:
    return strawberry.ID(f"{prefix}_{row_id.hex}")


@strawberry.type
class AgentTemplate:
    id: strawberry.ID
    name: str
    default_role: str | None

    @classmethod
    def of(cls, row: models.AgentTemplate) -> AgentTemplate:
        return cls(id=global_id("tpl", row.id), name=row.name, default_role=row.default_role)


@strawberry.type
class AgentVersion:
    id: strawberry.ID
    version_label: str | None
    lifecycle_state: LifecycleState
    genome_hash: str
    template_id: strawberry.Private[UUID]

    @classmethod
    def of(cls, row: models.AgentVersion) -> AgentVersion:
        return cls(
            id=global_id("ver", row.id),
            version_label=row.version_label,
            lifecycle_state=row.lifecycle_state,
            genome_hash=row.genome_hash,
            template_id=row.template_id,
        )

    @strawberry.field
    async def template(self, info: Asking) -> AgentTemplate:
        return AgentTemplate.of(await info.context.templates.load(self.template_id))


@strawberry.type
class Run:
    id: strawberry.ID
    status: RunStatus
    model: str
    started_at: datetime
    ended_at: datetime | None
    input_tokens: int
    output_tokens: int
    cost_usd: float
    version_id: strawberry.Private[UUID]

    @classmethod
    def of(cls, row: models.Run) -> Run:
        return cls(
            id=global_id("run", row.id),
            status=row.status,
            model=row.model,
            started_at=row.started_at,
            ended_at=row.ended_at,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cost_usd=float(row.cost_usd),
            version_id=row.version_id,
        )

    @strawberry.field
    async def version(self, info: Asking) -> AgentVersion:
        return AgentVersion.of(await info.context.versions.load(self.version_id))


@strawberry.type
class Task:
    id: strawberry.ID
    title: str
    status: TaskStatus
    row_id: strawberry.Private[UUID]

    @classmethod
    def of(cls, row: models.Task) -> Task:
        return cls(id=global_id("tsk", row.id), title=row.title, status=row.status, row_id=row.id)

    @strawberry.field
    async def runs(self, info: Asking, first: int = 50) -> Connection[Run]:
        return connection(await info.context.runs.load((self.row_id, first + 1)), first, Run.of)


@strawberry.type
class AgentInstance:
    id: strawberry.ID
    name: str | None
    state: InstanceState
    heartbeat_at: datetime | None
    spend_today: float
    created_at: datetime
    updated_at: datetime
    row_id: strawberry.Private[UUID]
    version_id: strawberry.Private[UUID]

    @classmethod
    def of(cls, row: models.AgentInstance) -> AgentInstance:
        return cls(
            id=global_id("ins", row.id),
            name=row.name,
            state=row.state,
            heartbeat_at=row.heartbeat_at,
            spend_today=float(row.spend_today),
            created_at=row.created_at,
            updated_at=row.updated_at,
            row_id=row.id,
            version_id=row.version_id,
        )

    @strawberry.field
    async def version(self, info: Asking) -> AgentVersion:
        return AgentVersion.of(await info.context.versions.load(self.version_id))

    @strawberry.field
    async def tasks(self, info: Asking, first: int = 50) -> Connection[Task]:
        return connection(await info.context.tasks.load((self.row_id, first + 1)), first, Task.of)


@strawberry.type
class ChangeRecord:
    id: strawberry.ID
    type: ChangeRecordType
    summary: str | None
    timestamp: datetime

    @classmethod
    def of(cls, row: models.ChangeRecord) -> ChangeRecord:
        return cls(id=global_id("chg", row.id), type=row.type, summary=row.summary, timestamp=row.timestamp)


@strawberry.type
class OpEvent:
    id: strawberry.ID
    seq: Seq
    type: OpEventType
    timestamp: datetime
    instance_id: strawberry.Private[UUID | None]
    change_record_id: strawberry.Private[UUID | None]

    @classmethod
    def of(cls, row: models.OpEvent) -> OpEvent:
        return cls(
            id=global_id("evt", row.id),
            seq=Seq(row.seq),
            type=row.type,
            timestamp=row.timestamp,
            instance_id=row.instance_id,
            change_record_id=row.change_record_id,
        )

    @strawberry.field
    async def instance(self, info: Asking) -> AgentInstance | None:
        row = await info.context.instances.load(self.instance_id) if self.instance_id else None
        return AgentInstance.of(row) if row else None

    @strawberry.field
    async def change_record(self, info: Asking) -> ChangeRecord | None:
        row = await info.context.changes.load(self.change_record_id) if self.change_record_id else None
        return ChangeRecord.of(row) if row else None


@strawberry.type
class Operator:
    id: strawberry.ID
    name: str

    @classmethod
    def of(cls, row: models.Operator) -> Operator:
        return cls(id=global_id("opr", row.id), name=row.name)


@strawberry.type
class PolicyEnvelope:
    id: strawberry.ID
    name: str
    autonomy_tier: int | None

    @classmethod
    def of(cls, row: models.PolicyEnvelope) -> PolicyEnvelope:
        return cls(id=global_id("pol", row.id), name=row.name, autonomy_tier=row.autonomy_tier)


@strawberry.type
class ApprovalRecord:
    id: strawberry.ID
    request_type: str
    risk_level: RiskLevel | None
    status: ApprovalDecision
    action_summary: str
    created_at: datetime
    expires_at: datetime | None
    requester_id: strawberry.Private[UUID | None]
    requester_instance_id: strawberry.Private[UUID | None]
    version_id: strawberry.Private[UUID | None]
    policy_envelope_id: strawberry.Private[UUID | None]

    @classmethod
    def of(cls, row: models.ApprovalRecord) -> ApprovalRecord:
        return cls(
            id=global_id("apr", row.id),
            request_type=row.request_type,
            risk_level=row.risk_level,
            status=row.status,
            action_summary=row.action_summary,
            created_at=row.created_at,
            expires_at=row.expires_at,
            requester_id=row.requester_id,
            requester_instance_id=row.requester_instance_id,
            version_id=row.version_id,
            policy_envelope_id=row.policy_envelope_id,
        )

    @strawberry.field
    async def requester(self, info: Asking) -> Operator | None:
        row = await info.context.operators.load(self.requester_id) if self.requester_id else None
        return Operator.of(row) if row else None

    @strawberry.field
    async def requester_instance(self, info: Asking) -> AgentInstance | None:
        row = await info.context.instances.load(self.requester_instance_id) if self.requester_instance_id else None
        return AgentInstance.of(row) if row else None

    @strawberry.field
    async def version(self, info: Asking) -> AgentVersion | None:
        row = await info.context.versions.load(self.version_id) if self.version_id else None
        return AgentVersion.of(row) if row else None

    @strawberry.field
    async def policy_envelope(self, info: Asking) -> PolicyEnvelope | None:
        row = await info.context.envelopes.load(self.policy_envelope_id) if self.policy_envelope_id else None
        return PolicyEnvelope.of(row) if row else None


@strawberry.input
class DateTimeFilter:
    gte: datetime
    lt: datetime | None = None


@strawberry.input
class AgentInstanceFilter:
    created_at: DateTimeFilter


@strawberry.input
class OpEventFilter:
    timestamp: DateTimeFilter


@strawberry.input
class ApprovalDecisionFilter:
    eq: ApprovalDecision


@strawberry.input
class ApprovalRecordFilter:
    status: ApprovalDecisionFilter


@strawberry.type
class Query:
    @strawberry.field
    async def agent_instance(self, id: strawberry.ID) -> AgentInstance | None:
        async with Session() as session:
            row = await session.get(models.AgentInstance, (TENANT, UUID(id.removeprefix("ins_"))))
        return AgentInstance.of(row) if row else None

    @strawberry.field
    async def agent_instances(self, filter: AgentInstanceFilter, first: int = 50) -> Connection[AgentInstance]:
        model = models.AgentInstance
        # As in the gateway: the id carries the time, and has the index.
        conditions = (model.tenant_id == TENANT, model.id >= first_id_at(filter.created_at.gte))
        statement = select(model).where(*conditions).order_by(model.id).limit(first + 1)
        async with Session() as session:
            rows = await session.scalars(statement)
            return connection(rows.all(), first, AgentInstance.of)

    @strawberry.field
    async def op_events(self, filter: OpEventFilter, first: int = 50) -> Connection[OpEvent]:
        model = models.OpEvent
        statement = select(model).where(model.tenant_id == TENANT, model.id >= first_id_at(filter.timestamp.gte))
        if filter.timestamp.lt is not None:
            statement = statement.where(model.id < first_id_at(filter.timestamp.lt))
        async with Session() as session:
            rows = await session.scalars(statement.order_by(model.id).limit(first + 1))
            return connection(rows.all(), first, OpEvent.of)

    @strawberry.field
    async def approval_records(self, filter: ApprovalRecordFilter, first: int = 50) -> Connection[ApprovalRecord]:
        model = models.ApprovalRecord
        async with Session() as session:
            rows = await session.scalars(
                select(model)
                .where(model.tenant_id == TENANT, model.status == filter.status.eq)
                .order_by(model.id)
                .limit(first + 1)
            )
            return connection(rows.all(), first, ApprovalRecord.of)


def format_datetime(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


schema = strawberry.Schema(
    Query,
    config=StrawberryConfig(
        scalar_map={
            datetime: strawberry.scalar(name="DateTime", serialize=format_datetime, parse_value=datetime.fromisoformat),
            Seq: strawberry.scalar(name="Seq", serialize=str, parse_value=int),
        }
    ),
)


class View(GraphQL[Context, None]):
    """Strawberry's view, with the dataloaders of each request."""

    async def get_context(self, request: Any, response: Any) -> Context:
        return Context()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "lifespan":
        await view(scope, receive, send)


view = View(schema, graphql_ide=None)

if __name__ == "__main__":
    serve(application)
