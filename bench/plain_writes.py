"""Plain Strawberry's mutation: an instance's state and a record of its change, by SQLAlchemy's ORM in one transaction.

It checks nothing: no token, permission, tenant, state machine or input, and its record has no number and no hash.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import strawberry
from sqlalchemy import DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from strawberry.asgi import GraphQL

from bench.plain_loaders import Session
from bench.serving import serve
from db import models
from db.enums import ChangeRecordType, InstanceState
from db.ids import new_id

for enumeration in (InstanceState, ChangeRecordType):
    strawberry.enum(enumeration)


class Base(DeclarativeBase):
    """Of the record alone."""


class Change(Base):
    """What was changed."""

    __tablename__ = "bench_changes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    type: Mapped[str]
    target_id: Mapped[UUID]
    before_state: Mapped[Any] = mapped_column(JSONB)
    after_state: Mapped[Any] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@strawberry.type
class AgentInstance:
    state: InstanceState


@strawberry.type
class ChangeRecord:
    type: ChangeRecordType


@strawberry.type
class UserError:
    code: str
    message: str


@strawberry.type
class AgentInstanceTransitionPayload:
    agent_instance: AgentInstance | None
    change_record: ChangeRecord | None
    user_errors: list[UserError]


@strawberry.input
class AgentInstanceTransitionInput:
    tenant_id: UUID
    instance_id: strawberry.ID
    to: InstanceState


@strawberry.type
class Query:
    nothing: str = ""


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def agent_instance_transition(self, input: AgentInstanceTransitionInput) -> AgentInstanceTransitionPayload:
        key = (input.tenant_id, UUID(input.instance_id.removeprefix("ins_")))
        kind = ChangeRecordType.INSTANCE_TRANSITIONED
        async with Session() as session, session.begin():
            row = await session.get(models.AgentInstance, key, with_for_update=True)
            if row is None:
                return AgentInstanceTransitionPayload(
                    agent_instance=None, change_record=None, user_errors=[UserError(code="NOT_FOUND", message="")]
                )
            before, row.state = row.state, input.to
            session.add(
                Change(
                    id=new_id(),
                    tenant_id=row.tenant_id,
                    type=kind.value,
                    target_id=row.id,
                    before_state={"state": before.value},
                    after_state={"state": input.to.value},
                    created_at=datetime.now(UTC),
                )
            )
        return AgentInstanceTransitionPayload(
            agent_instance=AgentInstance(state=row.state), change_record=ChangeRecord(type=kind), user_errors=[]
        )


view: GraphQL[None, None] = GraphQL(strawberry.Schema(Query, mutation=Mutation), graphql_ide=None)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "lifespan":
        await view(scope, receive, send)


if __name__ == "__main__":
    serve(application)
