"""The policy in force for an instance as a field of the graph (decision 21), and the simulator of verdicts (POL-13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import strawberry

from app.auth.actor import Actor, ActorKind
from app.auth.permissions import READ_PERMISSION
from app.governance.asking import LONGEST_TOOL
from app.governance.loading import Situation, policies_statement, policy_in, situation_of
from app.governance.policy import Action, ActionType, EffectivePolicy, evaluate
from app.governance.question import Question
from app.governance.verdicts import decision_json, policy_json
from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import GraphField, Shape, argument, graph_field, list_of, optional
from app.graph.ids import parse_id_of
from app.graph.loaders import Fetcher, Loader
from app.graph.registry import ENTITIES, Named
from db.base import JsonObject

MOST_TOOLS: Final = 100
"""Tools of one simulation."""
_EVALUATE: Final = "evaluate:policies"


@dataclass(frozen=True)
class InForce:
    """What binds an instance."""

    policy: EffectivePolicy
    zone: ZoneInfo
    """Of the tenant: where its days begin."""


class PolicyLoader(Loader[UUID, InForce | None]):
    """Policies in force by instance."""

    def __init__(self, fetcher: Fetcher, tenant_id: UUID) -> None:
        super().__init__()
        self._fetcher, self._tenant_id = fetcher, tenant_id

    async def batch_load_fn(self, keys: list[UUID]) -> list[InForce | None]:
        """One statement for all instances."""
        self._fetcher.observe("EffectivePolicy", len(keys))
        rows = await self._fetcher.reading.rows(policies_statement(self._tenant_id, keys))
        found = {row.instance_id: InForce(policy_in(row), ZoneInfo(row.timezone)) for row in rows}
        return [found.get(key) for key in keys]


def effective_policy(description: str) -> Any:
    """The policy in force for the instance that the row is."""

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        return graph_field(name, shape.graphql(Named(shape.name)), description, _resolve_policy)

    return Declared(make)


def policy_loader(context: OperationContext) -> PolicyLoader:
    """The operation's one loader of policies in force."""
    loaders = context.loaders
    loader: PolicyLoader = loaders.own(
        "effective_policy", lambda: PolicyLoader(loaders.fetcher, context.actor.tenant_id)
    )
    return loader


async def _resolve_policy(row: Any, info: Info) -> JsonObject | None:
    context = context_of(info)
    if not _may_read_policy_of(context.actor, row.id):
        raise Forbidden(READ_PERMISSION["PolicyEnvelope"])
    found = await policy_loader(context).load(row.id)
    return None if found is None else policy_json(found.policy)


def _may_read_policy_of(actor: Actor, instance_id: UUID) -> bool:
    """An agent reads the policy that binds itself, and no other's (decision 31)."""
    return actor.may_read("PolicyEnvelope") and (actor.kind is not ActorKind.INSTANCE or actor.id == instance_id)


# --- The simulator ----------------------------------------------------------------------------------------------------


async def _resolve_simulation(_root: Any, info: Info, tools: list[str], **keys: str | None) -> list[JsonObject] | None:
    context = context_of(info)
    if not context.actor.can(_EVALUATE):
        raise Forbidden(_EVALUATE)
    if (keys.get("instanceId") is None) == (keys.get("versionId") is None):
        raise BadUserInput("Give either `instanceId` or `versionId`.", "instanceId")
    if not 0 < len(tools) <= MOST_TOOLS:
        raise BadUserInput(f"`tools` has 1 to {MOST_TOOLS} names.", "tools")
    for position, tool in enumerate(tools):
        if not 0 < len(tool.strip()) <= LONGEST_TOOL or "\0" in tool:
            raise BadUserInput(f"`tools[{position}]` has 1 to {LONGEST_TOOL} characters.", f"tools[{position}]")
    actions = [Action(type=ActionType.TOOL_CALL, tool=tool.strip()) for tool in tools]
    now = datetime.now(UTC)
    question = Question(
        tenant_id=context.actor.tenant_id,
        now=now.replace(microsecond=now.microsecond // 1000 * 1000),
        instance_id=_id("AgentInstance", keys, "instanceId"),
        version_id=_id("AgentVersion", keys, "versionId"),
        project_id=_id("Project", keys, "projectId"),
        is_spawn=any(action.is_spawn for action in actions),
    )
    found = await _situation(context, question)
    if found is None:
        return None
    return [
        decision_json(found.facts.policy, action, evaluate(found.facts, action), question.now) for action in actions
    ]


def _id(type_name: str, keys: Mapping[str, str | None], name: str) -> UUID | None:
    value = keys.get(name)
    return None if value is None else parse_id_of(ENTITIES[type_name].prefix, type_name, value, name)


async def _situation(context: OperationContext, question: Question) -> Situation | None:
    """What the question is about; None where the tenant has no such row. Raises Forbidden outside of the scope."""
    rows = await context.reading.rows(question.statement)
    if not rows:
        return None
    found = situation_of(rows[0], question)
    if question.project_id is not None and found.project_id is None:
        return None
    reach = context.actor.scope(_EVALUATE)
    covered = reach.covers(found.own_project_id or found.project_id, found.environment_id, found.instance_id)
    if question.project_id is not None and found.own_project_id not in (None, question.project_id):
        covered = covered and reach.covers(question.project_id, found.environment_id)
    if not covered:
        raise Forbidden(_EVALUATE)
    return found


policy_simulate: Final = graph_field(
    "policy_simulate",
    optional(list_of(Named("PolicyDecision"))),
    "What policy would say to each of these tools, in their order; nothing is written (POL-13). Null where the tenant"
    " has no such instance, version or project.",
    _resolve_simulation,
    [
        argument("tools", list_of(str), f"Names of tools, {MOST_TOOLS} at most."),
        argument("instance_id", optional(strawberry.ID), "The agent, as it is now."),
        argument("version_id", optional(strawberry.ID), "Or a version, as if an agent of it were ACTIVE."),
        argument(
            "project_id", optional(strawberry.ID), "Project whose policy holds; an agent's own if not said.", None
        ),
    ],
)
