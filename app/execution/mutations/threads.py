"""Mutations of threads and reviews: what agents and people say to each other about a task."""

from __future__ import annotations

from app.execution.commands import reviews, threads
from app.execution.rules.threads import LONGEST_MESSAGE, MOST_MENTIONS
from app.execution.types import Message, Review, Task
from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.scalars import JSON
from db.enums import MessageType, ReviewSeverity, ReviewStatus, ReviewTargetType, ReviewType

_LONGEST_SENT = 2 * LONGEST_MESSAGE
"""More than a message may have once it is made ready."""


@input_type
class MessagePostInput:
    """Something to say in a task's thread."""

    task_id: str = given("The task.", id_of="Task")
    content: str | None = given(
        f"The text, 1 to {LONGEST_MESSAGE:,} characters; `@name` calls an agent of the project or a person. A WORK_PLAN"
        " without one tells the task's own plan.",
        longest=_LONGEST_SENT,
    )
    type: MessageType | None = given("What it is for; COMMENT if nothing is said.")
    mentions: list[str] | None = given(
        "Further names to call, for those that are more than one word.", longest=100, most=MOST_MENTIONS
    )
    artifacts: list[JSON] | None = given(
        "What is handed over, each `name`, `type`, and `url` or `content`; an ARTIFACT has at least one.", most=50
    )
    reply_to_id: str | None = given("The message of the same thread that it answers.", id_of="Message")
    progress_percent: int | None = given("For PROGRESS: how far the work is, 0 to 100.")
    thread_ref: str | None = given("Thread of an outside chat that the message is mirrored in.", longest=500)
    metadata: JSON | None = given("Open notes.")


@input_type
class MessageRedactInput:
    """A message with something in it that not everybody shall see."""

    message_id: str = given("The message.", id_of="Message")
    content_redacted: str | None = given(
        "What others see in its place; without it the secrets are taken out.", longest=_LONGEST_SENT
    )
    reason: str | None = given("Why, for the security journal.", longest=2_000)


@input_type
class ThreadSubscribeInput:
    """Who follows which thread."""

    task_id: str = given("The task whose thread it is.", id_of="Task")
    instance_id: str = given("The agent of its project; an agent follows for itself.", id_of="AgentInstance")


@input_type
class ThreadUnsubscribeInput:
    """Who follows a thread no longer."""

    task_id: str = given("The task whose thread it is.", id_of="Task")
    instance_id: str = given("The agent.", id_of="AgentInstance")


@input_type
class ReviewCreateInput:
    """A judgement of a task's work."""

    task_id: str = given("The task.", id_of="Task")
    type: ReviewType = given("What the review says, and so what it does to a task in REVIEW.")
    summary: str = given("The finding in a sentence.", longest=2_000)
    target_type: ReviewTargetType | None = given("What was looked at; the task as a whole if nothing is said.")
    target_id: str | None = given("Which deliverable, artifact or change, as its own system names it.", longest=500)
    details: str | None = given("The finding in full.", longest=10_000)
    score: float | None = given("For PRAISE: 1 to 5.")
    severity: ReviewSeverity | None = given("For REFUTE and CHANGESET: how much it weighs.")
    changeset: JSON | None = given(
        "For CHANGESET: `description`, and `files`, each `path`, `action` (ADD, MODIFY, DELETE) and `diff` if known."
    )
    complete_task: bool | None = given("For a person's APPROVE: also move the task to DONE, with all its guards.")
    metadata: JSON | None = given("Open notes.")


@input_type
class ReviewRespondInput:
    """An answer to a judgement."""

    review_id: str = given("The review, which is PENDING.", id_of="Review")
    to: ReviewStatus = given("ACCEPTED or REJECTED.")
    text: str = given("What there is to say to it, for the reviewer.", longest=10_000)


@input_type
class ReviewSupersedeInput:
    """A judgement to withdraw."""

    review_id: str = given("The review, which is PENDING.", id_of="Review")
    reason: str = given("Why it is withdrawn, for the record.", longest=2_000)


_CREATED = Shown(
    "created",
    bool,
    "Whether it is new: false where the key had posted it before.",
    tell=lambda done: not done.is_replay,
)

FIELDS = (
    mutation("message_post", threads.post_message, MessagePostInput, Message, shows=(_CREATED,)),
    mutation("message_redact", threads.redact_message, MessageRedactInput, Message),
    mutation("thread_subscribe", threads.subscribe_thread, ThreadSubscribeInput, Task),
    mutation("thread_unsubscribe", threads.unsubscribe_thread, ThreadUnsubscribeInput, Task),
    mutation("review_create", reviews.create_review, ReviewCreateInput, Review),
    mutation("review_respond", reviews.respond_review, ReviewRespondInput, Review),
    mutation("review_supersede", reviews.supersede_review, ReviewSupersedeInput, Review),
)
