"""What everybody was told: the graph shows a recipient their own notifications alone (NOT-6)."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select

from db.models import AgentInstance, Notification, Operator
from tests.conftest import TenantUnderTest


@dataclass(frozen=True)
class Told:
    """One notification, with its recipient's name."""

    name: str
    type: str
    severity: str
    body: str | None
    task_id: UUID | None


async def everybodys(tenant: TenantUnderTest) -> list[Told]:
    """The notifications of all recipients of a tenant, from the table."""
    statement = (
        select(Notification, func.coalesce(Operator.name, AgentInstance.name))
        .outerjoin(Operator, (Operator.tenant_id == tenant.id) & (Operator.id == Notification.operator_id))
        .outerjoin(
            AgentInstance, (AgentInstance.tenant_id == tenant.id) & (AgentInstance.id == Notification.instance_id)
        )
        .where(Notification.tenant_id == tenant.id)
    )
    async with tenant.database.transaction(tenant.actor()) as session:
        found = (await session.execute(statement)).all()
    return [
        Told(name, row.type.value, row.severity.value if row.severity else "", row.body, row.task_id)
        for row, name in found
    ]
