"""The real application in the test's process, with real tokens: what a client sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from app.auth.actor import ActorKind
from app.auth.permissions import SYSTEM_ROLES
from app.main import Application
from app.settings import Settings
from db import models
from db.connections import Connections
from db.ids import new_id
from tests.conftest import TenantUnderTest


@dataclass
class Served:
    """The application, a client, and a tenant with an admin."""

    application: Application
    client: httpx.AsyncClient
    tenant: TenantUnderTest
    admin: models.Operator
    headers: dict[str, str]

    async def operator(self, role: str, **assignment: Any) -> models.Operator:
        """A new operator who holds a system role; `assignment` narrows the grant."""
        operator = new_person(role)
        await self.tenant.add(operator)
        await grant(self.tenant, operator.id, role, **assignment)
        return operator

    async def token(self, role: str, **assignment: Any) -> str:
        """A token of a new operator who holds the role."""
        return self.token_of(await self.operator(role, **assignment))

    def token_of(self, operator: models.Operator) -> str:
        """A token of an operator."""
        tokens = self.application.gateway.authenticator.local
        assert tokens is not None
        return tokens.issue(ActorKind.OPERATOR, operator.auth_id, tenant=self.tenant.slug)

    async def post(self, query: str, token: str | None = None, **variables: Any) -> dict[str, Any]:
        """The body of an answer over HTTP."""
        headers = self.headers if token is None else {"Authorization": f"Bearer {token}"}
        response = await self.client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        body: dict[str, Any] = response.json()
        return body


def new_person(name: str) -> models.Operator:
    """An operator, not stored yet, who has signed in before: their next request writes nothing (GDPR-4)."""
    return models.Operator(
        id=new_id(),
        auth_id=f"sub-{new_id().hex}",
        name=name,
        email=f"{name}@example.com",
        gdpr_consent_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


async def grant(tenant: TenantUnderTest, operator_id: UUID, role_name: str, **assignment: Any) -> None:
    """Give an operator a system role."""
    role = models.Role(
        id=new_id(),
        name=f"{role_name} {new_id().hex[-6:]}",
        permissions=sorted(SYSTEM_ROLES[role_name].permissions),
    )
    given = models.RoleAssignment(
        role_id=role.id, operator_id=operator_id, assigned_at=tenant.project.created_at, **assignment
    )
    await tenant.add(role, given)


@asynccontextmanager
async def open_application(
    connections: Connections, directory: Path, **given: Any
) -> AsyncIterator[tuple[Application, httpx.AsyncClient]]:
    """The application without its jobs and a client of it, for as long as the block lasts; `given` are further
    settings."""
    settings = Settings(
        database_url=connections.gateway.url,
        owner_database_url=connections.owner.url,
        platform_database_url=connections.platform.url,
        data_dir=directory,
        jobs=False,
        **given,
    )
    application = Application(settings)
    async with application.running():
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as client:
            yield application, client


@asynccontextmanager
async def serve(
    connections: Connections, tenant: TenantUnderTest, directory: Path, **given: Any
) -> AsyncIterator[Served]:
    """The application with an Admin, for as long as the block lasts; `given` are further settings."""
    async with open_application(connections, directory, **given) as (application, client):
        admin = new_person("Ada")
        await tenant.add(admin)
        await grant(tenant, admin.id, "Admin")
        served = Served(application, client, tenant, admin, {})
        served.headers["Authorization"] = f"Bearer {served.token_of(admin)}"
        yield served
