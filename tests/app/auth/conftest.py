"""A tenant of its own for each test that looks callers up."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, insert, update

from db.enums import InstanceState, OperatorStatus
from db.ids import new_id
from db.models import AgentInstance, AgentTemplate, AgentVersion, Operator, Role, RoleAssignment
from db.session import Database
from tests.app.auth.provider import Provider, running
from tests.conftest import TenantUnderTest

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Fleet:
    """A tenant that the test fills with people and agents, through the platform's connection."""

    tenant: TenantUnderTest

    @property
    def database(self) -> Database:
        return self.tenant.database

    @property
    def tenant_id(self) -> UUID:
        return self.tenant.id

    @property
    def slug(self) -> str:
        return self.tenant.slug

    @property
    def project_id(self) -> UUID:
        return self.tenant.project.id

    @property
    def environment_id(self) -> UUID:
        return self.tenant.environment.id

    async def add(self, model: type[Any], **values: Any) -> UUID:
        """Insert one row of the tenant and return its id."""
        row_id = new_id()
        async with self.database.platform() as connection:
            await connection.execute(insert(model).values(id=row_id, tenant_id=self.tenant_id, **values))
        return row_id

    async def change(self, model: type[Any], row_id: UUID, **values: Any) -> None:
        """Set columns of one row."""
        async with self.database.platform() as connection:
            await connection.execute(update(model).where(model.id == row_id).values(**values))

    async def remove(self, model: type[Any], row_id: UUID) -> None:
        """Delete one row."""
        async with self.database.platform() as connection:
            await connection.execute(delete(model).where(model.id == row_id))

    async def operator(
        self, auth_id: str, status: OperatorStatus = OperatorStatus.ACTIVE, email: str | None = None
    ) -> UUID:
        """A person."""
        return await self.add(
            Operator, auth_id=auth_id, name=auth_id.title(), email=email or f"{auth_id}@fleet.example", status=status
        )

    async def role(self, name: str, *permissions: str) -> UUID:
        """A role."""
        return await self.add(Role, name=name, permissions=list(permissions))

    async def assign(self, operator: UUID, role: UUID, **scope: Any) -> UUID:
        """A grant; `scope` is project_id, environment_id, expires_at."""
        return await self.add(RoleAssignment, operator_id=operator, role_id=role, assigned_at=LONG_AGO, **scope)

    async def instance(self, state: InstanceState = InstanceState.ACTIVE, name: str | None = "Scout") -> UUID:
        """An agent with everything that it hangs on."""
        template = await self.add(AgentTemplate, name="Scout")
        version = await self.add(AgentVersion, template_id=template, genome={}, genome_hash="0" * 64)
        return await self.add(
            AgentInstance,
            version_id=version,
            environment_id=self.environment_id,
            project_id=self.project_id,
            state=state,
            name=name,
            token_epoch=2,
        )


@pytest.fixture
def fleet(tenant: TenantUnderTest) -> Fleet:
    """The test's own tenant."""
    return Fleet(tenant)


@pytest.fixture
def other(other_tenant: TenantUnderTest) -> Fleet:
    """Another tenant."""
    return Fleet(other_tenant)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """An OpenID provider of the test's own."""
    with running() as made:
        yield made
