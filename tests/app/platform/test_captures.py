"""Pictures that work produced (CAP-1)."""

from __future__ import annotations

from typing import Any

import pytest

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import CaptureType
from db.ids import new_id
from tests.app.governance.scene import Scene, make_scene
from tests.conftest import TenantUnderTest

URL = "https://files.example/board.png"


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """An agent at work."""
    return await make_scene(tenant)


async def do(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Done | Refused:
    """Run a command as a person."""
    return await run(scene.tenant.database, actor or scene.person, name, given)


async def keep(scene: Scene, actor: Actor | None = None, **given: Any) -> Any:
    """Keep a picture; the row."""
    values = {"title": "Board", "type": CaptureType.SCREENSHOT, "url": URL, **given}
    outcome = await do(scene, "create_capture", actor, **values)
    assert isinstance(outcome, Done), outcome
    return outcome.row


async def test_cap_1_a_picture_is_kept_where_its_task_is(scene: Scene) -> None:
    made = await keep(
        scene, task_id=scene.task.id, instance_id=scene.instance.id, tags=[" ui ", "ui", ""], width=640, height=480
    )
    assert (made.project_id, made.instance_id) == (scene.tenant.project.id, scene.instance.id)
    assert (made.tags, made.width, made.height) == (["ui"], 640, 480)
    assert made.captured_at is not None
    stored = await keep(scene, url=None, file_storage_id="st-1")
    assert (stored.url, stored.file_storage_id, stored.project_id) == (None, "st-1", None)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": " "}, "title"),
        ({"url": None}, "url"),
        ({"url": "", "file_storage_id": ""}, "url"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"thumbnail_url": "data:image/png,x"}, "thumbnail_url"),
        ({"width": -1}, "width"),
        ({"file_size": 2**31}, "file_size"),
        ({"tags": [str(n) for n in range(51)]}, "tags"),
    ],
)
async def test_cap_1_what_is_no_capture(scene: Scene, given: dict[str, Any], field: str) -> None:
    values = {"title": "Board", "type": CaptureType.SCREENSHOT, "url": URL, **given}
    outcome = await do(scene, "create_capture", **values)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (Refusal.VALIDATION_ERROR, field)
    assert await scene.rows(models.Capture) == []


async def test_cap_1_title_description_and_tags_change_and_nothing_else(scene: Scene) -> None:
    made = await keep(scene, description="old", tags=["ui"])
    outcome = await do(scene, "update_capture", capture_id=made.id, title=" New ", description=None)
    assert isinstance(outcome, Done)
    (row,) = await scene.rows(models.Capture)
    assert (row.title, row.description, row.tags, row.url) == ("New", None, ["ui"], URL)
    for title in (None, " "):
        outcome = await do(scene, "update_capture", capture_id=made.id, title=title)
        assert isinstance(outcome, Refused)
        assert outcome.field == "title"


async def test_cap_1_a_picture_is_removed_for_good(scene: Scene) -> None:
    made = await keep(scene)
    with pytest.raises(PermissionDenied):
        await do(scene, "delete_capture", scene.tenant.actor("write:captures"), capture_id=made.id)
    outcome = await do(scene, "delete_capture", capture_id=made.id, reason="twice")
    assert isinstance(outcome, Done)
    assert await scene.rows(models.Capture) == []
    last = (await scene.rows(models.AuditLog))[-1]
    assert (last.action, last.resource_id, last.metadata_["url"]) == ("CAPTURE_DELETED", str(made.id), URL)
    again = await do(scene, "delete_capture", capture_id=made.id)
    assert isinstance(again, Refused)
    assert (again.code, again.field) == (Refusal.NOT_FOUND, "capture_id")


async def test_cap_1_of_one_project_and_one_tenant(scene: Scene, other_tenant: TenantUnderTest) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    await scene.tenant.add(far)
    theirs = await make_scene(other_tenant)
    values: dict[str, Any] = {"title": "Board", "type": CaptureType.SCREENSHOT, "url": URL}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"project_id": far.id, "task_id": scene.task.id}, "task_id"),
        ({"project_id": far.id, "instance_id": scene.instance.id}, "instance_id"),
        ({"task_id": theirs.task.id}, "task_id"),
        ({"project_id": theirs.tenant.project.id}, "project_id"),
    ]
    for given, field in cases:
        outcome = await do(scene, "create_capture", **values, **given)
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, field)
    made = await keep(theirs)
    for name in ("update_capture", "delete_capture"):
        outcome = await do(scene, name, capture_id=made.id)
        assert isinstance(outcome, Refused)
        assert outcome.code is Refusal.NOT_FOUND
    with pytest.raises(PermissionDenied):
        await do(scene, "create_capture", scene.agent, **values)
