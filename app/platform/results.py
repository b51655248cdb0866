"""What an experiment came to, by variant (EXP-4): one statement for all experiments of a level."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from app.graph.context import Info, context_of
from app.graph.declared import Declaration, Declared
from app.graph.fields import GraphField, Shape, graph_field
from app.graph.loaders import Fetcher, Loader
from app.graph.registry import Named
from db.base import JsonObject

CONVERSION: Final = "conversion"
"""The event type that is counted apart (EXP-4)."""

_RESULTS: Final = text(
    """
WITH happened AS (
    SELECT experiment_id, variant_id, count(*) AS events,
        count(*) FILTER (WHERE event_type = :conversion) AS conversions,
        count(DISTINCT (entity_type, entity_id)) AS entities, avg(value) AS mean
    FROM experiment_events
    WHERE tenant_id = :tenant AND experiment_id = ANY(CAST(:ids AS uuid[]))
    GROUP BY experiment_id, variant_id
), drawn AS (
    SELECT experiment_id, variant_id, count(*) AS assignments
    FROM experiment_assignments
    WHERE tenant_id = :tenant AND experiment_id = ANY(CAST(:ids AS uuid[]))
    GROUP BY experiment_id, variant_id
)
SELECT coalesce(drawn.experiment_id, happened.experiment_id) AS experiment_id,
    coalesce(drawn.variant_id, happened.variant_id) AS variant_id,
    coalesce(assignments, 0) AS assignments, coalesce(events, 0) AS events, coalesce(conversions, 0) AS conversions,
    coalesce(entities, 0) AS entities, mean
FROM drawn FULL JOIN happened USING (experiment_id, variant_id)
"""
)


class ResultLoader(Loader[UUID, dict[str, JsonObject]]):
    """Results by experiment, and in it by variant."""

    def __init__(self, fetcher: Fetcher, tenant_id: UUID) -> None:
        super().__init__()
        self._fetcher, self._tenant_id = fetcher, tenant_id

    async def batch_load_fn(self, keys: list[UUID]) -> list[dict[str, JsonObject]]:
        """One statement for all experiments."""
        self._fetcher.observe("ExperimentResults", len(keys))
        statement = _RESULTS.bindparams(tenant=self._tenant_id, ids=keys, conversion=CONVERSION)
        found: dict[UUID, dict[str, JsonObject]] = {}
        for row in await self._fetcher.reading.rows(statement):
            found.setdefault(row.experiment_id, {})[row.variant_id] = {
                "variantId": row.variant_id,
                "assignments": row.assignments,
                "events": row.events,
                "conversions": row.conversions,
                "uniqueEntities": row.entities,
                "meanValue": row.mean,
                "conversionRate": row.conversions / row.assignments if row.assignments else None,
            }
        return [found.get(key, {}) for key in keys]


def nothing_of(variant_id: str) -> JsonObject:
    """The result of a variant that nobody was assigned to."""
    return {"variantId": variant_id, "assignments": 0, "events": 0, "conversions": 0, "uniqueEntities": 0}


def experiment_results(description: str) -> Any:
    """The results of the experiment that the row is: its variants in their order, then those it has no more."""

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        return graph_field(name, shape.graphql(Named(shape.name)), description, _resolve)

    return Declared(make)


async def _resolve(row: Any, info: Info) -> list[JsonObject]:
    context = context_of(info)
    loaders = context.loaders
    loader = loaders.own("experiment_results", lambda: ResultLoader(loaders.fetcher, context.actor.tenant_id))
    found = dict(await loader.load(row.id))
    named = [str(one["id"]) for one in row.variants]
    return [found.pop(one, nothing_of(one)) for one in named] + [found[one] for one in sorted(found)]
