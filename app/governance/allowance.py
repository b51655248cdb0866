"""What an agent may still spend, as a field of the graph (BUD-1, BUD-2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from app.auth.actor import ActorKind
from app.governance.effective import InForce, policy_loader
from app.governance.policy import EffectivePolicy
from app.governance.policy.budget import BUDGET_EXTRA, BudgetSource, budget_extra, narrowed, spent
from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.errors import Forbidden
from app.graph.fields import GraphField, Shape, graph_field
from app.graph.registry import Named
from db.base import JsonObject

_READ: Final = "read:budgets"


def allowance(description: str) -> Any:
    """The budget of the instance that the row is."""

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        return graph_field(name, shape.graphql(Named(shape.name)), description, _resolve)

    return Declared(make)


async def _resolve(row: Any, info: Info) -> JsonObject | None:
    context = context_of(info)
    if not _may_read(context, row):
        raise Forbidden(_READ)
    found = await policy_loader(context).load(row.id)
    return None if found is None else budget_json(row, found, datetime.now(UTC))


def _may_read(context: OperationContext, row: Any) -> bool:
    """An agent knows its own budget, and no other's."""
    if context.actor.kind is ActorKind.INSTANCE:
        return bool(context.actor.id == row.id)
    return context.actor.scope(_READ).covers(row.project_id, row.environment_id, row.id)


def budget_json(instance: Any, found: InForce, now: datetime) -> JsonObject:
    """The limits of an agent with what is spent and left of them; a reset that is due counts as done (BUD-2)."""
    today, month = spent(instance.spend_today, instance.spend_month, instance.spend_reset_at, now, found.zone)
    caps = {name: Decimal(str(cap)) for name, cap in (instance.cost_caps or {}).items() if cap is not None}
    extra = budget_extra((instance.metadata or {}).get(BUDGET_EXTRA), now)
    return {
        "day": _limit_json(found.policy, caps, "dailyUsd", today, extra),
        "month": _limit_json(found.policy, caps, "monthlyUsd", month),
        "extraTodayUsd": float(extra),
        "perRunUsd": _money(narrowed(found.policy.cost_limits, caps, "perRunUsd")),
        "perRunSource": _source(found.policy, caps, "perRunUsd"),
    }


def _limit_json(
    policy: EffectivePolicy, caps: Mapping[str, Decimal], name: str, used: Decimal, extra: Decimal = Decimal(0)
) -> JsonObject:
    limit = narrowed(policy.cost_limits, caps, name)
    whole = None if limit is None else limit + extra
    return {
        "limitUsd": _money(whole),
        "spentUsd": float(used),
        "leftUsd": None if whole is None else float(max(whole - used, Decimal(0))),
        "source": _source(policy, caps, name),
    }


def _source(policy: EffectivePolicy, caps: Mapping[str, Decimal], name: str) -> str | None:
    """Who set the limit that holds: the agent's own cap where it is the narrower one."""
    own, given = caps.get(name), policy.cost_limits.get(name)
    if own is not None and (given is None or own < given):
        return BudgetSource.INSTANCE.value
    return None if given is None else BudgetSource(policy.source(f"cost_limits.{name}").level.value).value


def _money(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
