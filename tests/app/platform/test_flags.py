"""Feature flags and experiments by their commands and fields (FLG-1, EXP-1 to EXP-4, behaviour 1.17)."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.auth.scope import Assignment, Grants
from app.commands import Done, Refusal, Refused
from app.graph.ids import global_id
from app.platform.machines import EXPERIMENT
from app.platform.rules.flags import bucket
from db import models
from db.enums import ActorType, ExperimentStatus
from db.ids import new_id
from tests.asking import ask, data_of
from tests.conftest import TenantUnderTest
from tests.governed import Registry

EVALUATE = """query($keys: [String!]!, $operator: ID, $environment: ID) {
    featureFlagEvaluate(keys: $keys, operatorId: $operator, environmentId: $environment) { key enabled } }"""


async def rows(tenant: TenantUnderTest, model: Any) -> list[Any]:
    async with tenant.database.transaction(tenant.actor()) as session:
        return list(await session.scalars(select(model).where(model.tenant_id == tenant.id).order_by(model.id)))


async def audited(tenant: TenantUnderTest) -> list[str]:
    return [one.action for one in await rows(tenant, models.AuditLog)]


async def test_flg_1_a_flag_is_made_changed_and_removed(registry: Registry) -> None:
    """A new one is off and for nobody; what is left out stays; each step has its audit row."""
    made = await registry.do("set_feature_flag", key=" new-ui ")
    assert isinstance(made, Done)
    assert made.extras == {"created": True}
    (flag,) = await rows(registry.tenant, models.FeatureFlag)
    assert (flag.key, flag.enabled, flag.conditions) == ("new-ui", False, {"rolloutPercentage": 0})
    people = [registry.operator.id]
    await registry.done("set_feature_flag", key="new-ui", enabled=True, target_operator_ids=people, description="UI")
    await registry.done("set_feature_flag", key="new-ui", rollout_percentage=30.0)
    (flag,) = await rows(registry.tenant, models.FeatureFlag)
    assert (flag.enabled, flag.description) == (True, "UI")
    assert flag.conditions == {"rolloutPercentage": 30.0, "targetOperators": [str(registry.operator.id)]}
    await registry.done("set_feature_flag", key="new-ui", target_operator_ids=[])
    (flag,) = await rows(registry.tenant, models.FeatureFlag)
    assert flag.conditions["targetOperators"] == []
    await registry.do("set_feature_flag", key="new-ui", enabled=True)  # nothing new, no row
    assert isinstance(await registry.do("delete_feature_flag", flag_id=flag.id), Done)
    assert await rows(registry.tenant, models.FeatureFlag) == []
    assert await audited(registry.tenant) == ["FEATURE_FLAG_SET"] * 4 + ["FEATURE_FLAG_DELETED"]


@pytest.mark.parametrize(
    ("arguments", "code", "where"),
    [
        ({"key": "  "}, Refusal.VALIDATION_ERROR, "key"),
        ({"rollout_percentage": 101.0}, Refusal.VALIDATION_ERROR, "rollout_percentage"),
        ({"rollout_percentage": -0.5}, Refusal.VALIDATION_ERROR, "rollout_percentage"),
        ({"target_operator_ids": [new_id()]}, Refusal.NOT_FOUND, "target_operator_ids[0]"),
        ({"target_environment_ids": [new_id()]}, Refusal.NOT_FOUND, "target_environment_ids[0]"),
    ],
)
async def test_flg_1_a_bad_flag_is_refused(
    registry: Registry, arguments: dict[str, Any], code: Refusal, where: str
) -> None:
    refused = await registry.refused("set_feature_flag", **{"key": "new-ui", **arguments})
    assert (refused.code, refused.field) == (code, where)
    assert await rows(registry.tenant, models.FeatureFlag) == []


async def test_flg_1_the_same_flag_set_by_many_at_once_is_one(registry: Registry) -> None:
    outcomes = await asyncio.gather(
        *(registry.do("set_feature_flag", key="new-ui", rollout_percentage=float(n)) for n in range(1, 6))
    )
    assert [one.extras["created"] for one in outcomes if isinstance(one, Done)].count(True) == 1
    assert len(await rows(registry.tenant, models.FeatureFlag)) == 1


async def test_flg_2_a_batch_is_one_statement(registry: Registry) -> None:
    tenant, person = registry.tenant, registry.operator
    share = bucket(f"{person.id}_some") + 1
    await tenant.add(
        models.FeatureFlag(key="all", enabled=True, conditions={"rolloutPercentage": 100}),
        models.FeatureFlag(key="some", enabled=True, conditions={"rolloutPercentage": share}),
        models.FeatureFlag(key="off", enabled=False, conditions={"rolloutPercentage": 100}),
        models.FeatureFlag(
            key="prod", enabled=True, conditions={"rolloutPercentage": 100, "targetEnvironments": ["prod"]}
        ),
        models.FeatureFlag(
            key="by id",
            enabled=True,
            conditions={"rolloutPercentage": 100, "targetEnvironments": [str(tenant.environment.id)]},
        ),
    )
    keys = ["all", "unknown", "some", "off", "prod", "by id"]
    dev = models.Environment(id=new_id(), name="Dev", slug="dev", is_production=False)
    await tenant.add(dev)

    async def on(**given: Any) -> list[str]:
        answer = await ask(tenant.database, tenant.actor(), EVALUATE, keys=keys, **given)
        assert not answer.errors
        assert len(answer.statements) == 1
        assert [one["key"] for one in answer.data["featureFlagEvaluate"]] == keys
        return [one["key"] for one in answer.data["featureFlagEvaluate"] if one["enabled"]]

    operator = global_id("opr", person.id)
    assert await on() == ["all", "prod", "by id"]
    assert await on(operator=operator) == ["all", "some", "prod", "by id"]
    assert await on(operator=operator, environment=global_id("env", dev.id)) == ["all", "some"]
    assert await on(environment=global_id("env", tenant.environment.id)) == ["all", "prod", "by id"]


async def test_flg_2_foreign_ids_find_nothing_and_a_scope_does_not_do(
    registry: Registry, other_tenant: TenantUnderTest
) -> None:
    tenant = registry.tenant
    foreign = models.Operator(id=new_id(), auth_id=f"x-{new_id()}", name="X", email="x@example.com")
    await other_tenant.add(foreign)
    for given in (
        {"operator": global_id("opr", foreign.id)},
        {"environment": global_id("env", other_tenant.environment.id)},
    ):
        assert (await data_of(tenant, tenant.actor(), EVALUATE, keys=["a"], **given))["featureFlagEvaluate"] is None
    assert (await data_of(tenant, tenant.actor(), EVALUATE, keys=[]))["featureFlagEvaluate"] == []
    assert (await ask(tenant.database, tenant.actor("read:tasks"), EVALUATE, keys=["a"])).code == "FORBIDDEN"
    scoped = Assignment(frozenset({"read:feature-flags"}), project_id=tenant.project.id)
    actor = tenant.actor(grants=Grants.union([scoped], datetime.now(UTC)))
    assert (await ask(tenant.database, actor, EVALUATE, keys=["a"])).code == "FORBIDDEN"
    assert (await ask(tenant.database, tenant.actor(), EVALUATE, keys=["a"] * 201)).code == "BAD_USER_INPUT"
    assert (await ask(tenant.database, tenant.actor(), EVALUATE, keys=["a\0"])).code == "BAD_USER_INPUT"


# --- Experiments ------------------------------------------------------------------------------------------------------

VARIANTS = [{"id": "a", "name": "A", "weight": 50}, {"id": "b", "name": "B", "weight": 50}]


async def experiment(registry: Registry, *, started: bool = True, **given: Any) -> models.Experiment:
    made: models.Experiment = await registry.done(
        "create_experiment", **{"name": "Colours", "variants": VARIANTS, **given}
    )
    if started:
        await registry.done("start_experiment", experiment_id=made.id)
    return made


async def test_exp_1_variants_are_checked_and_fixed_by_the_start(registry: Registry) -> None:
    refused = await registry.refused("create_experiment", name="x", variants=VARIANTS[:1])
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "variants")
    made = await experiment(registry, started=False, key="colours")
    thirds = [{**one, "weight": weight} for one, weight in zip(VARIANTS, (30, 70), strict=True)]
    await registry.done("update_experiment", experiment_id=made.id, variants=thirds)
    assert (await registry.refused("update_experiment", experiment_id=made.id, variants=[])).field == "variants"
    same = await registry.refused("create_experiment", name="y", variants=VARIANTS, key="colours")
    assert (same.code, same.field) == (Refusal.DUPLICATE_RESOURCE, "key")
    await registry.done("start_experiment", experiment_id=made.id)
    for changes in ({"variants": VARIANTS}, {"key": "other"}):
        late = await registry.refused("update_experiment", experiment_id=made.id, **changes)
        assert (late.code, late.field) == (Refusal.DEPENDENCY_NOT_MET, *changes)
    await registry.done("update_experiment", experiment_id=made.id, name="Renamed")
    (row,) = await rows(registry.tenant, models.Experiment)
    assert (row.name, row.variants, row.started_at is None) == ("Renamed", thirds, False)


@pytest.mark.parametrize("target", [ExperimentStatus.ACTIVE, ExperimentStatus.COMPLETED])
@pytest.mark.parametrize("start", list(ExperimentStatus))
async def test_1_17_every_step(registry: Registry, start: ExperimentStatus, target: ExperimentStatus) -> None:
    made = models.Experiment(id=new_id(), name="x", variants=VARIANTS, status=start)
    await registry.tenant.add(made)
    name = "start_experiment" if target is ExperimentStatus.ACTIVE else "complete_experiment"
    outcome = await registry.do(name, experiment_id=made.id)
    (row,) = await rows(registry.tenant, models.Experiment)
    if ActorType.HUMAN in EXPERIMENT[start].get(target, ()):
        assert isinstance(outcome, Done)
        assert row.status is target
        assert (row.started_at if target is ExperimentStatus.ACTIVE else row.ended_at) is not None
    else:
        assert isinstance(outcome, Refused)
        assert outcome.code is Refusal.INVALID_STATE_TRANSITION
        assert row.status is start


async def test_exp_1_an_imported_experiment_with_bad_variants_does_not_start(registry: Registry) -> None:
    made = models.Experiment(id=new_id(), name="x", variants=[{**VARIANTS[0], "weight": 99}, VARIANTS[1]])
    await registry.tenant.add(made)
    assert (await registry.refused("start_experiment", experiment_id=made.id)).code is Refusal.DEPENDENCY_NOT_MET


async def test_exp_2_a_variant_is_for_ever(registry: Registry) -> None:
    """None in a DRAFT; the same from then on, also when the experiment is over; nobody new then."""
    made = await experiment(registry, started=False)
    who = ("Operator", registry.operator.id)
    assert await registry.done("assign_experiment", experiment_id=made.id, entity_id=who) is None
    await registry.done("start_experiment", experiment_id=made.id)
    first = await registry.done("assign_experiment", experiment_id=made.id, entity_id=who)
    assert first.variant_id == ("a" if bucket(f"{made.id}_{registry.operator.id}") < 50 else "b")
    await registry.done("complete_experiment", experiment_id=made.id)
    again = await registry.done("assign_experiment", experiment_id=made.id, entity_id=who)
    assert (again.id, again.variant_id) == (first.id, first.variant_id)
    late = ("AgentTemplate", registry.template.id)
    assert await registry.done("assign_experiment", experiment_id=made.id, entity_id=late) is None
    assert len(await rows(registry.tenant, models.ExperimentAssignment)) == 1
    events = [one.payload for one in await rows(registry.tenant, models.OpEvent)]
    assert [one["stage"] for one in events] == ["EXPERIMENT_ASSIGNED"]


async def test_exp_2_many_at_once_get_one_variant(registry: Registry) -> None:
    made = await experiment(registry)
    who = ("Operator", registry.operator.id)
    outcomes = await asyncio.gather(
        *(registry.do("assign_experiment", experiment_id=made.id, entity_id=who) for _ in range(10))
    )
    assert len({one.row.id for one in outcomes if isinstance(one, Done)}) == 1  # type: ignore[union-attr]
    assert all(isinstance(one, Done) for one in outcomes)
    assert len(await rows(registry.tenant, models.ExperimentAssignment)) == 1
    assert len(await rows(registry.tenant, models.OpEvent)) == 1


async def test_exp_2_the_tenant_itself_and_what_is_not_there(registry: Registry, other_tenant: TenantUnderTest) -> None:
    made = await experiment(registry)
    own = await registry.done("assign_experiment", experiment_id=made.id, entity_id=("Tenant", registry.tenant.id))
    assert own.entity_type == "Tenant"
    for who in (("Tenant", other_tenant.id), ("Project", other_tenant.project.id)):
        refused = await registry.refused("assign_experiment", experiment_id=made.id, entity_id=who)
        assert (refused.code, refused.field) == (Refusal.NOT_FOUND, "entity_id")


async def test_exp_4_events_need_a_variant_and_an_active_experiment(registry: Registry) -> None:
    made = await experiment(registry)
    given: dict[str, Any] = {"experiment_id": made.id, "entity_id": ("Operator", registry.operator.id)}
    refused = await registry.refused("track_experiment_event", **given, event_type="conversion")
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "entity_id")
    assigned = await registry.done("assign_experiment", **given)
    event = await registry.done("track_experiment_event", **given, event_type="conversion", value=2.5)
    assert (event.variant_id, event.value) == (assigned.variant_id, 2.5)
    assert (await registry.refused("track_experiment_event", **given, event_type=" ")).field == "event_type"
    nan = await registry.refused("track_experiment_event", **given, event_type="x", value=float("nan"))
    assert nan.field == "value"
    await registry.done("complete_experiment", experiment_id=made.id)
    late = await registry.refused("track_experiment_event", **given, event_type="conversion")
    assert (late.code, late.field) == (Refusal.DEPENDENCY_NOT_MET, "experiment_id")


async def test_exp_4_results_of_many_experiments_are_one_statement(registry: Registry) -> None:
    tenant = registry.tenant
    people = [
        models.Operator(id=new_id(), auth_id=f"p-{new_id()}", name="P", email=f"{n}@example.com") for n in range(12)
    ]
    await tenant.add(*people)
    made = await experiment(registry)
    await experiment(registry, name="Nobody's")
    drawn = Counter[str]()
    events = Counter[str]()
    for person in people:
        given: dict[str, Any] = {"experiment_id": made.id, "entity_id": ("Operator", person.id)}
        variant = (await registry.done("assign_experiment", **given)).variant_id
        drawn[variant] += 1
        if drawn[variant] == 1:
            for kind, value in (("conversion", 4.0), ("conversion", 2.0), ("seen", None)):
                await registry.done("track_experiment_event", **given, event_type=kind, value=value)
                events[variant] += 1
    query = """{ experiments(first: 10) { edges { node { name results {
        variantId assignments events conversions uniqueEntities meanValue conversionRate } } } } }"""
    answer = await ask(tenant.database, tenant.actor(), query)
    assert not answer.errors
    assert len(answer.statements) == 2  # the experiments, and the results of all of them
    first, second = (edge["node"]["results"] for edge in answer.data["experiments"]["edges"])
    assert [one["variantId"] for one in first] == ["a", "b"]
    for one in first:
        count = drawn[one["variantId"]]
        assert one["assignments"] == count
        assert one["events"] == events[one["variantId"]]
        if count:
            assert (one["conversions"], one["uniqueEntities"], one["meanValue"]) == (2, 1, 3.0)
            assert one["conversionRate"] == pytest.approx(2 / count)
    nothing = {"assignments": 0, "events": 0, "conversions": 0, "uniqueEntities": 0}
    assert second == [{"variantId": one, **nothing, "meanValue": None, "conversionRate": None} for one in ("a", "b")]
