"""The facts that a verdict rests on, read with one statement: for the command, the simulator and the computed field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Row, TextClause, text

from app.governance.policy import EffectivePolicy, Envelope, Facts, PolicyLevel
from app.governance.policy.budget import budget_extra, spent
from app.governance.policy.facts import Build, Fleet, Spend, Work
from app.governance.policy.inheritance import FIELDS, resolve
from app.governance.question import ENVELOPES, SUBJECTS, Question
from app.platform.rules import strictest
from app.registry.rules import CanonicalError, genome_hash
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import InstanceState, LifecycleState, OperatorMode, TaskStatus, TaskType

_LONGEST_KEPT: Final = 16_384
"""Characters of envelopes whose policy is kept by their text: 8 MB at most."""

_LEVELS: Final = (
    ("attached_to_version_id", PolicyLevel.VERSION),
    ("attached_to_template_id", PolicyLevel.TEMPLATE),
    ("attached_to_project_id", PolicyLevel.PROJECT),
)

_POLICIES: Final = text(
    f"""
WITH subject AS ({SUBJECTS} AND instance.id = ANY(CAST(:ids AS uuid[]))
)
SELECT subject.instance_id, subject.policy_envelope_id, {ENVELOPES}::text AS envelopes,
    tenant.settings -> 'safetyFloor' ->> 'maxTier' AS max_tier, tenant.timezone
FROM subject JOIN tenants tenant ON tenant.id = subject.tenant_id
"""
)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """The facts with the keys of the rows that they came from."""

    facts: Facts
    version_id: UUID
    template_id: UUID
    instance_id: UUID | None
    environment_id: UUID | None
    own_project_id: UUID | None
    project_id: UUID | None
    """The project that was asked for, if the tenant has it; else the instance's."""
    task_id: UUID | None
    task_project_id: UUID | None
    """None where the tenant has no such task."""
    run_status: str | None
    """None where the instance has no such run."""
    child_role: str | None
    """Default role of the named child template, empty if it has none; None if there is no such template."""
    asked: Mapping[str, Any] | None = field(default=None)
    """The request for approval that has the question's key."""


async def situation_for(uow: UnitOfWork, question: Question) -> Situation | None:
    """What a command finds; None where there is no such instance or version."""
    rows = await uow.rows(question.driver_text, question.values)
    return situation_of(SimpleNamespace(**rows[0]), question) if rows else None


def situation_of(row: Any, question: Question) -> Situation:
    """What the statement found."""
    task = _json(row.task)
    return Situation(
        facts=_facts(row, task, question.now),
        version_id=row.version_id,
        template_id=row.template_id,
        instance_id=row.instance_id,
        environment_id=row.environment_id,
        own_project_id=row.own_project_id,
        project_id=row.project_id,
        task_id=row.task_id,
        task_project_id=None if task is None else UUID(task["projectId"]),
        run_status=row.run_status,
        child_role=row.child_role,
        asked=_json(row.asked),
    )


def _facts(row: Any, task: JsonObject | None, now: datetime) -> Facts:
    fleet = _json(row.fleet)
    return Facts(
        policy=policy_in(row),
        build=build_of(row.genome, row.genome_hash, row.source, row.lifecycle_state),
        state=InstanceState.ACTIVE if row.state is None else InstanceState(row.state),
        tenant_active=row.tenant_active,
        mode=strictest(OperatorMode(mode) for mode in row.modes if mode is not None),
        has_running_run=row.has_running_run or row.run_status == "RUNNING",
        spend=_spend(row, now),
        cost_caps={
            name: Decimal(str(limit)) for name, limit in (_json(row.cost_caps) or {}).items() if limit is not None
        },
        task=None
        if task is None
        else Work(
            TaskType(task["type"]),
            TaskStatus(task["status"]),
            Decimal(task["cost"]),
            None if task["budget"] is None else Decimal(task["budget"]),
        ),
        fleet=None if fleet is None else _fleet(fleet),
        production=frozenset(word.casefold() for names in _json(row.production) or () for word in names),
    )


def _fleet(found: JsonObject) -> Fleet:
    started = tuple(timedelta(seconds=ago) for ago in found["started"] or ())
    return Fleet(found["active"], found["children"], found["depth"], started)


def _spend(row: Any, now: datetime) -> Spend:
    """What is spent of today's and this month's limits; a reset that is due counts as done (BUD-2)."""
    if row.instance_id is None:
        return Spend()
    today, month = spent(row.spend_today, row.spend_month, row.spend_reset_at, now, ZoneInfo(row.timezone))
    return Spend(today, month, int(row.tokens_today or 0), budget_extra(_json(row.budget_extra), now))


def envelopes_of(rows: Sequence[Mapping[str, Any]], own: UUID | None) -> list[Envelope]:
    """Envelopes out of their rows as JSON. `own` is that of the instance alone: it stands in the place of the
    version's, if it is active (POL-4)."""
    found = [_envelope(row, own) for row in rows]
    if any(one.id == own for one in found):
        found = [one for one in found if one.level is not PolicyLevel.VERSION or one.id == own]
    return found


def _envelope(row: Mapping[str, Any], own: UUID | None) -> Envelope:
    row_id = UUID(row["id"])
    level = next((level for column, level in _LEVELS if row[column] is not None), PolicyLevel.TENANT)
    return Envelope(
        UUID(row["tenant_id"]),
        row_id,
        row["version"],
        row["updated_at"],
        PolicyLevel.VERSION if row_id == own else level,
        row["priority"],
        {name: row[name] for name in FIELDS},
    )


def policies_statement(tenant_id: UUID, instance_ids: Sequence[UUID]) -> TextClause:
    """Finds the envelopes of many instances at once, for `policies_in`."""
    return _POLICIES.bindparams(tenant=tenant_id, ids=list(instance_ids))


async def policies_for(uow: UnitOfWork, instance_ids: Sequence[UUID]) -> dict[UUID, EffectivePolicy]:
    """The policy in force for each of these agents, for a command: one statement."""
    return policies_in(await uow.session.execute(policies_statement(uow.tenant_id, instance_ids)))


def policies_in(rows: Iterable[Row[Any]]) -> dict[UUID, EffectivePolicy]:
    """The policy in force by instance (POL-4, POL-5); instances that there are not are left out."""
    return {row.instance_id: policy_in(row) for row in rows}


def policy_in(row: Any) -> EffectivePolicy:
    """The policy in force that a row's `envelopes`, `policy_envelope_id` and `max_tier` make."""
    made = _policy if len(row.envelopes or "") <= _LONGEST_KEPT else _policy.__wrapped__
    return made(row.envelopes, row.policy_envelope_id, row.max_tier)


@lru_cache(maxsize=512)
def _policy(envelopes: str | None, own: UUID | None, max_tier: str | None) -> EffectivePolicy:
    """Kept by the envelopes' text, which has who they are and when they changed: most agents of a version share it."""
    return resolve(envelopes_of(_json(envelopes) or (), own), floor(max_tier))


def floor(text_of_tier: str | None) -> int | None:
    """The safety floor out of a tenant's settings; what is no number is none (POL-5)."""
    return int(text_of_tier) if text_of_tier is not None and text_of_tier.isdecimal() else None


@lru_cache(maxsize=2048)
def build_of(genome_text: str, recorded_hash: str, source: str | None, lifecycle: str) -> Build:
    """What a version is, out of its genome's text; kept, since hashing a genome costs more than a verdict (GEN-8).

    A legacy genome without tools has no manifest, which restricts nothing (decision 39).
    """
    genome = orjson.loads(genome_text)
    manifest = genome.get("toolManifest") or []
    tools = frozenset(str(tool.get("toolId", "")).casefold() for tool in manifest if isinstance(tool, dict))
    spawning = genome.get("spawnConstraints") or {}
    roles, most, rate = (spawning.get(name) for name in ("allowedSubordinateRoles", "maxChildren", "spawnRate"))
    try:
        is_tampered = genome_hash(genome) != recorded_hash
    except CanonicalError:
        is_tampered = True
    return Build(
        LifecycleState(lifecycle),
        is_tampered,
        None if not tools and (source or "").startswith("legacy-") else tools,
        None if roles is None else frozenset(str(role).casefold() for role in roles),
        most if isinstance(most, int) else None,
        rate if isinstance(rate, int | float) and not isinstance(rate, bool) else None,
    )


def _json(value: str | None) -> Any:
    return None if value is None else orjson.loads(value)
