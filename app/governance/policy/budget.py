"""Budgets before an action: what is exhausted, and what an estimate would pass (BUD-1, BUD-3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from app.governance.policy.action import Action
from app.governance.policy.facts import Facts
from db.enums.described import Described


class BudgetSource(Described):
    """Who set a limit of an agent's spend (BUD-1)."""

    INSTANCE = "INSTANCE", "The agent's own cap, which is narrower than its policy's."
    VERSION = "VERSION", "The version's policy, or the one of this agent alone."
    TEMPLATE = "TEMPLATE", "The template's policy."
    PROJECT = "PROJECT", "The project's policy."
    TENANT = "TENANT", "The tenant's policy."
    DEFAULT = "DEFAULT", "No policy says anything: the gateway's own default (POL-3)."


BUDGET_EXTRA: Final = "budgetExtra"
"""Key of an instance's metadata: `usd` on top of the daily limit, `until` the reset that ends it (APR-13)."""


def budget_extra(kept: Any, now: datetime) -> Decimal:
    """US dollars that an approval added to today's limit; none once the day is over."""
    if not isinstance(kept, Mapping) or not isinstance(kept.get("usd"), int | float):
        return Decimal(0)
    until = kept.get("until")
    over = isinstance(until, str) and now >= datetime.fromisoformat(until)
    return Decimal(0) if over else Decimal(str(kept["usd"]))


def spent(
    today: Decimal, month: Decimal, reset_at: datetime | None, now: datetime, zone: ZoneInfo
) -> tuple[Decimal, Decimal]:
    """What is spent of today's and of this month's limits, in US dollars; a reset that is due counts as done (BUD-2).

    The counters belong to the day that ends with the reset.
    """
    if reset_at is None or now < reset_at:
        return today, month
    last, local = (reset_at - timedelta(milliseconds=1)).astimezone(zone), now.astimezone(zone)
    return Decimal(0), month if (last.year, last.month) == (local.year, local.month) else Decimal(0)


@dataclass(frozen=True, slots=True)
class Overrun:
    """A limit that stands in the way."""

    scope: str
    """DAY, MONTH, TOKENS, RUN or TASK."""
    reason: str
    is_final: bool
    """Whether no approval helps."""
    is_spent: bool = False
    """Whether a limit of money is used up already, so that the instance is contained (BUD-3, BUD-4)."""
    limit: Decimal | None = None
    spend: Decimal | None = None


def overruns(facts: Facts, action: Action) -> list[Overrun]:
    """Every limit that is used up or that the estimate would pass; the final ones first (BUD-3)."""
    spend, cost = facts.spend, action.estimated_cost
    day, month, run = (_limit(facts, name) for name in ("dailyUsd", "monthlyUsd", "perRunUsd"))
    tokens = facts.policy.cost_limits.get("dailyTokens")
    found: list[Overrun] = []
    if day is not None:
        day += spend.extra_today
        if spend.today >= day:
            text = f"Today's limit of {dollars(day)} is used up: {dollars(spend.today)} are spent."
            found.append(Overrun("DAY", text, True, True, day, spend.today))
    if month is not None and spend.month >= month:
        text = f"This month's limit of {dollars(month)} is used up: {dollars(spend.month)} are spent."
        found.append(Overrun("MONTH", text, True, True, month, spend.month))
    elif month is not None and spend.month + cost > month:
        text = f"{dollars(cost)} more would pass this month's limit of {dollars(month)}."
        found.append(Overrun("MONTH", text, True))
    if tokens is not None and (
        spend.tokens_today >= tokens or spend.tokens_today + max(action.estimated_tokens, 0) > tokens
    ):
        found.append(Overrun("TOKENS", f"Today's limit of {tokens:f} tokens is used up or would be passed.", True))
    if found:
        return found
    if run is not None and cost > run:
        found.append(Overrun("RUN", f"{dollars(cost)} are more than the {dollars(run)} that a run may cost.", False))
    if day is not None and spend.today + cost > day:
        found.append(Overrun("DAY", f"{dollars(cost)} more would pass today's limit of {dollars(day)}.", False))
    task = facts.task
    if task is not None and task.budget is not None and task.actual_cost + cost > task.budget:
        text = f"{dollars(cost)} more would pass the task's budget of {dollars(task.budget)}."
        found.append(Overrun("TASK", text, False))
    return found


def _limit(facts: Facts, name: str) -> Decimal | None:
    return narrowed(facts.policy.cost_limits, facts.cost_caps, name)


def narrowed(limits: Mapping[str, Decimal], caps: Mapping[str, Decimal], name: str) -> Decimal | None:
    """A limit of the policy, narrowed by the instance's own (BUD-1); None where neither says anything."""
    own, given = caps.get(name), limits.get(name)
    if own is None or given is None:
        return given if own is None else own
    return min(own, given)


def money_left(
    limits: Mapping[str, Decimal], caps: Mapping[str, Any] | None, *, today: Decimal, month: Decimal, extra: Decimal
) -> Decimal | None:
    """US dollars that an agent may still spend: the least of what is left of today's limit, with what was added to it,
    and of this month's (BUD-1 to BUD-3); below 0 where more is spent, None without a limit."""
    own = {name: Decimal(str(cap)) for name, cap in (caps or {}).items() if cap is not None}
    daily, monthly = (narrowed(limits, own, name) for name in ("dailyUsd", "monthlyUsd"))
    left = [
        *([] if daily is None else [daily + extra - today]),
        *([] if monthly is None else [monthly - month]),
    ]
    return min(left) if left else None


def dollars(amount: Decimal) -> str:
    """An amount of money in words."""
    return f"{amount.normalize():f} US dollars"
