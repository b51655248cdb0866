"""The root field `lineage`: what is in a picture, and what must not be (issue 2, point 7)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import insert

from app.auth.actor import Actor
from app.auth.permissions import READ_PERMISSION
from app.auth.scope import Grants, Scope
from app.lineage.rules import MAX_ANCESTORS, MAX_BRANCHES, MAX_NODES
from db import models
from db.enums import ActorType, ChangeRecordType
from db.ids import new_id
from db.logs import ChangeDraft, append_change_records
from tests.app.lineage.story import Story, approval_of, call_of, global_id, run_of, tell, version_of
from tests.asking import Answer, ask
from tests.conftest import TenantUnderTest

LINEAGE = """
query ($id: ID!, $direction: LineageDirection = BOTH, $depth: Int = 3) {
  lineage(id: $id, direction: $direction, depth: $depth) {
    root { id }
    nodes { id type label state level row { __typename id } }
    edges { from to relation }
    isTruncated
  }
}
"""


async def answer(story: Story, row: Any, actor: Actor | None = None, **arguments: Any) -> Answer:
    return await ask(story.tenant.database, actor or story.tenant.actor(), LINEAGE, id=global_id(row), **arguments)


async def graph(story: Story, row: Any, actor: Actor | None = None, **arguments: Any) -> dict[str, Any]:
    found = await answer(story, row, actor, **arguments)
    assert not found.errors, found.errors
    shown: dict[str, Any] = found.data["lineage"]
    assert shown["root"]["id"] == global_id(row) == shown["nodes"][0]["id"]
    ids = [node["id"] for node in shown["nodes"]]
    assert len(ids) == len(set(ids))
    assert {edge[end] for edge in shown["edges"] for end in ("from", "to")} <= set(ids)
    for node in shown["nodes"]:
        assert node["row"] == {"__typename": node["type"], "id": node["id"]}
    return shown


async def test_a_run_goes_back_to_all_that_stands_behind_it(story: Story) -> None:
    """The exact version, template, deployment, approvals and policy behind a run, each once, with every link."""
    shown = await graph(story, story.run, direction="UPSTREAM")
    assert story.links(shown) == {
        ("run", "instance", "instance"),
        ("run", "version", "version"),
        ("run", "task", "task"),
        ("instance", "version", "version"),
        ("instance", "deployment", "deployment"),
        ("instance", "environment", "environment"),
        ("instance", "project", "project"),
        ("task", "project", "project"),
        ("version", "template", "template"),
        ("version", "parentVersion", "first"),
        ("version", "approvals", "promotion"),
        ("version", "approvalRequests", "promotion"),
        ("version", "policyEnvelopes", "envelope"),
        ("first", "template", "template"),
        ("promotion", "requester", "person"),
        ("deployment", "targetVersion", "version"),
        ("deployment", "previousVersion", "first"),
        ("deployment", "environment", "environment"),
        ("deployment", "createdBy", "person"),
        ("deployment", "approvalRecords", "release"),
    }
    assert shown["isTruncated"] is False
    levels = {story.name_of(node["id"]): node["level"] for node in shown["nodes"]}
    assert [levels[part] for part in ("run", "instance", "version", "deployment", "release")] == [0, -1, -1, -2, -3]


async def test_downstream_is_what_came_from_a_row(story: Story) -> None:
    """From a template down to the tool calls, with nothing that only shares an ancestor."""
    shown = await graph(story, story.template, direction="DOWNSTREAM", depth=6)
    assert story.parts(shown) == {"template", "first", "version", "deployment", "instance", "run", "call"}
    assert ("call", "run", "run") in story.links(shown)
    assert all(node["level"] > 0 for node in shown["nodes"][1:])


async def test_both_directions_start_from_the_row_and_do_not_turn(story: Story) -> None:
    """Around a run: its instance's other runs are not its lineage."""
    other = run_of(story, "other")
    await story.tenant.add(other)
    shown = await graph(story, story.run)
    assert {"call", "instance", "version", "release"} <= story.parts(shown)
    assert global_id(other) not in {node["id"] for node in shown["nodes"]}


async def test_an_approval_leads_to_what_it_allowed(story: Story) -> None:
    """A polymorphic pair of columns is walked from its far end too."""
    below = await graph(story, story.release, direction="DOWNSTREAM", depth=1)
    assert story.links(below) == {("deployment", "approvalRecords", "release")}
    below = await graph(story, story.promotion, direction="DOWNSTREAM", depth=1)
    assert story.links(below) == {
        ("version", "approvals", "promotion"),
        ("version", "approvalRequests", "promotion"),
    }


async def test_labels_and_states_are_the_rows_own(story: Story) -> None:
    """A row is called by its name, and one without a name by its time; states are the words of its enum."""
    shown = await graph(story, story.run)
    told = {story.name_of(node["id"]): (node["label"], node["state"]) for node in shown["nodes"]}
    assert told["run"] == ("Run of 2026-03-09 12:00:00", "COMPLETED")
    assert told["version"] == ("v1.1.0", "APPROVED")
    assert told["instance"] == ("writer-1", "ACTIVE")
    assert told["envelope"] == ("Careful", "ACTIVE")
    assert told["template"] == ("Writers", None)
    assert told["release"] == ("Release v1.1.0", "APPROVED")


@pytest.mark.parametrize(
    "part", ["task", "call", "version", "template", "deployment", "release", "instance", "envelope", "person"]
)
async def test_every_kind_of_row_has_a_picture(story: Story, part: str) -> None:
    """Any row can stand in the middle."""
    shown = await graph(story, getattr(story, part))
    assert len(shown["nodes"]) > 1


async def test_environments_and_projects_have_pictures(story: Story) -> None:
    """The places that agents run in, too."""
    for row in (story.tenant.environment, story.tenant.project):
        assert "instance" in story.parts(await graph(story, row, direction="DOWNSTREAM", depth=1))


async def test_a_change_record_leads_to_what_it_tells_of_and_is_below_nothing(story: Story) -> None:
    """Logs are where people start from; a picture does not drown in them."""
    tenant = story.tenant
    draft = ChangeDraft(
        type=ChangeRecordType.INSTANCE_CREATED,
        actor_type=ActorType.HUMAN,
        actor_id=story.person.id,
        target_entity="AgentInstance",
        target_id=story.instance.id,
        summary="writer-1 was made",
    )
    async with tenant.database.transaction(tenant.actor()) as session:
        await append_change_records(await session.connection(), tenant.id, [draft])
    record = f"chg_{draft.id.hex}"
    found = await ask(tenant.database, tenant.actor(), LINEAGE, id=record, depth=1)
    shown = found.data["lineage"]
    assert shown["root"]["id"] == record
    assert shown["nodes"][0]["label"] == "writer-1 was made"
    assert {(edge["relation"], story.name_of(edge["to"])) for edge in shown["edges"]} == {
        ("target", "instance"),
        ("actor", "person"),
    }
    for row in (story.instance, story.person):
        below = await graph(story, row, direction="DOWNSTREAM")
        assert record not in {node["id"] for node in below["nodes"]}


async def test_a_foreign_row_and_an_unknown_one_are_null(story: Story, other_tenant: TenantUnderTest) -> None:
    """Nothing tells them apart, and no statement but the look-up runs."""
    unknown = models.Run(id=new_id())
    for row, actor in ((story.run, other_tenant.actor()), (unknown, story.tenant.actor())):
        found = await answer(story, row, actor)
        assert (found.data, found.errors) == ({"lineage": None}, [])
        assert len(found.statements) == 1


async def test_the_picture_stays_within_the_tenant(story: Story, other_tenant: TenantUnderTest) -> None:
    """Two tenants with the same story see their own rows alone."""
    theirs = await tell(other_tenant)
    shown = await graph(story, story.template, depth=6)
    story.parts(shown)  # KeyError for a row that is not of the story
    assert theirs.parts(await graph(theirs, theirs.template, depth=6)) == story.parts(shown)


@pytest.mark.parametrize(
    ("change", "argument", "message"),
    [
        ({"id": "nonsense"}, "id", "`id` is not an id"),
        ({"id": f"zzz_{'0' * 32}"}, "id", "no type of this API"),
        ({"id": f"prm_{'0' * 32}"}, "id", "a Permission, which has no lineage"),
        ({"depth": 0}, "depth", "`depth` is 0"),
        ({"depth": 7}, "depth", "1 to 6 steps"),
    ],
)
async def test_bad_input_names_the_argument(story: Story, change: dict[str, Any], argument: str, message: str) -> None:
    """BAD_USER_INPUT with the remedy (api.md, Errors)."""
    variables = {"id": global_id(story.run)} | change
    found = await ask(story.tenant.database, story.tenant.actor(), LINEAGE, **variables)
    assert found.code == "BAD_USER_INPUT"
    assert found.errors[0]["extensions"]["argument"] == argument
    assert message in found.errors[0]["message"]
    assert found.statements == []


async def test_a_root_of_an_unreadable_type_is_forbidden(story: Story) -> None:
    """Decision 30: the permission is named, and nothing is looked up."""
    found = await answer(story, story.run, story.tenant.actor("read:tasks"))
    assert found.code == "FORBIDDEN"
    assert found.errors[0]["extensions"]["permission"] == "read:runs"
    assert found.statements == []


@pytest.mark.parametrize("missing", ["AgentVersion", "ApprovalRecord", "PolicyEnvelope", "Operator", "Task"])
async def test_types_that_the_caller_may_not_read_are_left_out(story: Story, missing: str) -> None:
    """No node and no edge tells of them, whichever way they would be reached (decision 30)."""
    others = set(READ_PERMISSION.values()) - {READ_PERMISSION[missing]}
    everything = await graph(story, story.run, depth=6)
    assert missing in {node["type"] for node in everything["nodes"]}
    shown = await graph(story, story.run, story.tenant.actor(*others), depth=6)
    assert missing not in {node["type"] for node in shown["nodes"]}


async def test_nothing_is_reached_through_an_unreadable_type(story: Story) -> None:
    """Who may not read versions does not learn what stands behind the version of a run."""
    without = story.tenant.actor(*(set(READ_PERMISSION.values()) - {"read:versions", "read:deployments"}))
    shown = await graph(story, story.run, without, direction="UPSTREAM", depth=6)
    assert story.parts(shown) == {"run", "instance", "task", "environment", "project"}


async def test_lists_and_roots_are_narrowed_by_scoped_grants(story: Story) -> None:
    """Decision 29: a look-up and a list show what the grant covers; a key of a row that may be read leads on."""
    elsewhere = models.Project(id=new_id(), name="Other", slug="other")
    await story.tenant.add(elsewhere)
    held = dict(Grants.everywhere(READ_PERMISSION.values()))
    outside = story.tenant.actor(grants=Grants(held | {"read:instances": Scope(projects=frozenset({elsewhere.id}))}))
    assert (await answer(story, story.instance, outside)).data == {"lineage": None}
    assert "instance" not in story.parts(await graph(story, story.version, outside, direction="DOWNSTREAM", depth=1))
    assert "instance" in story.parts(await graph(story, story.run, outside, direction="UPSTREAM", depth=1))


async def test_parent_versions_are_followed_to_the_first_whatever_the_depth(story: Story) -> None:
    """VER-7: the lineage of a version goes to the root, at most 100 steps, in one statement."""
    chain = [story.version]
    for number in range(MAX_ANCESTORS + 20):
        chain.append(version_of(story.template, f"v2.{number}.0", chain[-1].id))
    await story.tenant.add(*chain[1:])
    newest = chain[-1]
    found = await answer(story, newest, direction="UPSTREAM", depth=1)
    shown = found.data["lineage"]
    versions = {node["id"]: node["level"] for node in shown["nodes"] if node["type"] == "AgentVersion"}
    expected = [global_id(one) for one in reversed(chain)][: MAX_ANCESTORS + 1]
    assert versions == {one: -step for step, one in enumerate(expected)}
    assert shown["isTruncated"] is True
    short = await answer(story, story.version, direction="UPSTREAM", depth=1)
    assert short.data["lineage"]["isTruncated"] is False
    assert len(found.statements) == len(short.statements)


async def test_a_cycle_of_parents_ends_where_it_closes(story: Story) -> None:
    """VER-7: cycle-safe both ways; one INSERT of two rows, or of one that is its own parent, can close a cycle."""
    rows = [version_of(story.template, f"v3.{i}.0") for i in range(3)]
    parents = {0: 1, 1: 0, 2: 2}
    values: list[dict[str, Any]] = [
        {
            "id": row.id,
            "tenant_id": story.tenant.id,
            "template_id": row.template_id,
            "genome": {},
            "genome_hash": row.genome_hash,
            "lifecycle_state": row.lifecycle_state,
            "version_label": row.version_label,
            "parent_version_id": rows[parents[i]].id,
        }
        for i, row in enumerate(rows)
    ]
    async with story.tenant.database.transaction(story.tenant.actor()) as session:
        await session.execute(insert(models.AgentVersion.__table__).values(values))  # type: ignore[arg-type]
    one, other, itself = (global_id(row) for row in rows)
    for direction in ("UPSTREAM", "DOWNSTREAM", "BOTH"):
        shown = await graph(story, rows[0], direction=direction, depth=6)
        parents_shown = {(e["from"], e["to"]) for e in shown["edges"] if e["relation"] == "parentVersion"}
        assert parents_shown == {(one, other), (other, one)}
        shown = await graph(story, rows[2], direction=direction, depth=6)
        parents_shown = {(e["from"], e["to"]) for e in shown["edges"] if e["relation"] == "parentVersion"}
        assert parents_shown == {(itself, itself)}


async def test_of_many_the_newest_are_shown_and_the_picture_says_so(story: Story) -> None:
    """One relation adds a few rows for one row; what is left out is told."""
    runs = [run_of(story, f"run-{i}") for i in range(MAX_BRANCHES + 5)]
    await story.tenant.add(*runs)
    shown = await graph(story, story.task, direction="DOWNSTREAM", depth=1)
    drawn = {node["id"] for node in shown["nodes"] if node["type"] == "Run"}
    assert drawn == {global_id(one) for one in runs[-MAX_BRANCHES:]}
    assert shown["isTruncated"] is True


async def test_a_picture_has_an_end(story: Story) -> None:
    """However much there is, a picture has at most so many rows; every row's branches get a share of the room."""
    runs = [run_of(story, f"run-{i}") for i in range(MAX_BRANCHES)]
    calls = [call_of(one, f"tool-{i}") for one in runs for i in range(MAX_NODES // MAX_BRANCHES)]
    await story.tenant.add(*runs, *calls, *(approval_of(one) for one in calls))
    shown = await graph(story, story.task, direction="DOWNSTREAM", depth=2)
    assert len(shown["nodes"]) <= MAX_NODES
    assert shown["isTruncated"] is True
    calling = {edge["to"] for edge in shown["edges"] if edge["relation"] == "run"}
    assert calling == {global_id(one) for one in runs}
    deeper = await graph(story, story.task, direction="DOWNSTREAM", depth=3)
    assert len(deeper["nodes"]) == MAX_NODES
    assert deeper["isTruncated"] is True


async def test_statements_do_not_grow_with_rows(story: Story) -> None:
    """At most one statement a level and relation, however many rows a level has (decision 43)."""
    few = {row: await answer(story, getattr(story, row), depth=6) for row in ("template", "task", "run")}
    instances = [
        models.AgentInstance(
            id=new_id(),
            version_id=story.version.id,
            environment_id=story.tenant.environment.id,
            project_id=story.tenant.project.id,
            deployment_id=story.deployment.id,
        )
        for _ in range(8)
    ]
    runs = [run_of(story, f"run-{i}") for i in range(16)]
    for i, run in enumerate(runs):
        run.instance_id = instances[i % 8].id
    await story.tenant.add(*instances, *runs, *(call_of(run, f"tool-{i}") for run in runs for i in range(3)))
    for row, before in few.items():
        after = await answer(story, getattr(story, row), depth=6)
        assert not after.errors
        assert len(after.data["lineage"]["nodes"]) >= len(before.data["lineage"]["nodes"])
        assert [_tables(one) for one in after.statements] == [_tables(one) for one in before.statements]
    grown = await answer(story, story.template, depth=6)
    assert len(grown.data["lineage"]["nodes"]) > 60


def _tables(statement: str) -> list[str]:
    return re.findall(r"(?:FROM|JOIN) (\w+)", statement)
