"""What the mutations of threads and reviews need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from db import models
from db.enums import ActorType, MessageType, ReviewTargetType, ReviewType
from tests.app.mutation_cases.case import Case

INPUTS: Final[Mapping[str, Case]] = {
    "messagePost": Case({"content": "hello"}),
    "messageRedact": Case({"contentRedacted": "he called"}, {"messageId": "message"}),
    "threadSubscribe": Case(),
    "threadUnsubscribe": Case(rows={"taskId": "new task"}),
    "reviewCreate": Case({"type": "PRAISE", "summary": "well done"}),
    "reviewRespond": Case({"to": "ACCEPTED", "text": "thanks"}, {"reviewId": "review"}),
    "reviewSupersede": Case({"reason": "too harsh"}, {"reviewId": "review"}),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """A message, an agent that follows a thread, and a review that nobody has answered."""
    task, project = rows["task"], rows["project"]
    put(
        "message",
        models.Message(
            project_id=project.id,
            task_id=task.id,
            author_type=ActorType.HUMAN,
            author_operator_id=rows["grace"].id,
            type=MessageType.COMMENT,
            content="Edsger called",
        ),
    )
    put(
        "follower",
        models.ThreadSubscription(
            project_id=project.id,
            task_id=rows["new task"].id,
            instance_id=rows["agent"].id,
            subscribed_at=datetime.now(UTC),
        ),
    )
    put(
        "review",
        models.Review(
            project_id=project.id,
            task_id=task.id,
            type=ReviewType.REFUTE,
            reviewer_operator_id=rows["grace"].id,
            target_type=ReviewTargetType.TASK,
            summary="no",
        ),
    )
