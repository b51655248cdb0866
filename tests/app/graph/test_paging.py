"""Pages, orders and cursors over real rows."""

import base64
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import models
from db.session import Database
from tests.asking import Answer, ask
from tests.conftest import TenantUnderTest, make_tenant

LIST = """
query($first: Int, $after: String, $last: Int, $before: String, $orderBy: [ProjectOrder!]) {
  projects(first: $first, after: $after, last: $last, before: $before, orderBy: $orderBy) {
    edges { cursor node { id slug githubRepo } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}
"""


async def page(tenant: TenantUnderTest, **arguments: Any) -> dict[str, Any]:
    answer = await ask(tenant.database, tenant.actor(), LIST, **arguments)
    assert not answer.errors, answer.errors
    found: dict[str, Any] = answer.data["projects"]
    return found


def slugs(found: dict[str, Any]) -> list[str]:
    return [edge["node"]["slug"] for edge in found["edges"]]


async def walk(tenant: TenantUnderTest, size: int, backward: bool, **arguments: Any) -> list[str]:
    """Every row, page by page; a page never repeats or skips one."""
    seen: list[str] = []
    cursor: str | None = None
    while True:
        if backward:
            found = await page(tenant, last=size, before=cursor, **arguments)
            seen = slugs(found) + seen
            more, cursor = found["pageInfo"]["hasPreviousPage"], found["pageInfo"]["startCursor"]
        else:
            found = await page(tenant, first=size, after=cursor, **arguments)
            seen += slugs(found)
            more, cursor = found["pageInfo"]["hasNextPage"], found["pageInfo"]["endCursor"]
        if not more:
            return seen


orders = st.lists(
    st.builds(
        lambda field, direction: {"field": field, "direction": direction},
        st.sampled_from(["CREATED_AT", "NAME", "SLUG", "GITHUB_REPO"]),
        st.sampled_from(["ASC", "DESC"]),
    ),
    max_size=3,
    unique_by=lambda one: one["field"],
)
names = st.sampled_from(["", "a", "A", "ä", "b", "ß", "aa", "Z"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(names, st.none() | names), max_size=8),
    order=orders,
    size=st.integers(min_value=1, max_value=4),
)
async def test_pages_add_up_to_the_list(
    database: Database, rows: list[tuple[str, str | None]], order: list[dict[str, str]], size: int
) -> None:
    """Any order, nulls and ties included: forward and backward pages of any size give exactly the sorted list."""
    tenant = await make_tenant(database)
    await tenant.add(
        *(models.Project(name=name, slug=f"p{i}", github_repo=repo) for i, (name, repo) in enumerate(rows))
    )
    stored = [("core", "Core", None), *((f"p{i}", name, repo) for i, (name, repo) in enumerate(rows))]
    is_newest_first = bool(order) and order[-1]["direction"] == "DESC"
    expected = sorted(enumerate(stored), reverse=is_newest_first)
    for one in reversed(order):  # sorts are stable, so each earlier term goes over the later ones
        expected.sort(key=partial(_sort_key, one["field"]), reverse=one["direction"] == "DESC")
    wanted = [slug for _, (slug, _, _) in expected]
    assert await walk(tenant, size, backward=False, orderBy=order) == wanted
    assert await walk(tenant, size, backward=True, orderBy=order) == wanted


def _sort_key(field: str, row: tuple[int, tuple[str, str, str | None]]) -> Any:
    position, (slug, name, repo) = row
    return {
        "CREATED_AT": position,
        "NAME": name.encode(),
        "SLUG": slug.encode(),
        "GITHUB_REPO": (repo is None, (repo or "").encode()),
    }[field]


async def test_a_page_stays_right_while_rows_come_and_go(tenant: TenantUnderTest) -> None:
    """A cursor is a place in the order, not a count: a row put before it is not seen twice."""
    await tenant.add(*(models.Project(name=name, slug=name) for name in ("b", "d", "f")))
    order = [{"field": "NAME", "direction": "ASC"}]
    first = await page(tenant, first=2, orderBy=order)
    assert slugs(first) == ["core", "b"]
    await tenant.add(models.Project(name="a", slug="a"), models.Project(name="c", slug="c"))
    after = await page(tenant, first=2, after=first["pageInfo"]["endCursor"], orderBy=order)
    assert slugs(after) == ["c", "d"]


async def test_page_info_and_total(tenant: TenantUnderTest) -> None:
    """`totalCount` counts all pages; page info says where the page lies."""
    await tenant.add(*(models.Project(name=name, slug=name) for name in "abc"))
    found = await page(tenant, first=2)
    assert found["totalCount"] == 4
    assert found["pageInfo"]["hasNextPage"] is True
    assert found["pageInfo"]["hasPreviousPage"] is False
    assert found["pageInfo"]["startCursor"] == found["edges"][0]["cursor"]
    assert found["pageInfo"]["endCursor"] == found["edges"][1]["cursor"]
    behind = await page(tenant, first=2, after=found["pageInfo"]["endCursor"])
    assert behind["pageInfo"]["hasNextPage"] is False
    assert behind["pageInfo"]["hasPreviousPage"] is True


async def test_rows_are_counted_and_fetched_only_when_asked_for(tenant: TenantUnderTest) -> None:
    """A total alone is one statement, rows alone another."""
    only_total = await ask(tenant.database, tenant.actor(), "{ projects { totalCount } }")
    assert len(only_total.statements) == 1
    assert "count(*)" in only_total.statements[0]
    only_rows = await ask(
        tenant.database, tenant.actor(), "{ projects { edges { node { id } } pageInfo { endCursor } } }"
    )
    assert len(only_rows.statements) == 1
    assert "count(*)" not in only_rows.statements[0]


@pytest.mark.parametrize(
    ("arguments", "argument", "words"),
    [
        ({"first": -1}, "first", "0 to 200"),
        ({"first": 201}, "first", "0 to 200"),
        ({"last": 201}, "last", "0 to 200"),
        ({"first": 1, "last": 1}, "last", "not both"),
        ({"after": "x"}, "after", "not a cursor"),
        ({"after": "💥"}, "after", "not a cursor"),
        ({"before": ""}, "before", "not a cursor"),
        ({"after": base64.urlsafe_b64encode(b"[]").decode()}, "after", "not a cursor"),
        ({"after": base64.urlsafe_b64encode(orjson.dumps(["id", "no uuid"])).decode()}, "after", "not a cursor"),
        ({"after": base64.urlsafe_b64encode(orjson.dumps(["name,id", "a", "b"])).decode()}, "after", "another order"),
        ({"orderBy": [{"field": "NAME"}, {"field": "NAME"}]}, "orderBy", "twice"),
    ],
)
async def test_bad_arguments_are_named(
    tenant: TenantUnderTest, arguments: dict[str, Any], argument: str, words: str
) -> None:
    """More than a page is an error, not a silent cut; each error names its argument and the remedy."""
    answer = await ask(tenant.database, tenant.actor(), LIST, **arguments)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["argument"] == argument
    assert words in answer.errors[0]["message"]
    assert not answer.statements


async def test_a_page_of_nothing(tenant: TenantUnderTest) -> None:
    """`first: 0` is a page without rows, which still knows whether there are any."""
    found = await page(tenant, first=0)
    assert found["edges"] == []
    assert found["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


async def test_children_of_many_parents_are_one_statement(tenant: TenantUnderTest) -> None:
    """LATERAL: the page of each parent has its own rows, limit and cursor, whatever the others have."""
    people = [models.OrgMember(name=f"boss {i}", role="Lead", level=0) for i in range(3)]
    await tenant.add(*people)
    await tenant.add(
        *(
            models.OrgMember(name=f"report {i}.{j}", role="Dev", level=1, parent_member_id=boss.id)
            for i, boss in enumerate(people)
            for j in range(i * 2)
        )
    )
    query = """
    query($after: String) { orgMembers(first: 3) { edges { node { name reports(first: 3, after: $after) {
      edges { cursor node { name parentMember { name } } } pageInfo { hasNextPage endCursor } totalCount } } } } }
    """
    answer: Answer = await ask(tenant.database, tenant.actor(), query)
    assert not answer.errors
    bosses = [edge["node"] for edge in answer.data["orgMembers"]["edges"]]
    assert [len(boss["reports"]["edges"]) for boss in bosses] == [0, 2, 3]
    assert [boss["reports"]["totalCount"] for boss in bosses] == [0, 2, 4]
    assert [boss["reports"]["pageInfo"]["hasNextPage"] for boss in bosses] == [False, False, True]
    assert bosses[2]["reports"]["edges"][2]["node"] == {
        "name": "report 2.2",
        "parentMember": {"name": "boss 2"},
    }
    assert len(answer.statements) == 4  # bosses, reports, totals, the way back
    assert sum("LATERAL" in statement for statement in answer.statements) == 1
