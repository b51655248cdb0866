"""`fleetgraph lineage`: the tree that people read, the graph for programs, and which row an id means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from app.cli.failing import CommandError
from app.cli.lineage import show, trees
from app.settings import Settings
from db import roles
from db.embedded import EmbeddedPostgres
from tests.app.lineage.story import Story, global_id, run_of, tell
from tests.asking import ask
from tests.conftest import TenantUnderTest

Show = Callable[..., Any]


@pytest.fixture
async def story(tenant: TenantUnderTest) -> Story:
    """A run and what stands behind it."""
    return await tell(tenant)


@pytest.fixture
def command(postgres: EmbeddedPostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Show:
    """Runs the command against the tests' database; returns what it printed."""
    settings = Settings(
        data_dir=tmp_path,
        database_url=postgres.url(user=roles.GATEWAY),
        owner_database_url=postgres.url(user=roles.OWNER),
        platform_database_url=postgres.url(user=roles.PLATFORM),
    )

    async def run(row: str, tenant: str | None = None, direction: str = "both", depth: int = 3, **options: Any) -> str:
        given = {"tenant": tenant, "direction": direction, "depth": depth, **options}
        capsys.readouterr()
        await asyncio.to_thread(show, settings, row, **given)
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return run


async def test_a_run_is_shown_with_all_that_stands_behind_it(story: Story, command: Show) -> None:
    """Run, instance, version, template, deployment, approval: each below what came from it, and with its id."""
    printed = await command(global_id(story.run), story.tenant.slug, "upstream")
    lines = printed.splitlines()
    assert lines[0] == f"Run Run of 2026-03-09 12:00:00 COMPLETED {global_id(story.run)} came from"
    depth_of = {global_id(row): _depth(lines, global_id(row)) for row in (story.instance, story.task, story.version)}
    assert set(depth_of.values()) == {1}
    assert _depth(lines, global_id(story.deployment)) == 2
    assert _depth(lines, global_id(story.template)) == 2
    assert _depth(lines, global_id(story.release)) == 3
    assert f"approval records: ApprovalRecord Release v1.1.0 APPROVED {global_id(story.release)}" in printed
    assert "led to" not in printed


async def test_a_bare_uuid_finds_the_same_row(story: Story, command: Show) -> None:
    """With or without hyphens; its type is found by looking."""
    slug = story.tenant.slug
    expected = await command(global_id(story.run), slug)
    assert await command(str(story.run.id), slug) == await command(story.run.id.hex, slug) == expected
    assert expected.count("came from") == expected.count("led to") == 1


async def test_the_tenant_is_found_by_its_row(story: Story, other_tenant: TenantUnderTest, command: Show) -> None:
    """Without --tenant each is asked; with another one's slug the row is not there."""
    assert global_id(story.deployment) in await command(global_id(story.run))
    with pytest.raises(CommandError, match=f"{other_tenant.slug} has no row"):
        await command(global_id(story.run), other_tenant.slug)


async def test_json_is_the_graph_of_the_api(story: Story, command: Show) -> None:
    """The same nodes and edges in the same order as the root field gives."""
    query = """query ($id: ID!) { lineage(id: $id, depth: 2) {
        root { id type label state level } nodes { id type label state level } edges { from to relation } isTruncated
    } }"""
    given = await ask(story.tenant.database, story.tenant.actor(), query, id=global_id(story.run))
    printed = await command(global_id(story.run), story.tenant.slug, depth=2, as_json=True)
    assert orjson.loads(printed) == given.data["lineage"]


@pytest.mark.parametrize(
    ("row", "slug", "message"),
    [
        ("nonsense", None, "RUN_ID: 'nonsense' is neither a global id"),
        (f"zzz_{'0' * 32}", None, "RUN_ID: .* which no type has"),
        (f"prm_{'0' * 32}", None, "RUN_ID: .* a Permission, which has no lineage"),
        (f"run_{'0' * 32}", "no-such-tenant", "--tenant: there is no tenant 'no-such-tenant'"),
    ],
)
async def test_what_cannot_be_found_is_told(
    story: Story, command: Show, row: str, slug: str | None, message: str
) -> None:
    """A sentence with the remedy, no traceback."""
    with pytest.raises(CommandError, match=message):
        await command(row, slug)
    with pytest.raises(CommandError, match=r"No tenant has a row run_0{32}"):
        await command(f"run_{'0' * 32}")


async def test_an_id_of_two_tenants_needs_the_tenant(
    story: Story, other_tenant: TenantUnderTest, command: Show
) -> None:
    """Two tenants may have rows of one id: then neither is shown unasked."""
    theirs = await tell(other_tenant)
    twin = run_of(theirs, "twin")
    twin.id = story.run.id
    await other_tenant.add(twin)
    with pytest.raises(CommandError, match=r"means several rows: .* Give --tenant"):
        await command(global_id(story.run))
    shown = await command(global_id(story.run), other_tenant.slug)
    assert global_id(theirs.instance) in shown
    assert global_id(story.instance) not in shown


async def test_a_database_without_tables_is_told(postgres: EmbeddedPostgres, story: Story, tmp_path: Path) -> None:
    """The remedy is named, and nothing of the driver's shows."""
    url = postgres.url(user=roles.OWNER, database="postgres")
    settings = Settings(data_dir=tmp_path, database_url=url)
    with pytest.raises(CommandError, match="Run `fleetgraph migrate`"):
        await asyncio.to_thread(show, settings, global_id(story.run), tenant=None, direction="both", depth=3)


def test_a_row_that_several_lead_to_is_opened_once() -> None:
    """Nearest to the root; a cycle ends there, and markup in a name is text."""
    nodes = [
        {"id": name, "type": "AgentVersion", "label": label, "state": None, "level": level}
        for name, label, level in (("a", "[bold]A", 0), ("b", "B", -1), ("c", "C", -2))
    ]
    edges = [
        {"from": "a", "to": "b", "relation": "parentVersion"},
        {"from": "b", "to": "c", "relation": "parentVersion"},
        {"from": "c", "to": "a", "relation": "parentVersion"},
    ]
    (tree,) = trees({"root": nodes[0], "nodes": nodes, "edges": edges, "isTruncated": False})
    assert _printed(tree) == [
        "AgentVersion [bold]A a came from",
        "└── parent version: AgentVersion B b",
        "    └── parent version: AgentVersion C c",
        "        └── parent version: AgentVersion [bold]A a (again)",
    ]


def test_a_row_that_stands_alone_is_shown_alone() -> None:
    """No empty headings."""
    node = {"id": "a", "type": "Environment", "label": "Production", "state": None, "level": 0}
    (tree,) = trees({"root": node, "nodes": [node], "edges": [], "isTruncated": False})
    assert _printed(tree) == ["Environment Production a"]


def _printed(tree: Any) -> list[str]:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(tree)
    return [line.rstrip() for line in captured.get().splitlines()]


def _depth(lines: list[str], node_id: str) -> int:
    """How deep in the tree the node is opened."""
    (line,) = (one for one in lines if node_id in one and "(again)" not in one)
    return next(i for i, letter in enumerate(line) if letter.isalpha()) // 4
