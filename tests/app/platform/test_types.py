"""The types of the platform where they show more, or less, than their columns."""

import dataclasses

import pytest

from app.auth.actor import Actor
from db import models
from db.enums import SavedViewScope, WatchEntityType
from db.ids import new_id
from tests.asking import data_of
from tests.conftest import TenantUnderTest


def _operator(name: str) -> models.Operator:
    return models.Operator(id=new_id(), auth_id=f"a|{name}", name=name, email=f"{name}@example.com")


def _as(tenant: TenantUnderTest, operator: models.Operator) -> Actor:
    return dataclasses.replace(tenant.actor(), id=operator.id)


@pytest.fixture
async def people(tenant: TenantUnderTest) -> tuple[models.Operator, models.Operator]:
    """Ada, who has a private view and a shared one, and Bob."""
    ada, bob = _operator("ada"), _operator("bob")
    await tenant.add(ada, bob)
    for name, is_shared in (("mine", False), ("ours", True)):
        await tenant.add(
            models.SavedView(
                id=new_id(),
                project_id=tenant.project.id,
                owner_operator_id=ada.id,
                name=name,
                scope=SavedViewScope.KANBAN,
                filters={},
                is_shared=is_shared,
            )
        )
    return ada, bob


async def test_a_private_view_is_in_nobody_elses_lists(
    tenant: TenantUnderTest, people: tuple[models.Operator, models.Operator]
) -> None:
    """WATCH-1: the list is one's own views and the shared ones, from the root and along relations, counted alike."""
    query = """{ savedViews { totalCount edges { node { id name } } }
        projects { edges { node { savedViews { totalCount edges { node { name } } } } } } }"""
    for person, names in zip(people, (["mine", "ours"], ["ours"]), strict=True):
        seen = await data_of(tenant, _as(tenant, person), query)
        for views in (seen["savedViews"], seen["projects"]["edges"][0]["node"]["savedViews"]):
            assert [edge["node"]["name"] for edge in views["edges"]] == names
            assert views["totalCount"] == len(names)


async def test_a_private_view_is_not_found_by_its_id(
    tenant: TenantUnderTest, people: tuple[models.Operator, models.Operator]
) -> None:
    """WATCH-1: neither `savedView` nor `node` gives it to others."""
    ada, bob = people
    seen = await data_of(tenant, _as(tenant, ada), "{ savedViews { edges { node { id name } } } }")
    (mine,) = (edge["node"]["id"] for edge in seen["savedViews"]["edges"] if edge["node"]["name"] == "mine")
    look_up = "query ($id: ID!) { savedView(id: $id) { name } node(id: $id) { id } }"
    assert await data_of(tenant, _as(tenant, ada), look_up, id=mine) == {
        "savedView": {"name": "mine"},
        "node": {"id": mine},
    }
    assert await data_of(tenant, _as(tenant, bob), look_up, id=mine) == {"savedView": None, "node": None}


async def test_a_watch_leads_to_what_is_watched_and_back(
    tenant: TenantUnderTest, people: tuple[models.Operator, models.Operator]
) -> None:
    """Decision 13: the kinds of a watch are types of the graph, and the watched row has its watches."""
    ada, _bob = people
    await tenant.add(
        models.WatchSubscription(
            id=new_id(), operator_id=ada.id, entity_type=WatchEntityType.PROJECT, entity_id=tenant.project.id
        )
    )
    seen = await data_of(
        tenant,
        tenant.actor(),
        """{ watchSubscriptions { edges { node { entityType entity {
            ... on Project { name watches { edges { node { operator { name } } } } }
        } } } } }""",
    )
    watches = {"edges": [{"node": {"operator": {"name": "ada"}}}]}
    assert [edge["node"] for edge in seen["watchSubscriptions"]["edges"]] == [
        {"entityType": "PROJECT", "entity": {"name": "Core", "watches": watches}}
    ]


async def test_keys_in_json_are_rows_and_the_unknown_are_left_out(
    tenant: TenantUnderTest, people: tuple[models.Operator, models.Operator]
) -> None:
    """Decision 11: bare UUIDs inside JSON are shown as rows, in their order; `raw` keeps every key as it is stored."""
    ada, bob = people
    targets = [str(bob.id), "k57e3xq2", str(new_id()), str(ada.id)]
    await tenant.add(
        models.FeatureFlag(id=new_id(), key="new-ui", enabled=True, conditions={"targetOperators": targets})
    )
    seen = await data_of(
        tenant,
        tenant.actor(),
        "{ featureFlags { edges { node { conditions { rolloutPercentage targetOperators { name } raw } } } } }",
    )
    assert seen["featureFlags"]["edges"][0]["node"]["conditions"] == {
        "rolloutPercentage": None,
        "targetOperators": [{"name": "bob"}, {"name": "ada"}],
        "raw": {"targetOperators": targets},
    }


async def test_a_webhooks_secret_is_no_field(tenant: TenantUnderTest) -> None:
    """PII-4: the secret is write-only."""
    with pytest.raises(Exception, match="Cannot query field 'secret' on type 'Webhook'"):
        await data_of(tenant, tenant.actor(), "{ webhooks { edges { node { secret } } } }")
