"""What was measured and learnt about agents, and what they remember; all of it follows from their work."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal

from db.demo.stage import Stage
from db.demo.tasks import Piece
from db.enums import AgentDocumentType, InstanceState, TaskStatus, TaskType
from db.ids import created_at
from db.models import AgentDocument, AgentInstance, AgentPattern, AgentPerformance, Task

_CENT_OF_A_CENT = Decimal("0.0000000001")


def build(stage: Stage, pieces: list[Piece]) -> None:
    """Figures, statements and memories of every agent that has worked."""
    ended: dict[tuple[AgentInstance, TaskType], list[Task]] = defaultdict(list)
    for piece in pieces:
        if piece.agent is not None and piece.task.status in {TaskStatus.DONE, TaskStatus.FAILED}:
            ended[piece.agent, piece.task.type].append(piece.task)
    for (agent, kind), mine in ended.items():
        _perform(stage, agent, kind, mine)
    for agent in dict.fromkeys(agent for agent, _ in ended):
        _learn(stage, agent, [task for (one, _), mine in ended.items() if one is agent for task in mine])
    for agent in stage.instances.values():
        if agent.state not in {InstanceState.RETIRED, InstanceState.PROVISIONING}:
            _remember(stage, agent, [one for one in pieces if one.agent is agent])


def _perform(stage: Stage, agent: AgentInstance, kind: TaskType, mine: list[Task]) -> None:
    """The running figures of LRN-1, as they stand after the last task."""
    done = [one for one in mine if one.status is TaskStatus.DONE]
    last = max(one.completed_at or one.updated_at for one in mine)
    times = [
        (one.completed_at - one.started_at) / timedelta(milliseconds=1)
        for one in done
        if one.completed_at and one.started_at
    ]
    cost = sum((one.actual_cost for one in mine), Decimal(0)) / len(mine)
    first = min(one.completed_at or one.updated_at for one in mine)
    stage.add(
        AgentPerformance(
            id=stage.id(first),
            instance_id=agent.id,
            version_id=agent.version_id,
            project_id=agent.project_id,
            task_type=kind.value,
            success_count=len(done),
            failure_count=len(mine) - len(done),
            avg_completion_time_ms=sum(times) / len(times) if times else 0.0,
            avg_cost_usd=cost.quantize(_CENT_OF_A_CENT),
            total_tasks_completed=len(mine),
            last_updated_at=last,
            updated_at=last,
        )
    )


def _learn(stage: Stage, agent: AgentInstance, mine: list[Task]) -> None:
    kind = stage.kinds[stage.kind_of[agent.id]]
    failed = [one for one in mine if one.status is TaskStatus.FAILED]
    statements = [(f"strength:{kind['strengths'][0]}", 0.86)] if len(failed) < len(mine) else []
    statements.append((f"weakness:{kind['weaknesses'][0]}", 0.74 if failed else 0.41))
    for pattern, confidence in statements:
        at = max(one.completed_at or one.updated_at for one in mine) + timedelta(minutes=2)
        stage.add(
            AgentPattern(
                id=stage.id(at),
                instance_id=agent.id,
                project_id=agent.project_id,
                pattern=pattern,
                confidence=confidence,
                evidence=[str(one.id) for one in mine],
                discovered_at=at,
                last_seen_at=at,
                version_id=agent.version_id,
                updated_at=at,
            )
        )


def _remember(stage: Stage, agent: AgentInstance, mine: list[Piece]) -> None:
    """Its papers: what it is busy with, the day's journal, and what outlives a session."""
    at = max([created_at(agent.id) + timedelta(hours=1), *(one.task.updated_at for one in mine)])
    busy = [one.task.title for one in mine if one.task.status is TaskStatus.IN_PROGRESS]
    papers = {
        AgentDocumentType.WORKING_MD: "## Now\n\n"
        + ("\n".join(f"- {title}" for title in busy) or "Nothing under way; waits for the next task.")
        + "\n",
        AgentDocumentType.DAILY_NOTE: "## Today\n\n"
        + ("\n".join(f"- {one.task.title}: {one.task.status}" for one in mine[-3:]) or "A quiet day.")
        + "\n",
        AgentDocumentType.SESSION_MEMORY: f"## Kept\n\nPeople here like short answers. {agent.name} asks early.\n",
    }
    written = {one.type for one in stage.all(AgentDocument) if one.instance_id == agent.id}
    for kind, content in papers.items():
        if kind not in written:
            stage.add(
                AgentDocument(
                    id=stage.id(min(at, stage.now)),
                    instance_id=agent.id,
                    project_id=agent.project_id,
                    type=kind,
                    content=content,
                    updated_at=min(at, stage.now),
                )
            )
