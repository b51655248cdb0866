"""A procedure of several steps, a run of it that was completed, and one that is stuck at a step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from db.demo import approvals, tasks
from db.demo.runs import close_run, open_run
from db.demo.stage import SYSTEM, Stage, actor, text_of
from db.demo.tasks import Piece
from db.enums import (
    AlertSeverity,
    ApprovalDecision,
    ChangeRecordType,
    OpEventType,
    RiskLevel,
    TaskStatus,
    TaskType,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from db.models import AgentInstance, AgentVersion, Alert, Project, Workflow, WorkflowRun

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def build(stage: Stage) -> list[Piece]:
    """The definition and its runs; gives back the tasks that the steps made."""
    words = stage.settings("workflow")
    at = stage.ago(40)
    workflow = stage.add(
        Workflow(
            id=stage.id(at),
            workflow_key=words["key"],
            name=words["name"],
            description=words["description"],
            agents=[
                {**one, "workspace": {"files": {"brief.md": "Keep to the house style."}}} for one in words["agents"]
            ],
            steps=[{**one, "retryLimit": 2} for one in words["steps"]],
            version=2,
            created_by_operator_id=stage.people[words["by"]].id,
            updated_at=stage.ago(23),
        )
    )
    pieces: list[Piece] = []
    _completed(stage, workflow, words, pieces)
    _stuck(stage, workflow, words, pieces)
    return pieces


def _key(stage: Stage) -> str:
    return "".join(stage.random.choice(_ALPHABET) for _ in range(8))


def _begin(stage: Stage, workflow: Workflow, words: Mapping[str, Any], told: dict[str, Any]) -> WorkflowRun:
    at = stage.awake(stage.ago(told["days"]))
    starter = stage.people[words["by"]]
    project = stage.projects[words["project"]]
    run = stage.add(
        WorkflowRun(
            id=stage.id(at),
            run_key=_key(stage),
            workflow_id=workflow.id,
            project_id=project.id,
            status=WorkflowRunStatus.RUNNING,
            current_step_index=0,
            total_steps=len(words["steps"]),
            steps=[],
            context={"task": told["input"]},
            initial_input=told["input"],
            started_at=at,
            updated_at=at,
        )
    )
    stage.change(
        ChangeRecordType.WORKFLOW_STARTED,
        run,
        at,
        actor(starter),
        f"{workflow.name} was started: {told['input']}.",
        after={"status": "PENDING", "runKey": run.run_key},
        project_id=project.id,
    )
    return run


def _agent(stage: Stage, words: Mapping[str, Any], step: dict[str, Any]) -> AgentInstance:
    """An agent whose template is the step's persona, of the project where it has one."""
    persona = next(one["persona"] for one in words["agents"] if one["id"] == step["agent"])
    keys = [key for key, template in stage.templates.items() if template.name == persona]
    able = [
        one for key, one in stage.instances.items() if key.rpartition("-")[0] in keys and key.endswith(("-1", "-2"))
    ]
    project = stage.projects[words["project"]]
    return next((one for one in able if one.project_id == project.id), able[0])


def _step(
    stage: Stage,
    run: WorkflowRun,
    words: Mapping[str, Any],
    number: int,
    at: datetime,
    output: str | None,
    error: str | None,
    pieces: list[Piece],
) -> dict[str, Any]:
    """One step: its task, the run that did it, and the telemetry of both."""
    step = words["steps"][number]
    agent = _agent(stage, words, step)
    project = next(one for one in stage.all(Project) if one.id == agent.project_id)
    task = tasks.new_task(
        stage,
        at,
        project,
        f"[{words['name']}] {step['id']}",
        TaskType.CUSTOMER_RESEARCH if stage.kind_of[agent.id] == "research" else TaskType.CONTENT,
        None,
        description=step["input"].replace("{{task}}", run.initial_input),
        priority=2,
        labels=["workflow"],
        metadata_={"workflowRunId": str(run.id), "workflowStepId": step["id"], "workflowStepIndex": number},
    )
    story = {
        "plan": ["Read the brief", "Do the step", "Answer in the form asked for"],
        "hours": 1,
        "result": output or "",
    }
    piece = Piece(story, task, stage.people[words["by"]], agent)
    pieces.append(piece)
    tasks.assign(stage, piece, agent, at + timedelta(seconds=5), SYSTEM)
    tasks.start(stage, piece, at + timedelta(seconds=65))
    stage.event(
        OpEventType.WORKFLOW_STEP_STARTED,
        at + timedelta(seconds=6),
        instance=agent,
        task=task,
        payload={"stepId": step["id"], "stepIndex": number},
        workflow_run_id=run.id,
    )
    work = open_run(stage, piece, at + timedelta(minutes=2))
    ended = at + timedelta(minutes=9)
    close_run(stage, piece, work, ended - timedelta(minutes=3))
    story["result"] = output or "I have nothing in the form asked for."
    tasks.submit(stage, piece, ended - timedelta(minutes=2))
    tasks.move(stage, piece, ended, TaskStatus.DONE, actor(piece.boss), reason="Read.")
    kind = OpEventType.WORKFLOW_STEP_FAILED if error else OpEventType.WORKFLOW_STEP_COMPLETED
    stage.event(
        kind,
        ended + timedelta(seconds=4),
        instance=agent,
        task=task,
        payload={"stepId": step["id"], "stepIndex": number, **({"error": error} if error else {})},
        workflow_run_id=run.id,
    )
    return {
        "stepId": step["id"],
        "status": (WorkflowStepStatus.FAILED if error else WorkflowStepStatus.DONE).value,
        "taskId": str(task.id),
        "instanceId": str(agent.id),
        "startedAt": text_of(at),
        "completedAt": text_of(ended),
        "retryCount": 2 if error else 0,
        "error": error,
        "output": output,
    }


def _tell(
    stage: Stage, run: WorkflowRun, words: Mapping[str, Any], told: dict[str, Any], pieces: list[Piece]
) -> datetime:
    at = run.started_at + timedelta(seconds=20)
    steps = []
    for number, output in enumerate(told["outputs"]):
        steps.append(_step(stage, run, words, number, at, output, None, pieces))
        run.context = {**run.context, f"{words['steps'][number]['id']}Output": output}
        at += timedelta(minutes=12)
    run.steps = steps
    run.current_step_index = min(len(steps), run.total_steps - 1)
    return at


def _completed(stage: Stage, workflow: Workflow, words: Mapping[str, Any], pieces: list[Piece]) -> None:
    run = _begin(stage, workflow, words, words["done"])
    at = _tell(stage, run, words, words["done"], pieces)
    run.status = WorkflowRunStatus.COMPLETED
    run.completed_at = run.updated_at = at
    stage.change(
        ChangeRecordType.WORKFLOW_COMPLETED,
        run,
        at,
        SYSTEM,
        f"{workflow.name} is done: {run.initial_input}.",
        before={"status": "RUNNING"},
        after={"status": "COMPLETED"},
        project_id=run.project_id,
    )


def _stuck(stage: Stage, workflow: Workflow, words: Mapping[str, Any], pieces: list[Piece]) -> None:
    """A step used up its tries: the run waits for a person (WF-5)."""
    told = words["stuck"]
    run = _begin(stage, workflow, words, told)
    at = _tell(stage, run, words, told, pieces)
    number = len(run.steps)
    failed = _step(stage, run, words, number, at, None, told["error"], pieces)
    waiting = [
        {"stepId": step["id"], "status": WorkflowStepStatus.PENDING.value, "retryCount": 0}
        for step in words["steps"][number + 1 :]
    ]
    run.steps = [*run.steps, failed, *waiting]
    run.current_step_index = number
    run.status = WorkflowRunStatus.PAUSED
    run.updated_at = at = at + timedelta(minutes=10)
    agent = _agent(stage, words, words["steps"][number])
    stage.add(
        Alert(
            id=stage.id(at),
            project_id=run.project_id,
            severity=AlertSeverity.WARNING,
            type="WORKFLOW_PAUSED",
            title=f"{workflow.name} waits at «{words['steps'][number]['id']}»",
            description=told["error"],
            instance_id=agent.id,
            updated_at=at,
        )
    )
    approvals.request(
        stage,
        "WORKFLOW_STEP_RETRY",
        agent,
        stage.ago(minutes=8),
        run,
        summary=f"Try «{words['steps'][number]['id']}» of {workflow.name} again",
        why="Three tries failed alike; a person should look at the brief.",
        risk=RiskLevel.YELLOW,
        status=ApprovalDecision.PENDING,
        lifetime=timedelta(hours=24),
        envelope=stage.envelopes["tenant"],
        project=next(one for one in stage.projects.values() if one.id == run.project_id),
        version=next(one for one in stage.all(AgentVersion) if one.id == agent.version_id),
        cost=Decimal("0.10"),
    )
