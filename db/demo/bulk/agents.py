"""The regional projects and their agents, each on a release of the small fleet that has long been in force."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.demo.content import load
from db.enums import ActorType, ChangeRecordType, DeploymentStatus, InstanceState, PauseCause
from db.ids import id_from
from db.logs import ChangeDraft
from db.models import (
    AgentInstance,
    AgentTemplate,
    AgentVersion,
    Deployment,
    Environment,
    Operator,
    PolicyEnvelope,
    Project,
    Provider,
    Tenant,
)

FIRST_DAY: Final = 28
"""Days ago on which the regional agents began to work."""
_STATES: Final = (
    (InstanceState.PAUSED, "The shop takes stock."),
    (InstanceState.READONLY, "A colleague checks its sources."),
    (InstanceState.DRAINING, "The shop moves to another agent."),
    (InstanceState.QUARANTINED, "Five errors in a row."),
)


class Crew(NamedTuple):
    """One kind of regional agent: the release it runs on, and what it may do without asking."""

    template_id: UUID
    kind: str
    label: str
    version_id: UUID
    model: str
    deployment_id: UUID
    environment_id: UUID
    envelope_id: UUID
    tools: list[str]
    types: list[str]


class Region(NamedTuple):
    """What the regional work starts from."""

    tenant_id: UUID
    operator_id: UUID
    crews: list[Crew]


async def find_region(connection: AsyncConnection, slug: str, now: datetime) -> Region:
    """The releases that the regional agents run on: those in force when the work begins."""
    tenant_id = (await connection.execute(select(Tenant.id).where(Tenant.slug == slug))).scalar_one()
    operator_id = (
        await connection.execute(
            select(Operator.id).where(Operator.tenant_id == tenant_id).order_by(Operator.id).limit(1)
        )
    ).scalar_one()
    found = await connection.execute(
        select(
            AgentTemplate.id.label("template_id"),
            AgentTemplate.name,
            AgentVersion.id.label("version_id"),
            AgentVersion.genome,
            Deployment.id.label("deployment_id"),
            Deployment.environment_id,
            PolicyEnvelope.id.label("envelope_id"),
            PolicyEnvelope.autonomy_tier,
            PolicyEnvelope.allowed_tools,
            PolicyEnvelope.allowed_task_types,
        )
        .join(AgentVersion, _same(AgentVersion, Deployment.target_version_id, Deployment.tenant_id))
        .join(AgentTemplate, _same(AgentTemplate, Deployment.template_id, Deployment.tenant_id))
        .join(Environment, _same(Environment, Deployment.environment_id, Deployment.tenant_id))
        .join(
            PolicyEnvelope,
            and_(
                PolicyEnvelope.tenant_id == Deployment.tenant_id,
                PolicyEnvelope.attached_to_template_id == Deployment.template_id,
            ),
        )
        .where(
            Deployment.tenant_id == tenant_id,
            Deployment.status == DeploymentStatus.ACTIVE,
            Deployment.activated_at < now - timedelta(days=FIRST_DAY + 2),
        )
        .order_by(Deployment.id)
    )
    kinds = {one["name"]: one for one in load(slug)["templates"]}
    crews = [
        Crew(
            row.template_id,
            kinds[row.name]["kind"],
            kinds[row.name]["key"],
            row.version_id,
            row.genome["modelConfig"]["primaryModel"],
            row.deployment_id,
            row.environment_id,
            row.envelope_id,
            [tool for tool in row.allowed_tools if _goes_unasked(tool, row.autonomy_tier)],
            [kind.value for kind in row.allowed_task_types],
        )
        for row in found
    ]
    return Region(tenant_id, operator_id, crews)


def _same(table: Any, key: Any, tenant: Any) -> Any:
    return and_(table.tenant_id == tenant, table.id == key)


def _goes_unasked(tool: str, tier: int) -> bool:
    """Whether the table of POL-6 allows the tool under the tier, where RED always asks."""
    risk = load("kinds")["tools"][tool]["risk"]
    return bool(risk == "GREEN" or (risk == "YELLOW" and tier >= 2))


async def make_agents(
    connection: AsyncConnection, region: Region, now: datetime, count: int
) -> tuple[int, list[ChangeDraft]]:
    """Make the projects and `count` agents; gives back the rows written, and the records of them, oldest first."""
    chance = random.Random("fleetgraph demo regions")
    drafts: list[ChangeDraft] = []
    rows: list[Any] = []
    projects = []
    for number, words in enumerate(load("bulk")["projects"]):
        at = now - timedelta(days=FIRST_DAY + 2, minutes=30 - number)
        row = Project(
            id=_id(chance, at),
            tenant_id=region.tenant_id,
            **words,
            swarm_config={"maxAgents": 400, "autoScale": True},
            default_environment_id=region.crews[0].environment_id,
        )
        projects.append(row)
        drafts.append(
            _draft(
                chance, ChangeRecordType.PROJECT_CREATED, "Project", row.id, at, region.operator_id, {"slug": row.slug}
            )
        )
    provider_id = (
        await connection.execute(
            select(Provider.id).where(Provider.tenant_id == region.tenant_id).order_by(Provider.id).limit(1)
        )
    ).scalar_one()
    for number in range(count):
        at = now - timedelta(days=FIRST_DAY + 2, seconds=-60 * number)
        instance = _agent(chance, region, projects, number, at, now, provider_id)
        rows.append(instance)
        drafts += _life(chance, instance, at, now, region.operator_id)
    async with AsyncSession(connection, expire_on_commit=False) as session:
        for batch in (projects, rows):
            session.add_all(batch)
            await session.flush()
    return len(projects) + count, sorted(drafts, key=lambda one: one.timestamp)


def _id(chance: random.Random, at: datetime) -> UUID:
    return id_from(at, chance.getrandbits(74))


def _agent(
    chance: random.Random,
    region: Region,
    projects: list[Project],
    number: int,
    at: datetime,
    now: datetime,
    provider_id: UUID,
) -> AgentInstance:
    crew = region.crews[number % len(region.crews)]
    state, reason = InstanceState.ACTIVE, None
    if chance.random() < 0.08:
        state, reason = chance.choice(_STATES)
    changed = now - timedelta(minutes=20, seconds=chance.randrange(300)) if reason else at + timedelta(minutes=2)
    quarantined = state is InstanceState.QUARANTINED
    return AgentInstance(
        id=_id(chance, at),
        tenant_id=region.tenant_id,
        version_id=crew.version_id,
        environment_id=crew.environment_id,
        project_id=projects[number % len(projects)].id,
        provider_id=provider_id,
        deployment_id=crew.deployment_id,
        policy_envelope_id=crew.envelope_id,
        state=state,
        heartbeat_at=now - timedelta(seconds=chance.randrange(3, 58)),
        runtime_meta={"host": f"node-{number % 40 + 1:02}.northwind.internal", "runtime": "python 3.12"},
        name=f"{crew.label}-{number + 101}",
        activated_at=at + timedelta(minutes=2),
        spend_reset_at=now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1),
        paused_by=PauseCause.OPERATOR if state is InstanceState.PAUSED else None,
        error_streak=5 if quarantined else 0,
        last_error=reason if quarantined else None,
        updated_at=changed,
        metadata_={"region": number, **({"reason": reason} if reason else {})},
    )


def _life(
    chance: random.Random, instance: AgentInstance, at: datetime, now: datetime, operator_id: UUID
) -> list[ChangeDraft]:
    about = {
        "project_id": instance.project_id,
        "instance_id": instance.id,
        "version_id": instance.version_id,
    }
    made = _draft(
        chance,
        ChangeRecordType.INSTANCE_CREATED,
        "AgentInstance",
        instance.id,
        at,
        operator_id,
        {"state": "PROVISIONING", "versionId": str(instance.version_id)},
        summary=f"{instance.name} was made.",
        **about,
    )
    moves = [("PROVISIONING", "ACTIVE", at + timedelta(minutes=2), "Its release is in force.")]
    if instance.state is not InstanceState.ACTIVE and instance.metadata_:
        moves.append(("ACTIVE", instance.state.value, instance.updated_at, instance.metadata_["reason"]))
    return [
        made,
        *(
            _draft(
                chance,
                ChangeRecordType.INSTANCE_TRANSITIONED,
                "AgentInstance",
                instance.id,
                moment,
                None,
                {"state": after},
                before_state={"state": before},
                reason=reason,
                summary=f"{instance.name} went from {before} to {after}.",
                **about,
            )
            for before, after, moment, reason in moves
        ),
    ]


def _draft(
    chance: random.Random,
    kind: ChangeRecordType,
    entity: str,
    row_id: UUID,
    at: datetime,
    operator_id: UUID | None,
    after: dict[str, Any],
    **more: Any,
) -> ChangeDraft:
    return ChangeDraft(
        id=_id(chance, at),
        type=kind,
        actor_type=ActorType.HUMAN if operator_id else ActorType.SYSTEM,
        actor_id=operator_id,
        target_entity=entity,
        target_id=row_id,
        after_state=after,
        timestamp=at,
        **more,
    )
