"""The compiler and the resolvers never differ (decision 48): queries out of the schema, asked both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest
from graphql import get_named_type, is_leaf_type, is_object_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.auth.actor import Actor
from app.graph.fields import GraphField
from app.graph.ids import global_id
from app.graph.registry import ENTITIES, EntityType
from app.schema import schema
from db import models
from db.connections import Connections
from db.session import Database
from tests.app.query.both_ways import BothWays, callers, samples
from tests.app.query.generating import Samples, query_of
from tests.conftest import Demo
from tests.demo import admin_of

CALLERS = ["admin", "scoped", "agent"]


@dataclass
class Stage:
    """The demo fleet with its callers, on an event loop that lasts for all examples."""

    runner: asyncio.Runner
    both: BothWays
    callers: dict[str, Actor]
    samples: Samples
    compared: int = 0
    """Queries that were asked both ways, without a difference; some of them are refused both ways."""

    def compare(self, caller: str, random: Random) -> None:
        """Write a query, and ask it both ways."""
        actor = self.callers[caller]
        query = query_of(schema()._schema, self.samples, actor)(random)
        try:
            self.runner.run(self.both.compare(actor, query.text, query.variables))
        except AssertionError as error:
            error.add_note(f"{query.text}\n{query.variables}")
            raise
        self.compared += 1


@pytest.fixture(scope="module")
def stage(demo_database: Connections) -> Iterator[Stage]:
    """The stage of this module's tests."""

    async def build() -> Stage:
        database = Database(demo_database, pool_size=4)
        admins = {}
        async with database.platform() as connection:
            for slug in ("northwind", "globex"):
                row = (await connection.exec_driver_sql("SELECT id FROM tenants WHERE slug = $1", (slug,))).one()
                admins[slug] = admin_of(row.id, slug)
        found = await samples(database, admins["northwind"], admins["globex"])
        who = await callers(database, admins["northwind"])
        return Stage(runner, BothWays(database), who, found)

    with asyncio.Runner() as runner:
        made = runner.run(build())
        yield made
        runner.run(made.both.database.close())


def _examples(number: int, *, derandomize: bool) -> settings:
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=derandomize,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.mark.parametrize("caller", CALLERS)
def test_generated_queries(stage: Stage, caller: str) -> None:
    """170 queries of each caller, the same ones in every run."""
    before = stage.both.compiler.ways.copy()

    @_examples(170, derandomize=True)
    @given(st.randoms(use_true_random=True))
    def check(random: Random) -> None:
        stage.compare(caller, random)

    check()
    ways = stage.both.compiler.ways - before
    assert ways["compiled"] > ways["resolvers"] + ways["both"], ways


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("caller", CALLERS)
def test_ten_thousand_generated_queries(stage: Stage, caller: str, capsys: pytest.CaptureFixture[str]) -> None:
    """3,400 queries of each caller, others in every run; how many, and how they were answered, is printed."""
    before, compared = stage.both.compiler.ways.copy(), stage.compared

    @_examples(3_400, derandomize=False)
    @given(st.randoms(use_true_random=True))
    def check(random: Random) -> None:
        stage.compare(caller, random)

    check()
    ways, number = stage.both.compiler.ways - before, stage.compared - compared
    with capsys.disabled():
        print(f"\n{caller}: {number:,} queries without a difference, each twice by plan: {dict(ways)}")
    assert number >= 3_400


async def test_rows_that_a_json_column_of_a_joined_row_names(demo_fleet: Demo) -> None:
    """Also where the relation leads nowhere, and so has no such column: found by the large run."""
    shown = "attachedToVersion { genome { provenance { parentVersion { id } } } }"
    query = f"{{ policyEnvelopes(first: 50) {{ edges {{ node {{ id {shown} }} }} }} }}"
    answer = await BothWays(demo_fleet.database).compare(demo_fleet.northwind, query)
    assert not answer.errors
    one = f'{{ policyEnvelope(id: "{await _without_a_version(demo_fleet)}") {{ id {shown} }} }}'
    answer = await BothWays(demo_fleet.database).compare(demo_fleet.northwind, one)
    assert not answer.errors


async def _without_a_version(demo_fleet: Demo) -> str:
    """The global id of an envelope that is attached to something else."""
    envelope = models.PolicyEnvelope
    async with demo_fleet.database.transaction(demo_fleet.northwind) as session:
        found = await session.scalars(
            select(envelope.id).where(
                envelope.tenant_id == demo_fleet.northwind.tenant_id, envelope.attached_to_version_id.is_(None)
            )
        )
        return global_id("pol", found.all()[0])


@pytest.mark.parametrize("entity", list(ENTITIES.values()), ids=lambda entity: entity.name)
async def test_every_field_of_every_type(demo_fleet: Demo, entity: EntityType) -> None:
    """All that a row shows of itself, and each of its relations, in a page and one by one."""
    kind = schema()._schema.type_map[entity.name]
    assert is_object_type(kind)
    own, related = [], []
    for name, one in kind.fields.items():
        definition = one.extensions.get("strawberry-definition")
        result = get_named_type(one.type)
        if is_leaf_type(result):
            own.append(name)
        elif isinstance(definition, GraphField) and definition.of_row is not None:
            own.append(f"{name} {{ raw }}")
        elif result.name.endswith("Connection"):
            related.append(
                f"{name}(first: 2) {{ totalCount pageInfo {{ endCursor hasNextPage }} edges {{ node {{ id }} }} }}"
            )
        elif result.name in ENTITIES or result.name == "Node":
            related.append(f"{name} {{ __typename id }}")
    any_time = ', filter: {timestamp: {gte: "2020-01-01T00:00:00Z"}}' if entity.default_hours else ""
    both = BothWays(demo_fleet.database)
    for start in range(0, max(len(related), 1), 15):
        selection = " ".join([*own, *related[start : start + 15]])
        query = f"{{ {entity.plural}(first: 30{any_time}) {{ edges {{ node {{ {selection} }} }} }} }}"
        answer = await both.compare(demo_fleet.northwind, query)
        assert not answer.errors, answer.errors
