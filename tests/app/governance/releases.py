"""Releases to plan, approve and take back, for the tests of deployments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.commands import Done, Refused
from app.running import run
from db import models
from db.enums import DeploymentStatus, InstanceState, LifecycleState
from db.ids import new_id
from tests.app.governance.desk import done
from tests.governed import Registry

D, V, N = DeploymentStatus, LifecycleState, InstanceState


@dataclass
class Releases:
    """A registry, and somebody else who approves."""

    registry: Registry
    other: models.Operator
    staging: models.Environment

    async def version(self, state: LifecycleState = V.APPROVED) -> models.AgentVersion:
        """A version."""
        return await self.registry.version(state)

    async def plan(self, version: models.AgentVersion, **more: Any) -> models.Deployment:
        """A planned release to production."""
        given = {"environment_id": self.registry.tenant.environment.id, "target_version_id": version.id, **more}
        row: models.Deployment = await self.registry.done("create_deployment", **given)
        return row

    async def approve(self, deployment: models.Deployment) -> None:
        """What production asks for: somebody else's approval, and a decided request."""
        done(await self.by_other("approve_deployment", deployment_id=deployment.id))
        await self.registry.approval("DEPLOYMENT", "Deployment", deployment.id)

    async def by_other(self, name: str, **arguments: Any) -> Done | Refused:
        """A command of the other operator."""
        tenant = self.registry.tenant
        return await run(tenant.database, tenant.actor(operator_id=self.other.id), name, arguments)

    async def activate(self, deployment: models.Deployment) -> Done | Refused:
        """Bring it into force."""
        return await self.registry.do("activate_deployment", deployment_id=deployment.id)

    async def in_force(self, version: models.AgentVersion, **more: Any) -> models.Deployment:
        """A release that is in force."""
        deployment = await self.plan(version, **more)
        await self.approve(deployment)
        done(await self.activate(deployment))
        return deployment

    async def put(self, deployment: models.Deployment, **values: Any) -> None:
        """Change a row without the commands."""
        await self._change(models.Deployment, deployment.id, values)

    async def put_version(self, version: models.AgentVersion, state: LifecycleState) -> None:
        """Move a version without the commands."""
        await self._change(models.AgentVersion, version.id, {"lifecycle_state": state})

    async def _change(self, model: Any, row_id: UUID, values: Mapping[str, Any]) -> None:
        tenant = self.registry.tenant
        async with tenant.database.transaction(tenant.actor()) as session:
            row = await session.get(model, (tenant.id, row_id))
            for name, value in values.items():
                setattr(row, name, value)

    async def rows(self, model: Any) -> list[Any]:
        """Every row of a kind, oldest first."""
        tenant = self.registry.tenant
        async with tenant.database.transaction(tenant.actor()) as session:
            return list(await session.scalars(select(model).where(model.tenant_id == tenant.id).order_by(model.id)))

    async def row(self, deployment: models.Deployment) -> Any:
        """The release as it is now."""
        (found,) = [one for one in await self.rows(models.Deployment) if one.id == deployment.id]
        return found

    async def agent(self, version: models.AgentVersion, state: InstanceState) -> models.AgentInstance:
        """An agent of a version in production."""
        tenant = self.registry.tenant
        agent = models.AgentInstance(
            id=new_id(),
            version_id=version.id,
            project_id=tenant.project.id,
            environment_id=tenant.environment.id,
            state=state,
            name=state.value,
        )
        await tenant.add(agent)
        return agent
