"""Mutations of captures: pictures that work produced."""

from __future__ import annotations

from datetime import datetime

from app.graph.inputs import given, input_type
from app.graph.mutation import mutation, shown_id
from app.graph.scalars import JSON
from app.platform.commands import captures
from app.platform.commands.captures import MOST_TAGS
from app.platform.types import Capture
from db.enums import CaptureType

_TAGS = "Labels to find it by; each counts once."


@input_type
class CaptureCreateInput:
    """A picture to keep."""

    title: str = given("What it shows, in a line.", longest=500)
    type: CaptureType = given("What kind of picture it is.")
    project_id: str | None = given("The project; the task's if only that is named.", id_of="Project")
    task_id: str | None = given("Task that it was made for.", id_of="Task")
    instance_id: str | None = given("Agent that made it.", id_of="AgentInstance")
    description: str | None = given("What it shows, in full.")
    url: str | None = given("Address of the file, of http or https; this or `fileStorageId`.", longest=2_000)
    file_storage_id: str | None = given("Id of the file in the store it was uploaded to.", longest=500)
    thumbnail_url: str | None = given("Address of a small picture of it.", longest=2_000)
    width: int | None = given("Width in pixels.")
    height: int | None = given("Height in pixels.")
    file_size: int | None = given("Size of the file in bytes.")
    mime_type: str | None = given("Media type of the file, such as `image/png`.", longest=200)
    tags: list[str] | None = given(_TAGS, longest=100, most=MOST_TAGS)
    captured_at: datetime | None = given("When it was taken; now if nothing is said.")
    metadata: JSON | None = given("Open notes.")


@input_type
class CaptureUpdateInput:
    """What to change of a picture. What is left out stays, null takes it away."""

    capture_id: str = given("The capture.", id_of="Capture")
    title: str | None = given("What it shows, in a line.", longest=500)
    description: str | None = given("What it shows, in full.")
    tags: list[str] | None = given(_TAGS, longest=100, most=MOST_TAGS)


@input_type
class CaptureDeleteInput:
    """A picture to remove."""

    capture_id: str = given("The capture.", id_of="Capture")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


FIELDS = (
    mutation("capture_create", captures.create_capture, CaptureCreateInput, Capture),
    mutation("capture_update", captures.update_capture, CaptureUpdateInput, Capture),
    mutation(
        "capture_delete",
        captures.delete_capture,
        CaptureDeleteInput,
        None,
        shows=(shown_id("capture_id", "Capture", "Id of the capture that is gone."),),
    ),
)
