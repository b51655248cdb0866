"""The search over all that people look for by words (TASK-6)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from app.graph.ids import global_id
from db import models
from db.enums import ActorType, InstanceState, MessageType, RiskLevel, TaskType
from db.ids import new_id
from tests.app.governance.scene import Scene, make_scene
from tests.asking import ask
from tests.conftest import TenantUnderTest

QUERY = """query ($text: String!, $project: ID) { search(text: $text, projectId: $project) {
    tasks { title } messages { content } approvals { actionSummary } instances { name } } }"""


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """Something of every kind that speaks of owls, and something that does not."""
    made = await make_scene(tenant, name="Owl watcher")

    def message(content: str, safe: str | None = None) -> models.Message:
        return models.Message(
            project_id=tenant.project.id,
            task_id=made.task.id,
            author_type=ActorType.SYSTEM,
            type=MessageType.COMMENT,
            content=content,
            content_redacted=safe,
        )

    def request(summary: str) -> models.ApprovalRecord:
        return models.ApprovalRecord(
            request_type="OTHER", action_summary=summary, justification="needed", risk_level=RiskLevel.YELLOW
        )

    await tenant.add(
        models.Task(project_id=tenant.project.id, title="Weeds", description="not owls", type=TaskType.DOCS),
        models.Task(project_id=tenant.project.id, title="OWLS of the region", type=TaskType.DOCS),
        message("The owl is back"),
        message("the owlery's password is tawny", "the owlery's [REDACTED]"),
        message("nothing here"),
        request("Buy an owl"),
        request("Buy a hen"),
    )
    return made


async def find(scene: Scene, what: str, **variables: Any) -> dict[str, Any]:
    """What is found, by kind."""
    answer = await ask(scene.tenant.database, scene.person, QUERY, text=what, **variables)
    assert answer.errors == []
    assert len(answer.statements) == 4
    found: dict[str, Any] = answer.data["search"]
    return found


async def test_task_6_every_kind_by_the_beginnings_of_words(scene: Scene) -> None:
    found = await find(scene, "owl")
    assert [one["title"] for one in found["tasks"]] == ["OWLS of the region", "Weeds"]
    assert [one["content"] for one in found["messages"]] == ["the owlery's password is tawny", "The owl is back"]
    assert found["approvals"] == [{"actionSummary": "Buy an owl"}]
    assert found["instances"] == [{"name": "Owl watcher"}]
    both = await find(scene, "BACK ow")
    assert both == {"tasks": [], "messages": [{"content": "The owl is back"}], "approvals": [], "instances": []}


async def test_pii_4_what_is_hidden_cannot_be_found(scene: Scene) -> None:
    assert (await find(scene, "tawny"))["messages"] == []


async def test_another_tenants_words_are_not_found(scene: Scene, other_tenant: TenantUnderTest) -> None:
    theirs = await make_scene(other_tenant, name="Owl watcher")
    found = await find(theirs, "owl")
    assert found == {"tasks": [], "messages": [], "approvals": [], "instances": [{"name": "Owl watcher"}]}


async def test_only_in_a_project(scene: Scene) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    await scene.tenant.add(far)
    found = await find(scene, "owl", project=global_id("prj", far.id))
    assert found == {"tasks": [], "messages": [], "approvals": [], "instances": []}


@pytest.mark.parametrize("what", ["", "o", "  !", "x" * 501, " ".join("ab" for _ in range(3)) + " ' & | ! :*"])
async def test_what_cannot_be_looked_for(scene: Scene, what: str) -> None:
    answer = await ask(scene.tenant.database, scene.person, QUERY, text=what)
    assert answer.errors == [] if "ab" in what else answer.code == "BAD_USER_INPUT"


async def test_each_kind_needs_its_permission(scene: Scene) -> None:
    reader = scene.tenant.actor("read:tasks")
    answer = await ask(scene.tenant.database, reader, '{ search(text: "owl") { tasks { title } } }')
    assert len(answer.data["search"]["tasks"]) == 2
    answer = await ask(scene.tenant.database, reader, '{ search(text: "owl") { messages { content } } }')
    assert answer.code == "FORBIDDEN"
    nobody = scene.tenant.actor("read:projects")
    assert (await ask(scene.tenant.database, nobody, '{ search(text: "owl") { __typename } }')).code == "FORBIDDEN"


async def test_an_index_stands_behind_it(scene: Scene) -> None:
    """The functions use the GIN indexes, which row-level security keeps the gateway's own role from."""
    async with scene.tenant.database.platform() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        await connection.execute(text(f"SET LOCAL app.tenant_id = '{scene.tenant.id}'"))
        for table, words in (("messages", "content_redacted, content"), ("approval_records", None)):
            expression = (
                f"to_tsvector('simple'::regconfig, COALESCE({words}))"
                if words
                else "to_tsvector('simple'::regconfig, action_summary || ' ' || justification)"
            )
            plan = await connection.execute(
                text(f"EXPLAIN SELECT id FROM {table} WHERE {expression} @@ to_tsquery('simple', 'owl:*')")
            )
            assert f"ix_{table}_words" in "\n".join(row[0] for row in plan)


async def test_the_retired_are_found_too(scene: Scene) -> None:
    await scene.set(scene.instance, state=InstanceState.RETIRED)
    assert (await find(scene, "owl"))["instances"] == [{"name": "Owl watcher"}]
