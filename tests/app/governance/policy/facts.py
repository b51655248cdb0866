"""Facts and envelopes for tests of the engine."""

from typing import Any
from uuid import UUID

from app.governance.policy import Action, ActionType, Decision, Envelope, Facts, PolicyLevel, evaluate, resolve
from app.governance.policy.facts import Build
from db.enums import LifecycleState

TENANT = UUID(int=1)
_made = iter(range(100, 1_000_000_000))


def envelope(level: PolicyLevel = PolicyLevel.TENANT, *, priority: int = 100, **values: Any) -> Envelope:
    """An envelope of its own."""
    return Envelope(TENANT, UUID(int=next(_made)), 1, "", level, priority, values)


def facts(
    *envelopes: Envelope, max_tier: int | None = None, tools: frozenset[str] | None = None, **given: Any
) -> Facts:
    """An ACTIVE instance at tier 2, unless something else is said."""
    build = given.pop("build", Build(LifecycleState.APPROVED, False, tools))
    return Facts(policy=resolve(envelopes or (envelope(autonomy_tier=2),), max_tier), build=build, **given)


def call(tool: str, /, **args: Any) -> Action:
    """A tool call."""
    return Action(type=ActionType.TOOL_CALL, tool=tool, args=args)


def decide(action: Action, *envelopes: Envelope, **given: Any) -> Decision:
    """The verdict on an action."""
    return evaluate(facts(*envelopes, **given), action)
