"""The work: tasks with their way through the board, their threads, reviews and dependencies."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from db.canonical import canonical_hash
from db.demo.content import load
from db.demo.stage import Actor, Stage, actor
from db.enums import (
    ActorType,
    ChangeRecordType,
    MessageType,
    OpEventType,
    TaskCreator,
    TaskSource,
    TaskStatus,
    TaskType,
)
from db.ids import created_at
from db.models import AgentInstance, Message, Operator, Project, Task, TaskAssignee, TaskDependency, ThreadSubscription

BUDGETS: Final = {
    TaskType.CONTENT: 6,
    TaskType.SOCIAL: 2,
    TaskType.EMAIL_MARKETING: 4,
    TaskType.CUSTOMER_RESEARCH: 5,
    TaskType.SEO_RESEARCH: 4,
    TaskType.ENGINEERING: 8,
    TaskType.DOCS: 3,
    TaskType.OPS: 3,
}
"""US dollars that a task may cost, by its type (BUD-1)."""


@dataclass
class Piece:
    """A task in the making: the story it is told from, and who is in it."""

    story: dict[str, Any]
    task: Task
    boss: Operator
    agent: AgentInstance | None
    moves: list[tuple[datetime, TaskStatus]] = field(default_factory=list)
    """Every status that it entered, and when, in order."""

    def status_at(self, at: datetime) -> TaskStatus:
        """The status that it had then."""
        status = TaskStatus.INBOX
        for moment, entered in self.moves:
            if moment <= at:
                status = entered
        return status


def stories(stage: Stage) -> list[dict[str, Any]]:
    """The company's work as its files tell it."""
    return [story for name in stage.company["work"] for story in load(name)]


def build(stage: Stage) -> list[Piece]:
    """Every task of the stories, made and assigned; what was done on it is for `runs`."""
    pieces: dict[str, Piece] = {}
    for number, story in enumerate(stories(stage)):
        parent = pieces.get(story.get("parent", ""))
        piece = _create(stage, story, parent)
        pieces[story.get("key", f"#{number}")] = piece
        if parent is not None:
            for other in story.get("after", []):
                at = created_at(piece.task.id)
                stage.add(
                    TaskDependency(
                        id=stage.id(at),
                        parent_task_id=parent.task.id,
                        task_id=piece.task.id,
                        depends_on_task_id=pieces[other].task.id,
                    )
                )
    return list(pieces.values())


def new_task(
    stage: Stage,
    at: datetime,
    project: Project,
    title: str,
    kind: TaskType,
    maker: Operator | AgentInstance | None,
    **fields: Any,
) -> Task:
    """A task, as it lies in the inbox; every task begins there (TSK-2)."""
    budget = Decimal(BUDGETS[kind])
    task = Task(
        id=stage.id(at),
        project_id=project.id,
        title=title,
        type=kind,
        creator_operator_id=maker.id if isinstance(maker, Operator) else None,
        creator_instance_id=maker.id if isinstance(maker, AgentInstance) else None,
        created_by={ActorType.HUMAN: TaskCreator.HUMAN, ActorType.AGENT: TaskCreator.AGENT}.get(
            actor(maker).type, TaskCreator.SYSTEM
        ),
        status=TaskStatus.INBOX,
        actual_cost=Decimal(0),
        budget_allocated=budget,
        budget_remaining=budget,
        updated_at=at,
        **fields,
    )
    stage.add(task)
    stage.change(
        ChangeRecordType.TASK_CREATED,
        task,
        at,
        actor(maker),
        f"Task «{title}» was made.",
        after={"status": "INBOX", "type": kind.value},
        project_id=project.id,
    )
    return task


def _create(stage: Stage, story: dict[str, Any], parent: Piece | None) -> Piece:
    at = stage.awake(stage.ago(story["days"]))
    agent = stage.instances.get(story.get("agent", ""))
    by_agent = story["by"] == "agent"
    boss = parent.boss if parent and by_agent else stage.people[story["by"]]
    key = story.get("project")
    project = (
        stage.projects[key] if key else next(p for p in stage.projects.values() if agent and p.id == agent.project_id)
    )
    source = story.get("source")
    maker = parent.agent if by_agent and parent else boss
    task = new_task(
        stage,
        at,
        project,
        story["title"],
        TaskType(story["type"]),
        maker,
        description=story["description"],
        priority=story.get("priority", 3),
        labels=story["labels"],
        parent_task_id=parent.task.id if parent else None,
        due_at=at + timedelta(days=7) if story.get("priority", 3) < 3 else None,
        source=TaskSource(source[0]) if source else TaskSource.AGENT if by_agent else TaskSource.DASHBOARD,
        source_ref=source[1] if source else None,
        idempotency_key=canonical_hash([stage.slug, story["title"]])[:24],
        recurrence=story.get("recurrence"),
        scheduled_for=stage.now.replace(hour=6, minute=0, second=0, microsecond=0) + timedelta(days=1)
        if "recurrence" in story
        else None,
    )
    piece = Piece(story, task, boss, agent)
    if agent is not None:
        assign(stage, piece, agent, at + timedelta(minutes=4), actor(boss))
    elif story["status"] == "CANCELED":
        move(stage, piece, at + timedelta(hours=20), TaskStatus.CANCELED, actor(boss), reason="Not needed after all.")
    return piece


def assign(stage: Stage, piece: Piece, agent: AgentInstance, at: datetime, by: Actor) -> None:
    """Give the task to an agent; it follows the thread from then on."""
    task = piece.task
    stage.add(TaskAssignee(task_id=task.id, instance_id=agent.id, position=0))
    move(stage, piece, at, TaskStatus.ASSIGNED, by)
    stage.change(
        ChangeRecordType.TASK_ASSIGNED,
        task,
        at,
        by,
        f"«{task.title}» was assigned to {agent.name}.",
        after={"assigneeIds": [str(agent.id)]},
        project_id=task.project_id,
        instance_id=agent.id,
    )
    stage.add(
        ThreadSubscription(
            id=stage.id(at), project_id=task.project_id, instance_id=agent.id, task_id=task.id, subscribed_at=at
        )
    )


def move(
    stage: Stage,
    piece: Piece,
    at: datetime,
    status: TaskStatus,
    by: Actor,
    *,
    reason: str | None = None,
    **more: Any,
) -> None:
    """Carry the task to another status, with its stamps and its record (TSK-1, TSK-3, TSK-6)."""
    task = piece.task
    before, task.status = task.status, status
    task.updated_at = at
    piece.moves.append((at, status))
    match status:
        case TaskStatus.IN_PROGRESS if task.started_at is None:
            task.started_at = at
        case TaskStatus.REVIEW:
            task.submitted_at = at
        case TaskStatus.DONE | TaskStatus.CANCELED:
            task.completed_at = at
    if status is TaskStatus.IN_PROGRESS and before is TaskStatus.REVIEW:
        task.review_cycles = (task.review_cycles or 0) + 1
    task.blocked_reason = reason if status is TaskStatus.BLOCKED else None
    stage.change(
        ChangeRecordType.TASK_TRANSITIONED,
        task,
        at,
        by,
        f"«{task.title}» went from {before} to {status}.",
        before={"status": before.value},
        after={"status": status.value},
        reason=reason,
        project_id=task.project_id,
        idempotency_key=f"move-{task.id}-{len(piece.moves)}",
        **more,
    )


def start(stage: Stage, piece: Piece, at: datetime) -> None:
    """The agent posts its plan and begins."""
    story, agent = piece.story, piece.agent
    if agent is None:
        raise ValueError(f"content: «{piece.task.title}» is worked on by nobody")
    cost = Decimal(BUDGETS[piece.task.type]) / 10
    hours = max(1, round(story["hours"]))
    piece.task.work_plan = {
        "bullets": story["plan"],
        "estimatedCost": float(cost),
        "estimatedDuration": f"{hours} hours" if hours > 1 else "1 hour",
    }
    piece.task.estimated_cost = cost
    lines = [f"{number}. {bullet}" for number, bullet in enumerate(story["plan"], 1)]
    lines += [f"Cost: {cost} USD", f"Duration: {piece.task.work_plan['estimatedDuration']}"]
    say(stage, piece, at - timedelta(seconds=30), agent, MessageType.WORK_PLAN, "\n".join(lines))
    move(stage, piece, at, TaskStatus.IN_PROGRESS, actor(agent))


def submit(stage: Stage, piece: Piece, at: datetime) -> None:
    """The agent hands in its result with a ticked checklist."""
    agent = piece.agent
    checklist = stage.kinds[stage.kind_of[agent.id]]["checklist"] if agent else {"type": "none", "items": []}
    piece.task.deliverable = {"summary": piece.story["result"], "artifactIds": [f"result-{piece.task.id.hex[-6:]}"]}
    piece.task.review_checklist = {
        "type": checklist["type"],
        "items": [{"label": label, "checked": True} for label in checklist["items"]],
    }
    artifacts = [{"name": "result.md", "type": "text/markdown", "content": piece.story["result"]}]
    say(
        stage,
        piece,
        at - timedelta(seconds=20),
        agent,
        MessageType.ARTIFACT,
        piece.story["result"],
        artifacts=artifacts,
    )
    move(stage, piece, at, TaskStatus.REVIEW, actor(agent))


def say(
    stage: Stage,
    piece: Piece,
    at: datetime,
    author: Operator | AgentInstance | None,
    kind: MessageType,
    text: str,
    **fields: Any,
) -> Message:
    """A message in the task's thread, and the telemetry of it (MSG-1)."""
    message = Message(
        id=stage.id(at),
        project_id=piece.task.project_id,
        task_id=piece.task.id,
        author_type=actor(author).type,
        author_instance_id=author.id if isinstance(author, AgentInstance) else None,
        author_operator_id=author.id if isinstance(author, Operator) else None,
        type=kind,
        content=text,
        **fields,
    )
    stage.add(message)
    stage.event(
        OpEventType.MESSAGE_SENT,
        at,
        instance=author if isinstance(author, AgentInstance) else None,
        task=piece.task,
        payload={"messageId": str(message.id), "messageType": kind.value},
        project_id=piece.task.project_id,
    )
    return message


def converse(stage: Stage, piece: Piece, began: datetime, ended: datetime) -> None:
    """What agent and people said while the work went on."""
    lines = piece.story.get("say", [])
    former: Message | None = None
    for number, (who, text) in enumerate(lines, 1):
        at = stage.awake(began + (ended - began) * number / (len(lines) + 1))
        author = piece.agent if who == "agent" else stage.people[who]
        kind = MessageType.PROGRESS if who == "agent" and number > 1 else MessageType.COMMENT
        if kind is MessageType.PROGRESS:
            text = f"Progress: {100 * number // (len(lines) + 1)}%. {text}"
        mentions = [piece.agent.name] if who != "agent" and piece.agent and piece.agent.name else None
        former = say(stage, piece, at, author, kind, text, reply_to_id=former.id if former else None, mentions=mentions)


def note(piece: Piece, key: str, value: Any) -> None:
    """Keep something in the notes of the task."""
    piece.task.metadata_ = {**(piece.task.metadata_ or {}), key: value}
