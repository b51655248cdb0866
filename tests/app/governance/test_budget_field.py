"""What an agent may still spend, as a field (BUD-1, BUD-2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from db import models
from db.enums import InstanceState
from db.ids import new_id
from tests.app.governance.scene import Scene, gid, make_scene
from tests.asking import ask, data_of, recorded
from tests.conftest import TenantUnderTest

BUDGET = """
query($id: ID!) { agentInstance(id: $id) { budget {
  day { limitUsd spentUsd leftUsd source } month { limitUsd spentUsd leftUsd source }
  extraTodayUsd perRunUsd perRunSource
} } }
"""
BUDGETS = """{ agentInstances { edges { node { id
  budget { day { leftUsd } } effectivePolicy { autonomyTier }
} } } }"""


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """An agent that has spent, under limits of two levels and a cap of its own."""
    made = await make_scene(
        tenant,
        spend_today=Decimal("3.5"),
        spend_month=Decimal(40),
        spend_reset_at=datetime.now(UTC) + timedelta(hours=3),
        cost_caps={"monthlyUsd": 50, "dailyUsd": 7},
    )
    await made.envelope(autonomy_tier=1, cost_limits={"dailyUsd": 5, "perRunUsd": 1})
    await made.envelope(cost_limits={"perRunUsd": 0.5}, attached_to_project_id=tenant.project.id)
    return made


async def budget(scene: Scene, actor: Any = None) -> Any:
    """The agent's budget."""
    data = await data_of(scene.tenant, actor or scene.person, BUDGET, id=gid(scene.instance))
    return data["agentInstance"]["budget"]


async def test_bud_1_each_limit_with_what_is_left_and_who_set_it(scene: Scene) -> None:
    assert await budget(scene) == {
        "day": {"limitUsd": 5.0, "spentUsd": 3.5, "leftUsd": 1.5, "source": "TENANT"},
        "month": {"limitUsd": 50.0, "spentUsd": 40.0, "leftUsd": 10.0, "source": "INSTANCE"},
        "extraTodayUsd": 0.0,
        "perRunUsd": 0.5,
        "perRunSource": "PROJECT",
    }


async def test_bud_1_without_a_limit_nothing_is_left_or_missing(scene: Scene) -> None:
    await scene.set(scene.instance, cost_caps=None)
    found = await budget(scene)
    assert found["month"] == {"limitUsd": None, "spentUsd": 40.0, "leftUsd": None, "source": None}


async def test_bud_1_without_any_policy_the_gateways_own_limits_hold(tenant: TenantUnderTest) -> None:
    found = await budget(await make_scene(tenant))
    assert found["day"] == {"limitUsd": 2.0, "spentUsd": 0.0, "leftUsd": 2.0, "source": "DEFAULT"}


async def test_bud_2_a_reset_that_is_due_counts_as_done(scene: Scene) -> None:
    await scene.set(scene.instance, spend_reset_at=datetime.now(UTC) - timedelta(minutes=1))
    assert (await budget(scene))["day"]["leftUsd"] == 5.0


async def test_apr_13_what_was_added_for_today_counts(scene: Scene) -> None:
    until = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    await scene.set(scene.instance, metadata_={"budgetExtra": {"usd": 2.5, "until": until}})
    found = await budget(scene)
    assert (found["extraTodayUsd"], found["day"]["limitUsd"], found["day"]["leftUsd"]) == (2.5, 7.5, 4.0)


async def test_bud_4_an_overspent_day_has_nothing_left(scene: Scene) -> None:
    await scene.set(scene.instance, spend_today=Decimal(9))
    assert (await budget(scene))["day"]["leftUsd"] == 0.0


async def test_it_is_one_statement_for_all_agents_and_shared_with_their_policies(scene: Scene) -> None:
    others = [
        models.AgentInstance(
            id=new_id(),
            version_id=scene.version.id,
            environment_id=scene.tenant.environment.id,
            project_id=scene.tenant.project.id,
            state=InstanceState.ACTIVE,
            cost_caps={"dailyUsd": cap},
        )
        for cap in (1, 2, 3)
    ]
    await scene.tenant.add(*others)
    with recorded(scene.tenant.database.read_engine) as statements:
        data = await data_of(scene.tenant, scene.person, BUDGETS)
    assert len(statements) == 2
    left = {edge["node"]["id"]: edge["node"]["budget"]["day"]["leftUsd"] for edge in data["agentInstances"]["edges"]}
    assert left == {
        gid(scene.instance): 1.5,
        **{gid(one): cap for one, cap in zip(others, (1.0, 2.0, 3.0), strict=True)},
    }


async def test_rbac_7_who_may_see_a_budget(scene: Scene) -> None:
    """Holders of `read:budgets` where it reaches, and the agent itself."""
    other = models.AgentInstance(
        id=new_id(),
        version_id=scene.version.id,
        environment_id=scene.tenant.environment.id,
        project_id=scene.tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    await scene.tenant.add(other)
    assert (await budget(scene, scene.agent))["day"]["leftUsd"] == 1.5
    for actor in (scene.agent_of(other), scene.tenant.actor("read:instances")):
        answer = await ask(scene.tenant.database, actor, BUDGET, id=gid(scene.instance))
        assert answer.code == "FORBIDDEN"
