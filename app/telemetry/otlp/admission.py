"""Which spans are taken: an agent's own, or those of agents that the caller may speak for, of times that are kept."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from app.auth.actor import Actor, ActorKind
from app.telemetry.facts import Agent, Facts
from app.telemetry.judging import PERMISSION, SKEW
from app.telemetry.otlp.spans import Meaning, Span
from app.unit_of_work import UnitOfWork

_NO_AGENT: Final = (
    "Send with an agent's own token, or name the agent in the resource attribute `fleetgraph.instance.id`."
)


def agent_of(actor: Actor, span: Span) -> UUID | None:
    """The agent that a span is of: the one that it names, else the one that sends it."""
    return span.instance_id or (actor.id if actor.kind is ActorKind.INSTANCE else None)


class Admission:
    """Which spans are taken, and why others are not."""

    def __init__(self, uow: UnitOfWork, facts: Facts) -> None:
        self._uow = uow
        self._facts = facts
        self._reach = uow.actor.scope(PERMISSION)
        self._own = uow.actor.id if uow.actor.kind is ActorKind.INSTANCE else None
        self.rejected = 0
        """Spans that were not taken and would have meant something."""
        self.denied = 0
        """Those of them that the caller may not send."""
        self.reasons: set[str] = set()

    def admits(self, span: Span) -> bool:
        """Whether the span is taken; spans that are nobody's business here are passed over and rejected by no one."""
        instance_id = agent_of(self._uow.actor, span)
        reason = None
        if instance_id is None:
            if span.meaning is Meaning.OTHER:
                return False
            reason = _NO_AGENT
        else:
            agent = self._facts.agents.get(instance_id)
            if agent is None:
                reason = "The tenant has no such agent instance."
            elif not self._may(instance_id, agent):
                reason = f"You have no `{PERMISSION}` for this agent."
                self.denied += 1
            elif span.end > self._uow.now + SKEW:
                reason = "A span ends more than 5 minutes ahead of the gateway's clock."
            elif span.start < self._uow.now - self._facts.retention:
                reason = f"A span is older than the {self._facts.retention.days} days that the tenant keeps."
        if reason is not None:
            self.rejected += 1
            self.reasons.add(reason)
        return reason is None

    def _may(self, instance_id: UUID, agent: Agent) -> bool:
        is_own = self._own is None or instance_id == self._own
        return is_own and self._reach.covers(agent.project_id, agent.environment_id, instance_id)
