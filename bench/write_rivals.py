"""Who else writes: M1 as plain Strawberry and as PostGraphile have it, over the same agents.

Neither checks anything: no token, permission, tenant, state machine. Plain Strawberry records the change in a table of
its own, in the same transaction; PostGraphile's generated mutation updates the state and records nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from app.auth.tokens import LocalTokens
from app.graph.ids import global_id
from bench.contenders import Contender, PlainStrawberry, Postgraphile, Request
from bench.write_fleet import Tenant

_STEPS: Final = ("PAUSED", "ACTIVE")
_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}
_UPDATE: Final = """
mutation Update($input: UpdateAgentInstanceByTenantIdAndRowIdInput!) {
  updateAgentInstanceByTenantIdAndRowId(input: $input) { agentInstance { state } }
}
"""


class PlainWrites(PlainStrawberry):
    """Plain Strawberry with a mutation."""

    what = (
        "plain Strawberry: a resolver that loads the row by SQLAlchemy's ORM, sets its state and adds a record of the "
        "change in one transaction, `strawberry.asgi.GraphQL`; no token, permission, state machine, chain of hashes"
    )
    module = "bench.plain_writes"


class PostgraphileWrites(Postgraphile):
    """PostGraphile with the mutations that it generates."""

    what = "PostGraphile 5: its generated update of the row, which checks and records nothing"


def plain_lane(text: str, tenant: Tenant, agent: int) -> Sequence[Request]:
    """What a connection sends to plain Strawberry: the gateway's mutation, with the tenant in its input."""
    given = {"tenantId": str(tenant.id), "instanceId": global_id("ins", tenant.instances[agent])}
    return [_post(text, {**given, "to": to}) for to in _STEPS]


def postgraphile_lane(_tokens: LocalTokens, tenant: Tenant, agent: int) -> Sequence[Request]:
    """What a connection sends to PostGraphile."""
    key = {"tenantId": str(tenant.id), "rowId": str(tenant.instances[agent])}
    return [_post(_UPDATE, {**key, "agentInstancePatch": {"state": to}}) for to in _STEPS]


POSTGRAPHILE_ANSWERS: Final = [
    {"updateAgentInstanceByTenantIdAndRowId": {"agentInstance": {"state": state}}} for state in _STEPS
]


def contenders() -> Sequence[Contender]:
    """Those beside the gateway."""
    return PlainWrites(), PostgraphileWrites()


def _post(text: str, given: dict[str, object]) -> Request:
    return Request("/graphql", orjson.dumps({"query": text, "variables": {"input": given}}), _HEADERS)
