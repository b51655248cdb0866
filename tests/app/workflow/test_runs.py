"""A run of a workflow from its start to its end, by the commands that people and the job give (WF-2 to WF-6, WFR)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import select, update

from app.commands import Done, Refusal, Refused
from app.governance.rules import ApprovalChoice
from app.running import run_as_system
from app.workflow.machines import WORKFLOW_RUN, WORKFLOW_STEP
from app.workflow.ticking import due_runs, tick
from db import models
from db.enums import (
    ActorType,
    ApprovalDecision,
    InstanceState,
    OperatorMode,
    RiskLevel,
    TaskStatus,
    TaskType,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from db.ids import new_id
from tests.app.execution.desk import Desk

AGENTS: Final = [{"id": "dev", "persona": "Developer"}, {"id": "qa", "persona": "Tester"}]


def step(name: str, agent: str, text: str, expects: str = "", retries: int = 0, minutes: float = 30) -> dict[str, Any]:
    return {
        "id": name,
        "agent": agent,
        "input": text,
        "expects": expects,
        "retry_limit": retries,
        "timeout_minutes": minutes,
    }


@dataclass
class Line:
    """A workflow of two steps and the agents for it."""

    desk: Desk
    workflow: models.Workflow
    developer: models.AgentInstance
    tester: models.AgentInstance

    async def start(self, **arguments: Any) -> models.WorkflowRun:
        given = {
            "workflow_id": self.workflow.id,
            "project_id": self.desk.tenant.project.id,
            "input": "the roof",
            **arguments,
        }
        outcome = await self.desk.do("start_workflow_run", **given)
        assert isinstance(outcome, Done), outcome
        row: Any = outcome.row
        return await self.run(row.id)

    async def run(self, run_id: Any) -> models.WorkflowRun:
        found: models.WorkflowRun = await self.desk.get(models.WorkflowRun, run_id)
        return found

    async def tick(self, run: models.WorkflowRun) -> models.WorkflowRun:
        await tick(self.desk.tenant.database, self.desk.tenant.id)
        return await self.run(run.id)

    async def task_of(self, run: models.WorkflowRun, at: int) -> models.Task:
        found: models.Task = await self.desk.get(models.Task, run.steps[at]["taskId"])
        return found

    async def end_task(self, run: models.WorkflowRun, at: int, status: TaskStatus, output: str | None = None) -> None:
        """What the agent and the people do with a step's task, in short."""
        await self.change(
            models.Task,
            run.steps[at]["taskId"],
            status=status,
            deliverable=None if output is None else {"summary": "short", "content": output},
        )

    async def change(self, model: Any, row_id: Any, **columns: Any) -> None:
        async with self.desk.tenant.database.transaction(self.desk.human) as session:
            await session.execute(
                update(model).where(model.tenant_id == self.desk.tenant.id, model.id == row_id).values(**columns)
            )

    async def edit_step(self, run: models.WorkflowRun, at: int, **keys: Any) -> None:
        """Turn the clock of a step."""
        current = await self.run(run.id)
        steps = [{**one, **keys} if at == position else one for position, one in enumerate(current.steps)]
        await self.change(models.WorkflowRun, run.id, steps=steps)

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        async with self.desk.tenant.database.transaction(self.desk.human) as session:
            rows = await session.scalars(
                select(models.OpEvent)
                .where(models.OpEvent.tenant_id == self.desk.tenant.id, models.OpEvent.workflow_run_id.is_not(None))
                .order_by(models.OpEvent.seq)
            )
            return [(one.type.value, one.payload or {}) for one in rows]

    async def request(self) -> models.ApprovalRecord:
        (found,) = await self.desk.rows(models.ApprovalRecord)
        asked: models.ApprovalRecord = found
        return asked

    async def decide(self, choice: ApprovalChoice) -> None:
        asked = await self.request()
        outcome = await self.desk.do("decide_approval", approval_id=asked.id, decision=choice, reason="so be it")
        assert isinstance(outcome, Done), outcome


async def make_line(desk: Desk, *steps: dict[str, Any]) -> Line:
    made = await desk.do(
        "upsert_workflow",
        workflow_key="mend",
        name="Mend",
        agents=AGENTS,
        steps=list(steps)
        or [
            step("fix", "dev", "Fix {{task}}.", "status: done"),
            step("test", "qa", "Test {{BRANCH}} after {{fixOutput}}", "ok"),
        ],
    )
    assert isinstance(made, Done), made
    workflow: Any = made.row
    return Line(desk, workflow, await desk.agent("Developer"), await desk.agent("Tester"))


async def test_wf_2_a_start_is_pending_and_on_record(desk: Desk) -> None:
    line = await make_line(desk)
    run = await line.start()
    assert run.status is WorkflowRunStatus.PENDING
    assert len(run.run_key) == 8
    assert set(run.run_key) <= set("0123456789abcdefghijklmnopqrstuvwxyz")
    assert run.context == {"task": "the roof"}
    assert run.total_steps == 2
    assert [one["status"] for one in run.steps] == ["PENDING", "PENDING"]
    (record,) = await desk.registry.journal()
    assert (record["type"], record["target"]["__typename"]) == ("WORKFLOW_STARTED", "WorkflowRun")
    assert record["afterState"]["status"] == "PENDING"
    assert await line.events() == []  # no step has started
    other = await line.start()
    assert other.run_key != run.run_key


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({"input": "  "}, "input"),
        ({"project_id": new_id()}, "project_id"),
        ({"parent_task_id": new_id()}, "parent_task_id"),
    ],
)
async def test_wf_2_a_bad_start_is_refused(desk: Desk, arguments: dict[str, Any], where: str) -> None:
    line = await make_line(desk)
    given = {"workflow_id": line.workflow.id, "project_id": desk.tenant.project.id, "input": "x", **arguments}
    refused = await desk.do("start_workflow_run", **given)
    assert isinstance(refused, Refused)
    assert refused.field == where
    assert await desk.rows(models.WorkflowRun) == []


async def test_wf_2_no_start_in_an_emergency_and_none_under_a_closed_task(desk: Desk) -> None:
    line = await make_line(desk)
    done = await desk.task(TaskStatus.DONE)
    given: dict[str, Any] = {"workflow_id": line.workflow.id, "project_id": desk.tenant.project.id, "input": "x"}
    refused = await desk.do("start_workflow_run", **given, parent_task_id=done.id)
    assert isinstance(refused, Refused)
    assert refused.field == "parent_task_id"
    await desk.mode(OperatorMode.DRAINING)
    refused = await desk.do("start_workflow_run", **given)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "project_id")


async def test_wf_3_to_6_a_run_from_start_to_end(desk: Desk) -> None:
    """Each step is a task of the right agent; its output feeds the next; the last one completes the run."""
    line = await make_line(desk)
    parent = await desk.task(TaskStatus.IN_PROGRESS)
    run = await line.tick(await line.start(parent_task_id=parent.id))
    assert run.status is WorkflowRunStatus.RUNNING
    assert run.steps[0]["status"] == "RUNNING"
    assert run.steps[0]["instanceId"] == str(line.developer.id)
    task = await line.task_of(run, 0)
    assert (task.title, task.description, task.priority, task.type) == ("[Mend] fix", "Fix the roof.", 2, TaskType.OPS)
    assert (task.status, task.parent_task_id) == (TaskStatus.ASSIGNED, parent.id)
    assert await desk.assignees(task) == [line.developer.id]
    assert task.metadata_ == {"workflowRunId": str(run.id), "workflowStepId": "fix", "workflowStepIndex": 0}
    await line.tick(run)
    assert len(await desk.rows(models.Task)) == 2  # the parent and the one step: nothing is begun twice

    await line.end_task(run, 0, TaskStatus.DONE, "STATUS:   Done\nBRANCH: main\n")
    run = await line.tick(run)
    assert [one["status"] for one in run.steps] == ["DONE", "RUNNING"]
    assert run.context == {
        "task": "the roof",
        "fixOutput": "STATUS:   Done\nBRANCH: main\n",
        "BRANCH": "main",
    }
    second = await line.task_of(run, 1)
    assert second.description == "Test main after STATUS:   Done\nBRANCH: main\n"
    assert await desk.assignees(second) == [line.tester.id]

    await line.end_task(run, 1, TaskStatus.DONE, "All OK.")
    run = await line.tick(run)
    assert (run.status, run.current_step_index) == (WorkflowRunStatus.COMPLETED, 1)
    assert run.completed_at is not None
    assert [kind for kind, _ in await line.events()] == [
        *("WORKFLOW_STEP_STARTED", "WORKFLOW_STEP_COMPLETED", "WORKFLOW_STEP_STARTED", "WORKFLOW_STEP_COMPLETED")
    ]
    journal = await desk.registry.journal()
    own = [one for one in journal if one["target"]["__typename"] == "WorkflowRun"]
    assert [one["type"] for one in own] == ["WORKFLOW_STARTED", "WORKFLOW_COMPLETED"]
    assert own[1]["afterState"]["status"] == "COMPLETED"
    assert own[1]["actorType"] == "SYSTEM"
    tasks = [one["type"] for one in journal if one["target"]["__typename"] == "Task"]
    assert tasks == ["TASK_CREATED", "TASK_TRANSITIONED", "TASK_ASSIGNED"] * 2
    before = await desk.registry.journal()
    await line.tick(run)
    assert await desk.registry.journal() == before


async def test_wf_3_several_workers_begin_and_judge_once(desk: Desk) -> None:
    """Ten at once: one task, one event; and the same with what came of it."""
    line = await make_line(desk)
    run = await line.start()
    database, tenant_id = desk.tenant.database, desk.tenant.id

    async def give(name: str) -> None:
        outcomes = await asyncio.gather(
            *(run_as_system(database, tenant_id, name, {"run_id": run.id}) for _ in range(10))
        )
        assert all(isinstance(one, Done) for one in outcomes)

    await give("begin_workflow_step")
    assert len(await desk.rows(models.Task)) == 1
    await line.end_task(await line.run(run.id), 0, TaskStatus.DONE, "status: done\nBRANCH: b")
    await give("judge_workflow_step")
    assert [kind for kind, _ in await line.events()] == ["WORKFLOW_STEP_STARTED", "WORKFLOW_STEP_COMPLETED"]
    await asyncio.gather(*(tick(database, tenant_id) for _ in range(5)))
    assert len(await desk.rows(models.Task)) == 2


async def test_wf_3_the_agent_with_the_least_work_and_the_first_type_of_its_policy(desk: Desk) -> None:
    line = await make_line(desk)
    await desk.task(TaskStatus.IN_PROGRESS, line.developer)
    idle = await desk.agent("Developer")
    await desk.agent("Developer", InstanceState.PAUSED)
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="texts",
            attached_to_project_id=desk.tenant.project.id,
            allowed_task_types=[TaskType.DOCS, TaskType.CONTENT],
            version=1,
            active=True,
        )
    )
    run = await line.tick(await line.start())
    task = await line.task_of(run, 0)
    assert await desk.assignees(task) == [idle.id]
    assert task.type is TaskType.DOCS


async def test_wf_3_an_agent_that_may_do_nothing_is_given_nothing(desk: Desk) -> None:
    """POL-8: an empty list forbids every type, OPS as well."""
    line = await make_line(desk)
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="none", attached_to_project_id=desk.tenant.project.id, allowed_task_types=[], version=1, active=True
        )
    )
    run = await line.tick(await line.start())
    assert "no type of task" in run.steps[0]["error"]
    assert await desk.rows(models.Task) == []


async def test_wf_3_a_template_s_name_is_a_persona_too(desk: Desk) -> None:
    line = await make_line(desk, step("look", "dev", "x"))
    await line.change(models.AgentInstance, line.developer.id, name="somebody")
    run = await line.tick(await line.start())
    assert (run.status, run.steps[0]["status"]) == (WorkflowRunStatus.PAUSED, "FAILED")
    await line.change(models.AgentTemplate, desk.registry.template.id, name="Developer")
    run = await line.tick(await line.start())
    assert run.steps[0]["status"] == "RUNNING"


async def test_wf_3_nothing_begins_in_an_emergency(desk: Desk) -> None:
    line = await make_line(desk)
    run = await line.start()
    await desk.mode(OperatorMode.DRAINING)
    assert await due_runs(desk.tenant.database, desk.tenant.id) == []
    outcome = await run_as_system(desk.tenant.database, desk.tenant.id, "begin_workflow_step", {"run_id": run.id})
    assert isinstance(outcome, Done)
    assert (await line.run(run.id)).status is WorkflowRunStatus.PENDING
    await desk.mode(OperatorMode.NORMAL)
    assert (await line.tick(run)).status is WorkflowRunStatus.RUNNING


async def test_wf_3_a_name_that_the_context_lacks_fails_the_step(desk: Desk) -> None:
    line = await make_line(desk, step("fix", "dev", "Fix {{TICKET}} of {{task}}"))
    run = await line.tick(await line.start())
    assert (run.status, run.steps[0]["status"]) == (WorkflowRunStatus.PAUSED, "FAILED")
    assert "TICKET" in run.steps[0]["error"]
    assert await desk.rows(models.Task) == []


@pytest.mark.parametrize(
    ("status", "output", "error"),
    [
        (TaskStatus.DONE, "all good", "status: done"),
        (TaskStatus.DONE, None, "status: done"),
        (TaskStatus.FAILED, None, "FAILED"),
        (TaskStatus.CANCELED, None, "CANCELED"),
    ],
)
async def test_wf_4_what_fails_a_step(desk: Desk, status: TaskStatus, output: str | None, error: str) -> None:
    line = await make_line(desk)
    run = await line.tick(await line.start())
    await line.end_task(run, 0, status, output)
    run = await line.tick(run)
    assert (run.status, run.steps[0]["status"]) == (WorkflowRunStatus.PAUSED, "FAILED")
    assert error in run.steps[0]["error"]
    assert [kind for kind, _ in await line.events()][:2] == ["WORKFLOW_STEP_STARTED", "WORKFLOW_STEP_FAILED"]


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (TaskStatus.ASSIGNED, TaskStatus.BLOCKED),
        (TaskStatus.IN_PROGRESS, TaskStatus.FAILED),
        (TaskStatus.REVIEW, TaskStatus.FAILED),
        (TaskStatus.NEEDS_APPROVAL, TaskStatus.FAILED),
    ],
)
async def test_wf_4_a_step_whose_time_is_over(desk: Desk, status: TaskStatus, then: TaskStatus) -> None:
    """The step has failed with "timeout", and nobody goes on with its task."""
    line = await make_line(desk)
    run = await line.tick(await line.start())
    await line.end_task(run, 0, status)
    await line.edit_step(run, 0, timeoutAt=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    run = await line.tick(run)
    assert (run.status, run.steps[0]["error"]) == (WorkflowRunStatus.PAUSED, "timeout")
    assert (await line.task_of(run, 0)).status is then


async def test_wf_5_tries_follow_each_other_with_growing_pauses(desk: Desk) -> None:
    line = await make_line(desk, step("fix", "dev", "x", "done", retries=2))
    run = await line.tick(await line.start())
    for retries, delay in ((1, 1), (2, 2)):
        await line.end_task(run, 0, TaskStatus.FAILED)
        began = datetime.now(UTC)
        run = await line.tick(run)
        assert (run.status, run.steps[0]["status"]) == (WorkflowRunStatus.RUNNING, "PENDING")
        assert run.steps[0]["retryCount"] == retries
        due = datetime.fromisoformat(run.steps[0]["nextTryAt"])
        assert timedelta(seconds=delay - 0.1) < due - began < timedelta(seconds=delay + 30)
        assert await due_runs(desk.tenant.database, desk.tenant.id) == []
        count = len(await desk.rows(models.Task))
        await run_as_system(desk.tenant.database, desk.tenant.id, "begin_workflow_step", {"run_id": run.id})
        assert len(await desk.rows(models.Task)) == count  # not due yet
        await line.edit_step(run, 0, nextTryAt=began.isoformat())
        run = await line.tick(run)
        assert run.steps[0]["status"] == "RUNNING"
        assert len(await desk.rows(models.Task)) == count + 1
    await line.end_task(run, 0, TaskStatus.FAILED)
    run = await line.tick(run)
    assert (run.status, run.steps[0]["status"], run.steps[0]["retryCount"]) == (WorkflowRunStatus.PAUSED, "FAILED", 2)
    asked = await line.request()
    assert (asked.request_type, asked.risk_level, asked.status) == (
        "WORKFLOW_STEP_RETRY",
        RiskLevel.YELLOW,
        ApprovalDecision.PENDING,
    )
    assert (asked.target_entity, asked.target_id) == ("WorkflowRun", run.id)
    (alert,) = await desk.rows(models.Alert)
    assert (alert.type, alert.severity.value) == ("WORKFLOW_PAUSED", "WARNING")
    assert [kind for kind, _ in await line.events()].count("WORKFLOW_STEP_FAILED") == 3


async def paused(desk: Desk) -> tuple[Line, models.WorkflowRun]:
    """A run whose first step has used up its tries."""
    line = await make_line(desk, step("fix", "dev", "x", "done"), step("test", "qa", "y"))
    run = await line.tick(await line.start())
    await line.end_task(run, 0, TaskStatus.FAILED)
    return line, await line.tick(run)


async def test_wf_5_an_approved_request_gives_the_step_its_tries_again(desk: Desk) -> None:
    line, run = await paused(desk)
    await line.decide(ApprovalChoice.APPROVE)
    run = await line.run(run.id)
    assert (run.status, run.steps[0]["status"], run.steps[0]["retryCount"]) == (WorkflowRunStatus.RUNNING, "PENDING", 0)
    assert (await line.request()).used_at is not None
    run = await line.tick(run)
    assert run.steps[0]["status"] == "RUNNING"
    await line.end_task(run, 0, TaskStatus.DONE, "done")
    assert (await line.tick(run)).current_step_index == 1


async def test_wf_5_a_denied_request_fails_the_run(desk: Desk) -> None:
    line, run = await paused(desk)
    await line.decide(ApprovalChoice.DENY)
    run = await line.run(run.id)
    assert run.status is WorkflowRunStatus.FAILED
    assert run.completed_at is not None
    (record,) = [one for one in await desk.registry.journal() if one["type"] == "WORKFLOW_COMPLETED"]
    assert record["afterState"]["status"] == "FAILED"
    assert record["causedBy"] is not None


async def test_wf_5_a_request_that_expires_fails_the_run(desk: Desk) -> None:
    line, run = await paused(desk)
    asked = await line.request()
    await line.change(models.ApprovalRecord, asked.id, expires_at=datetime.now(UTC) - timedelta(minutes=1))
    await run_as_system(desk.tenant.database, desk.tenant.id, "expire_approvals", {})
    assert (await line.run(run.id)).status is WorkflowRunStatus.FAILED


async def test_wf_5_resuming_does_not_get_round_the_request(desk: Desk) -> None:
    line, run = await paused(desk)
    refused = await desk.do("resume_workflow_run", run_id=run.id)
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.DEPENDENCY_NOT_MET
    assert (await line.run(run.id)).status is WorkflowRunStatus.PAUSED


async def test_wfr_1_paused_by_a_person_and_resumed(desk: Desk) -> None:
    """While it is held, a task that ends is not judged; on resuming it is."""
    line = await make_line(desk)
    run = await line.tick(await line.start())
    assert isinstance(await desk.do("pause_workflow_run", run_id=run.id, reason="wait"), Done)
    await line.end_task(run, 0, TaskStatus.DONE, "status: done\nBRANCH: b")
    run = await line.tick(run)
    assert (run.status, run.steps[0]["status"]) == (WorkflowRunStatus.PAUSED, "RUNNING")
    assert isinstance(await desk.do("resume_workflow_run", run_id=run.id), Done)
    run = await line.tick(run)
    assert [one["status"] for one in run.steps] == ["DONE", "RUNNING"]
    stages = [payload.get("stage") for kind, payload in await line.events() if kind == "DECISION_MADE"]
    assert stages == ["WORKFLOW_PAUSED", "WORKFLOW_RESUMED"]


async def test_wfr_1_aborted(desk: Desk) -> None:
    """The run is FAILED, its task is canceled, and nothing is begun any more."""
    line = await make_line(desk)
    run = await line.tick(await line.start())
    refused = await desk.do("abort_workflow_run", run_id=run.id, reason=" ")
    assert isinstance(refused, Refused)
    assert refused.field == "reason"
    assert isinstance(await desk.do("abort_workflow_run", run_id=run.id, reason="not needed"), Done)
    run = await line.tick(run)
    assert run.status is WorkflowRunStatus.FAILED
    assert (await line.task_of(run, 0)).status is TaskStatus.CANCELED
    own = [one for one in await desk.registry.journal() if one["type"] == "WORKFLOW_COMPLETED"]
    assert [(one["afterState"]["status"], one["reason"], one["causedBy"]) for one in own] == [
        ("FAILED", "not needed", None)
    ]


async def test_wfr_1_an_abort_withdraws_the_request(desk: Desk) -> None:
    line, run = await paused(desk)
    assert isinstance(await desk.do("abort_workflow_run", run_id=run.id, reason="enough"), Done)
    assert (await line.request()).status is ApprovalDecision.CANCELED
    completed = [one for one in await desk.registry.journal() if one["type"] == "WORKFLOW_COMPLETED"]
    assert len(completed) == 1


async def test_wfr_1_an_abort_and_a_decision_at_once(desk: Desk) -> None:
    """Whoever comes first decides; the run ends in one of the two ways, and neither waits for the other for ever."""
    line, run = await paused(desk)
    asked = await line.request()
    outcomes = await asyncio.gather(
        desk.do("abort_workflow_run", run_id=run.id, reason="enough"),
        desk.do("decide_approval", approval_id=asked.id, decision=ApprovalChoice.APPROVE),
    )
    assert any(isinstance(one, Done) for one in outcomes)
    run = await line.run(run.id)
    assert run.status is WorkflowRunStatus.FAILED
    assert isinstance(outcomes[0], Done)


ACTIONS: Final[dict[WorkflowRunStatus, tuple[str, dict[str, Any]]]] = {
    WorkflowRunStatus.PAUSED: ("pause_workflow_run", {}),
    WorkflowRunStatus.RUNNING: ("resume_workflow_run", {}),
    WorkflowRunStatus.FAILED: ("abort_workflow_run", {"reason": "enough"}),
}


@pytest.mark.parametrize("target", ACTIONS)
@pytest.mark.parametrize("start", list(WorkflowRunStatus))
async def test_wfr_1_every_step_that_a_person_asks_for(
    desk: Desk, start: WorkflowRunStatus, target: WorkflowRunStatus
) -> None:
    line = await make_line(desk)
    run = await line.start()
    await line.change(models.WorkflowRun, run.id, status=start)
    name, arguments = ACTIONS[target]
    outcome = await desk.do(name, run_id=run.id, **arguments)
    after = await line.run(run.id)
    if ActorType.HUMAN in WORKFLOW_RUN[start].get(target, ()):
        assert isinstance(outcome, Done)
        assert after.status is target
    else:
        assert isinstance(outcome, Refused)
        assert outcome.code is Refusal.INVALID_STATE_TRANSITION
        assert outcome.allowed == tuple(
            to.value for to, actors in WORKFLOW_RUN[start].items() if ActorType.HUMAN in actors
        )
        assert after.status is start


def test_wfr_1_and_wfr_2_the_tables() -> None:
    """As the rules have them; the first step of a machine is where they are made."""
    run, step_ = WorkflowRunStatus, WorkflowStepStatus
    assert {start: set(targets) for start, targets in WORKFLOW_RUN.items()} == {
        run.PENDING: {run.RUNNING, run.FAILED},
        run.RUNNING: {run.COMPLETED, run.FAILED, run.PAUSED},
        run.PAUSED: {run.RUNNING, run.FAILED},
        run.COMPLETED: set(),
        run.FAILED: set(),
    }
    assert {start: set(targets) for start, targets in WORKFLOW_STEP.items()} == {
        step_.PENDING: {step_.RUNNING, step_.FAILED},
        step_.RUNNING: {step_.DONE, step_.FAILED},
        step_.FAILED: {step_.PENDING},
        step_.DONE: set(),
    }


async def test_wf_1_a_run_goes_by_the_definition_that_it_was_started_with(desk: Desk) -> None:
    line = await make_line(desk)
    run = await line.start()
    again = await desk.do(
        "upsert_workflow", workflow_key="mend", name="Mend", agents=AGENTS, steps=[step("other", "qa", "z")]
    )
    assert isinstance(again, Done)
    run = await line.tick(run)
    assert (await line.task_of(run, 0)).description == "Fix the roof."


async def test_an_imported_run_without_a_definition_goes_by_the_workflow_s_own(desk: Desk) -> None:
    line = await make_line(desk)
    run = await line.start()
    await line.change(models.WorkflowRun, run.id, metadata_=None)
    run = await line.tick(run)
    assert run.steps[0]["status"] == "RUNNING"


async def test_a_run_that_fails_by_a_mistake_does_not_stop_the_others(desk: Desk) -> None:
    line = await make_line(desk)
    broken, good = await line.start(), await line.start()
    await line.change(models.WorkflowRun, broken.id, metadata_={"definition": {"agents": [], "steps": [{"id": "fix"}]}})
    with pytest.raises(KeyError):
        await line.tick(good)
    assert (await line.run(good.id)).status is WorkflowRunStatus.RUNNING
    assert (await line.run(broken.id)).status is WorkflowRunStatus.PENDING
