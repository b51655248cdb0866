"""Raising autonomy: whether a change of policies does so, and the approval that it rests on (POL-14)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import func, select

from app.commands import Refusal, Refused
from app.governance.policy.inheritance import DEFAULT_TIER
from app.unit_of_work import UnitOfWork
from db.enums import ApprovalDecision
from db.models import AgentVersion, ApprovalRecord, PolicyEnvelope

INCREASE: Final = "POLICY_AUTONOMY_INCREASE"


@dataclass(frozen=True, slots=True)
class Standing:
    """An envelope as far as the tier goes."""

    id: UUID
    tier: int | None
    priority: int
    active: bool
    project_id: UUID | None = None
    template_id: UUID | None = None
    version_id: UUID | None = None

    @classmethod
    def of(cls, row: PolicyEnvelope) -> Standing:
        """That of a row."""
        return cls(
            row.id,
            row.autonomy_tier,
            row.priority,
            row.active,
            row.attached_to_project_id,
            row.attached_to_template_id,
            row.attached_to_version_id,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tier is looked at: for the tenant, or for what is named. A version has its template named too."""

    project_id: UUID | None = None
    template_id: UUID | None = None
    version_id: UUID | None = None


Board = Mapping[UUID, Standing]
"""Every envelope of a tenant by its id."""


def tier_at(board: Board, place: Place, max_tier: int | None, own_id: UUID | None = None) -> int:
    """The tier in force at a place (POL-4, POL-5); `own_id` is the envelope of one instance alone."""
    own = board.get(own_id) if own_id is not None else None
    if own is not None and not own.active:
        own = None
    ranked = []
    for one in board.values():
        rank = 0 if one is own else _rank(one, place)
        if one.active and one.tier is not None and rank is not None and not (own and rank == 0 and one is not own):
            ranked.append((rank, -one.priority, -one.id.int, one.tier))
    tier = min(ranked)[3] if ranked else DEFAULT_TIER
    return tier if max_tier is None else min(tier, max_tier)


def _rank(one: Standing, place: Place) -> int | None:
    """How strong an envelope is at a place, 0 the strongest; None where it does not reach it."""
    if one.version_id is not None:
        return 0 if one.version_id == place.version_id else None
    if one.template_id is not None:
        return 1 if one.template_id == place.template_id else None
    if one.project_id is not None:
        return 2 if one.project_id == place.project_id else None
    return 3


def raised_to(before: Board, after: Board, place: Place, max_tier: int | None) -> int | None:
    """The highest tier that a change makes hold at a place where a lower one held; None where no tier goes up.

    What holds for a template or a version differs from project to project, so each is looked at.
    """
    places = [place]
    if place.project_id is None and (place.template_id or place.version_id):
        projects: Iterable[UUID] = {one.project_id for one in (*before.values(), *after.values()) if one.project_id}
        places += [Place(project, place.template_id, place.version_id) for project in projects]
    tiers = [(tier_at(before, one, max_tier), tier_at(after, one, max_tier)) for one in places]
    return max((new for old, new in tiers if new > old), default=None)


async def read_board(uow: UnitOfWork) -> Board:
    """The active envelopes of the tenant."""
    active = select(PolicyEnvelope).where(PolicyEnvelope.tenant_id == uow.tenant_id, PolicyEnvelope.active.is_(True))
    return {row.id: Standing.of(row) for row in await uow.session.scalars(active)}


async def place_of(uow: UnitOfWork, one: Standing) -> Place:
    """The place that an envelope is for."""
    version = await uow.get(AgentVersion, one.version_id)
    return Place(one.project_id, one.template_id if version is None else version.template_id, one.version_id)


async def safety_floor(uow: UnitOfWork) -> int | None:
    """The tier that no policy of the tenant passes; None where its settings have none (POL-5)."""
    highest = (((await uow.tenant()).settings or {}).get("safetyFloor") or {}).get("maxTier")
    return highest if isinstance(highest, int) else None


async def carry_increase(uow: UnitOfWork, envelope: PolicyEnvelope, tier: int) -> ApprovalRecord | Refused:
    """The approval that lets the envelope reach this tier, used up; refused where there is none (POL-14)."""
    approved = ApprovalRecord.action_payload["autonomyTier"]
    statement = (
        select(ApprovalRecord)
        .where(
            ApprovalRecord.tenant_id == uow.tenant_id,
            ApprovalRecord.request_type == INCREASE,
            ApprovalRecord.status == ApprovalDecision.APPROVED,
            ApprovalRecord.target_entity == PolicyEnvelope.__name__,
            ApprovalRecord.target_id == envelope.id,
            ApprovalRecord.used_at.is_(None),
            ApprovalRecord.expires_at >= uow.now,
            func.jsonb_typeof(approved) == "number",
            approved >= func.to_jsonb(tier),
        )
        .order_by(ApprovalRecord.id)
        .limit(1)
        .with_for_update(key_share=True)
    )
    found = (await uow.session.scalars(statement)).first()
    if found is None:
        message = (
            f"This raises autonomy to tier {tier}, which needs an approved request of type {INCREASE} whose target is "
            f'the envelope and whose `actionPayload` is {{"autonomyTier": {tier}}}.'
        )
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "autonomy_tier")
    found.used_at = uow.now
    return found
