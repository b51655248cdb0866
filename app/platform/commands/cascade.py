"""What a change of the emergency mode does to agents, tasks and runs: a handful of statements, whatever the size.

Each table is read and locked with one statement, in the order of ids, judged by the pure rules, and written with one
(decision 38). The records are made of what was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.execution.moving import EMERGENCY, FORMER_STATUS, TASK_TRANSITIONED, followed, moved
from app.governance.deciding import OPEN, withdraw_for_calls
from app.platform.rules import BLOCKED_REASON, STOPPED_WORK, Standing, is_at_least, under
from app.redaction import title_of
from app.unit_of_work import UnitOfWork
from db.enums import (
    ActorType,
    ChangeRecordType,
    InstanceState,
    OperatorMode,
    OpEventType,
    RunStatus,
    TaskStatus,
    ToolCallStatus,
)
from db.logs import ChangeDraft
from db.models import AgentInstance, ApprovalRecord, OperatorControl, Run, Task, TaskAssignee, ToolCall

CAUSE: Final = "EMERGENCY"
QUARANTINED: Final = "quarantined"
"""Why a run failed that an emergency ended (EMG-4)."""
_LIVING: Final = (
    InstanceState.ACTIVE,
    InstanceState.PAUSED,
    InstanceState.READONLY,
    InstanceState.DRAINING,
)
_STOPPED: Final = (InstanceState.PAUSED, InstanceState.QUARANTINED)


class Cascade:
    """One change of the mode on its way through the fleet."""

    def __init__(
        self,
        uow: UnitOfWork,
        control: OperatorControl,
        follows: Mapping[UUID, OperatorMode],
        stopped: Sequence[UUID],
    ) -> None:
        """`follows` are the projects that the change reaches, with the mode now in force there; `stopped` all those of
        the tenant that are PAUSED or QUARANTINED now."""
        self._uow = uow
        self._control = control
        self._follows = follows
        self._stopped = stopped
        self._drafts: list[dict[str, Any]] = []
        self.instance_ids: list[UUID] = []
        self.task_ids: list[UUID] = []
        self.run_ids: list[UUID] = []

    @property
    def counts(self) -> dict[str, int]:
        """How many rows the change moved."""
        return {
            "instances_changed": len(self.instance_ids),
            "tasks_changed": len(self.task_ids),
            "runs_failed": len(self.run_ids),
        }

    async def run(self) -> None:
        """Move agents, then their tasks, then their runs."""
        await self._uow.session.flush()
        await self._move_instances()
        if any(is_at_least(mode, OperatorMode.PAUSED) for mode in self._follows.values()):
            await self._block_tasks()
        if not all(is_at_least(mode, OperatorMode.PAUSED) for mode in self._follows.values()):
            await self._release_tasks()
        if OperatorMode.QUARANTINED in self._follows.values():
            await self._fail_runs()

    def record(self, caused_by_id: UUID | None) -> None:
        """Note a change record for every agent and task that moved; without a record of the whole they hang on none."""
        self._uow.record_drafts(
            ChangeDraft(
                actor_type=ActorType.SYSTEM,
                reason=self._control.reason,
                timestamp=self._uow.now,
                caused_by_id=caused_by_id,
                **draft,
            )
            for draft in self._drafts
        )

    async def _move_instances(self) -> None:
        table = AgentInstance
        statement = (
            select(table.id, table.project_id, table.version_id, table.state, table.paused_by, table.pre_pause_state)
            .where(
                table.tenant_id == self._uow.tenant_id,
                table.project_id.in_(list(self._follows)),
                table.state.in_(_LIVING),
            )
            .order_by(table.id)
            .with_for_update(key_share=True)
        )
        goals: dict[UUID, Standing] = {}
        for row in await self._uow.session.execute(statement):
            standing = Standing(row.state, row.paused_by, row.pre_pause_state)
            goal = under(self._follows[row.project_id], standing)
            if goal == standing:
                continue
            goals[row.id] = goal
            if goal.state is not standing.state:
                self.instance_ids.append(row.id)
                self._drafts.append(
                    self._draft(
                        ChangeRecordType.INSTANCE_TRANSITIONED,
                        table.__name__,
                        row,
                        {"state": row.state.value},
                        {"state": goal.state.value},
                        instance_id=row.id,
                        version_id=row.version_id,
                    )
                )
        # A few kinds of goal, however many instances: one statement a kind.
        for goal in dict.fromkeys(goals.values()):
            ids = [one for one, its in goals.items() if its == goal]
            await self._update(table, ids, state=goal.state, paused_by=goal.paused_by, pre_pause_state=goal.returns_to)

    async def _block_tasks(self) -> None:
        """EMG-4. Every task that is not finished and has an assignee whom the emergency holds."""
        for mode, reason in BLOCKED_REASON.items():
            projects = [project for project, its in self._follows.items() if its is mode]
            if not projects:
                continue
            held = self._assignee_in(projects, AgentInstance.state.in_(_STOPPED))
            found = await self._tasks(Task.status.in_(STOPPED_WORK), held)
            notes = {FORMER_STATUS: Task.status, EMERGENCY: str(self._control.id)}
            kept = func.coalesce(Task.metadata_, cast({}, JSONB))
            pairs = [part for key, value in notes.items() for part in (key, value)]
            await self._update(
                Task,
                [row.id for row in found],
                status=TaskStatus.BLOCKED,
                blocked_reason=reason,
                metadata_=kept.op("||")(func.jsonb_build_object(*pairs)),
            )
            for row in found:
                self._note_task(row, row.status, TaskStatus.BLOCKED)

    async def _release_tasks(self) -> None:
        """EMG-6. Every task that an emergency blocked and that none holds any more goes back to where it was."""
        former = Task.metadata_[FORMER_STATUS].astext
        found = await self._tasks(
            Task.status == TaskStatus.BLOCKED,
            Task.blocked_reason.in_(list(BLOCKED_REASON.values())),
            former.in_([one.value for one in STOPPED_WORK]),
            ~self._assignee_in(self._stopped),
        )
        left = Task.metadata_.op("-")(cast([FORMER_STATUS, EMERGENCY], ARRAY(Text)))
        await self._update(
            Task,
            [row.id for row in found],
            status=former,
            blocked_reason=None,
            metadata_=func.nullif(left, cast({}, JSONB)),
        )
        for row in found:
            self._note_task(row, TaskStatus.BLOCKED, TaskStatus(row.former))

    async def _fail_runs(self) -> None:
        """EMG-4, RUN-4. Under QUARANTINED no run goes on, nor any of its tool calls."""
        projects = [project for project, its in self._follows.items() if its is OperatorMode.QUARANTINED]
        quarantined = select(AgentInstance.id).where(
            AgentInstance.tenant_id == self._uow.tenant_id,
            AgentInstance.project_id.in_(projects),
            AgentInstance.state == InstanceState.QUARANTINED,
        )
        failed = (
            update(Run)
            .where(
                Run.tenant_id == self._uow.tenant_id,
                Run.status == RunStatus.RUNNING,
                Run.instance_id.in_(quarantined),
            )
            .values(
                status=RunStatus.FAILED,
                error=QUARANTINED,
                ended_at=self._uow.now,
                duration_ms=self._lasted(Run),
                updated_at=self._uow.now,
            )
            .returning(
                *(Run.id, Run.instance_id, Run.version_id, Run.project_id, Run.task_id, Run.duration_ms),
                *(Run.model, Run.cost_usd, Run.input_tokens, Run.output_tokens),
            )
            .execution_options(synchronize_session=False)
        )
        for row in await self._uow.session.execute(failed):
            self.run_ids.append(row.id)
            self._uow.emit(
                OpEventType.RUN_FAILED,
                run_id=row.id,
                instance_id=row.instance_id,
                version_id=row.version_id,
                project_id=row.project_id,
                task_id=row.task_id,
                model=row.model,
                payload={
                    "status": RunStatus.FAILED.value,
                    "reason": QUARANTINED,
                    "costUsd": float(row.cost_usd),
                    "durationMs": row.duration_ms,
                    "inputTokens": row.input_tokens,
                    "outputTokens": row.output_tokens,
                },
            )
        if self.run_ids:
            await self._end_calls()
            await self._charge_tasks()

    async def _end_calls(self) -> None:
        """TOL-1, TOL-4. What still ran has failed with its run, and what waited for approval is denied."""
        call, status = ToolCall, ToolCall.status
        denied, ended = (literal(one, status.type) for one in (ToolCallStatus.DENIED, ToolCallStatus.FAILED))
        waits = status == ToolCallStatus.PENDING
        closed = (
            update(call)
            .where(
                call.tenant_id == self._uow.tenant_id,
                _among(call.run_id, self.run_ids),
                status.in_([ToolCallStatus.PENDING, ToolCallStatus.RUNNING]),
            )
            .values(
                status=case((waits, denied), else_=ended),
                error=QUARANTINED,
                ended_at=self._uow.now,
                duration_ms=case((waits, None), else_=self._lasted(call)),
                updated_at=self._uow.now,
            )
            .returning(
                *(call.id, call.run_id, call.instance_id, call.version_id, call.project_id, call.task_id),
                *(call.tool_name, call.status, call.duration_ms),
            )
            .execution_options(synchronize_session=False)
        )
        for row in await self._uow.session.execute(closed):
            was_running = row.status is ToolCallStatus.FAILED
            self._uow.emit(
                OpEventType.TOOL_CALL_COMPLETED if was_running else OpEventType.TOOL_CALL_BLOCKED,
                tool_call_id=row.id,
                run_id=row.run_id,
                instance_id=row.instance_id,
                version_id=row.version_id,
                project_id=row.project_id,
                task_id=row.task_id,
                payload={
                    "toolName": row.tool_name,
                    "status": row.status.value,
                    "error": QUARANTINED,
                    **({"durationMs": row.duration_ms} if was_running else {}),
                },
            )

    async def _charge_tasks(self) -> None:
        """RUN-4. What the runs have cost goes to their tasks, as with any run that ends. A budget that this used up
        holds the task when the next run asks for it (BUD-5): now the emergency does."""
        spent = (
            select(Run.task_id, func.sum(Run.cost_usd).label("usd"))
            .where(Run.tenant_id == self._uow.tenant_id, _among(Run.id, self.run_ids), Run.cost_usd > 0)
            .group_by(Run.task_id)
            .subquery()
        )
        actual = Task.actual_cost + spent.c.usd
        left = case((Task.budget_allocated.is_(None), None), else_=func.greatest(Task.budget_allocated - actual, 0))
        await self._uow.session.execute(
            update(Task)
            .where(Task.tenant_id == self._uow.tenant_id, Task.id == spent.c.task_id)
            .values(actual_cost=actual, budget_remaining=left, updated_at=self._uow.now)
            .execution_options(synchronize_session=False)
        )

    def _lasted(self, table: Any) -> ColumnElement[int]:
        """Milliseconds from the beginning of a row until now."""
        return func.greatest(0, func.floor(func.extract("epoch", self._uow.now - table.started_at) * 1000))

    async def withdraw(self, caused_by_id: UUID | None) -> None:
        """EMG-4, TOL-2. What tool calls of the runs that failed waited for is nobody's to decide any more."""
        if not self.run_ids:
            return
        asked = select(ApprovalRecord.tool_call_id).join(
            ToolCall, and_(ToolCall.tenant_id == ApprovalRecord.tenant_id, ToolCall.id == ApprovalRecord.tool_call_id)
        )
        here = ApprovalRecord.tenant_id == self._uow.tenant_id, _among(ToolCall.run_id, self.run_ids)
        found = await self._uow.session.scalars(asked.where(*here, ApprovalRecord.status.in_(OPEN)))
        calls = await self._uow.lock_all(ToolCall, [one for one in found if one is not None])
        if calls:
            await withdraw_for_calls(self._uow, [call.id for call in calls], QUARANTINED, caused_by_id)

    async def _tasks(self, *conditions: ColumnElement[bool]) -> Sequence[Any]:
        statement = (
            select(
                Task.id,
                Task.project_id,
                Task.title,
                Task.redacted_fields,
                Task.status,
                Task.metadata_[FORMER_STATUS].astext.label("former"),
                followed().label("is_followed"),
            )
            .where(Task.tenant_id == self._uow.tenant_id, *conditions)
            .order_by(Task.id)
            .with_for_update(key_share=True)
        )
        # Right after an import there are no statistics, and nested loops over 20,000 tasks take minutes: a hash join is
        # linear whatever the planner believes.
        await self._uow.session.execute(text("SET LOCAL enable_nestloop = off"))
        found = (await self._uow.session.execute(statement)).all()
        await self._uow.session.execute(text("SET LOCAL enable_nestloop = on"))
        return found

    def _assignee_in(self, projects: Sequence[UUID], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        """Whether a task has an assignee who works for one of the projects."""
        return exists(
            select(TaskAssignee.task_id)
            .join(
                AgentInstance,
                and_(AgentInstance.tenant_id == TaskAssignee.tenant_id, AgentInstance.id == TaskAssignee.instance_id),
            )
            .where(
                TaskAssignee.tenant_id == Task.tenant_id,
                TaskAssignee.task_id == Task.id,
                AgentInstance.project_id.in_(projects),
                *conditions,
            )
            .correlate(Task)
        )

    async def _update(self, model: Any, ids: Sequence[UUID], **values: Any) -> None:
        if not ids:
            return
        await self._uow.session.execute(
            update(model)
            .where(model.tenant_id == self._uow.tenant_id, _among(model.id, ids))
            .values(**values, updated_at=self._uow.now)
            .execution_options(synchronize_session=False)
        )

    def _note_task(self, row: Any, before: TaskStatus, after: TaskStatus) -> None:
        self.task_ids.append(row.id)
        self._drafts.append(
            self._draft(
                ChangeRecordType.TASK_TRANSITIONED,
                Task.__name__,
                row,
                {"status": before.value},
                {"status": after.value},
            )
        )
        if row.is_followed:
            self._uow.notify_of(TASK_TRANSITIONED, Task, row.id, moved(title_of(row), before, after))

    def _draft(
        self,
        kind: ChangeRecordType,
        entity: str,
        row: Any,
        before: dict[str, Any],
        after: dict[str, Any],
        **columns: Any,
    ) -> dict[str, Any]:
        return {
            "type": kind,
            "target_entity": entity,
            "target_id": row.id,
            "before_state": before,
            "after_state": {**after, "cause": CAUSE, "controlId": str(self._control.id)},
            "project_id": row.project_id,
            **columns,
        }


def _among(column: Any, ids: Sequence[UUID]) -> ColumnElement[bool]:
    """Whether a column holds one of many ids: they travel as one array, however many."""
    return column == func.any(bindparam(None, list(ids), ARRAY(Uuid)))  # type: ignore[no-any-return]
