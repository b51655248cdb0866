"""A tenant with what governed commands need, and a short way to run one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from app.auth.actor import Actor
from app.commands import Done, Refused
from app.running import run
from db import models
from db.enums import ApprovalDecision, EvalStatus, LifecycleState
from db.ids import new_id
from tests.asking import data_of
from tests.conftest import TenantUnderTest

GENOME: dict[str, Any] = {
    "modelConfig": {"primaryModel": "m-1", "temperature": 0.7, "maxTokens": 4096.0},
    "promptBundleHash": "p1",
    "toolManifest": [{"toolId": "search", "schemaVersion": "1.0", "requiredPermissions": ["web:read"]}],
    "provenance": {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "ci"},
}
GENOME_HASH = "6041170aa1647119a0d848680ff37ba482c8d3b42ca31dd40adad90af7fa42e3"
"""GEN-4."""


@dataclass
class Registry:
    """The tenant, an operator who may do everything, and a template."""

    tenant: TenantUnderTest
    operator: models.Operator
    template: models.AgentTemplate

    @property
    def actor(self) -> Actor:
        return self.tenant.actor(operator_id=self.operator.id)

    async def do(self, name: str, /, *, actor: Actor | None = None, **arguments: Any) -> Done | Refused:
        """Run a command."""
        return await run(self.tenant.database, actor or self.actor, name, arguments)

    async def done(self, name: str, /, **arguments: Any) -> Any:
        """Run a command that must succeed; the row."""
        outcome = await self.do(name, **arguments)
        assert isinstance(outcome, Done), outcome
        return outcome.row

    async def refused(self, name: str, /, **arguments: Any) -> Refused:
        """Run a command that must be refused."""
        outcome = await self.do(name, **arguments)
        assert isinstance(outcome, Refused), outcome
        return outcome

    async def version(
        self, state: LifecycleState = LifecycleState.APPROVED, *, eval_status: EvalStatus = EvalStatus.NOT_RUN
    ) -> models.AgentVersion:
        """A version in this state, put there without the commands."""
        version = models.AgentVersion(
            template_id=self.template.id,
            genome=GENOME,
            genome_hash=GENOME_HASH,
            lifecycle_state=state,
            eval_status=eval_status,
        )
        await self.tenant.add(version)
        return version

    async def tier(self, tier: int) -> None:
        """The tenant's envelope."""
        await self.tenant.add(
            models.PolicyEnvelope(
                name=f"tier {tier}", attached_to_tenant=True, autonomy_tier=tier, version=1, active=True
            )
        )

    async def approval(self, request_type: str, entity: str, row_id: Any) -> models.ApprovalRecord:
        """An approval that somebody granted."""
        approval = models.ApprovalRecord(
            request_type=request_type,
            target_entity=entity,
            target_id=row_id,
            action_summary="do it",
            justification="because",
            status=ApprovalDecision.APPROVED,
        )
        await self.tenant.add(approval)
        return approval

    async def journal(self) -> list[Mapping[str, Any]]:
        """Every change record of the tenant, in order."""
        query = """{ changeRecords(first: 200, orderBy: [{field: SEQ}]) { edges { node {
            seq type beforeState afterState reason actorType target { id __typename } causedBy { seq } } } } }"""
        data = await data_of(self.tenant, self.tenant.actor(), query)
        return [edge["node"] for edge in data["changeRecords"]["edges"]]

    async def types(self) -> list[str]:
        """The types of all change records, in order."""
        return [str(record["type"]) for record in await self.journal()]


@pytest.fixture
async def registry(tenant: TenantUnderTest) -> Registry:
    """A registry of the test's own."""
    operator = models.Operator(id=new_id(), auth_id="ada", name="Ada", email="ada@example.com")
    template = models.AgentTemplate(id=new_id(), name="Researcher")
    await tenant.add(operator, template)
    return Registry(tenant, operator, template)
