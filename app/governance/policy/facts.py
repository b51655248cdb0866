"""What the engine knows of the world when it decides: one snapshot, loaded by somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from app.governance.policy.inheritance import EffectivePolicy
from db.enums import InstanceState, LifecycleState, OperatorMode, TaskStatus, TaskType

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Work:
    """The task that the action is for."""

    type: TaskType
    status: TaskStatus
    actual_cost: Decimal = ZERO
    budget: Decimal | None = None
    """US dollars, both."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many agents there are, for a spawn (POL-9)."""

    active: int
    """ACTIVE instances of the tenant."""
    children: int
    """Instances that this one started and that have not retired."""
    depth: int
    """Instances above this one: 0 for one that no other started."""
    started: tuple[timedelta, ...] = ()
    """How long ago this one started others, the latest first, retired ones among them."""


@dataclass(frozen=True, slots=True)
class Build:
    """The version that the instance runs."""

    lifecycle: LifecycleState
    is_tampered: bool
    """Its genome has another hash than the one it was made with (GEN-8)."""
    tools: frozenset[str] | None
    """Tools that the genome declares, in lower case; None for a legacy genome without a manifest (decision 39)."""
    child_roles: frozenset[str] | None = None
    """Roles that children may have; None for any."""
    max_children: int | None = None
    spawn_rate: float | None = None
    """Agents that it may start within an hour; None for any number."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What the instance has spent already."""

    today: Decimal = ZERO
    month: Decimal = ZERO
    """US dollars since midnight and since the month began, in the tenant's time zone (BUD-2)."""
    tokens_today: int = 0
    extra_today: Decimal = ZERO
    """US dollars that an approval added to today's limit (APR-13)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One instance and everything that bears on what it may do."""

    policy: EffectivePolicy
    build: Build
    state: InstanceState = InstanceState.ACTIVE
    tenant_active: bool = True
    mode: OperatorMode = OperatorMode.NORMAL
    """Emergency mode in force: the strictest of the scopes that the action is in (EMG-1)."""
    has_running_run: bool = False
    spend: Spend = field(default_factory=Spend)
    cost_caps: Mapping[str, Decimal] = field(default_factory=dict)
    """The instance's own limits in US dollars (BUD-1)."""
    task: Work | None = None
    fleet: Fleet | None = None
    """Given where the action starts an agent."""
    production: frozenset[str] = frozenset()
    """Ids, slugs and names of the tenant's production environments, in lower case."""
