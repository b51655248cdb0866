"""`standup`: what was done, what is being done, what is in the way, and what it cost; for a tenant or a project."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, cast
from uuid import UUID

import strawberry
from sqlalchemy import ColumnElement, Table, func, select

from app.auth.permissions import READ_PERMISSION
from app.execution.types import Task
from app.governance.types import ApprovalRecord
from app.graph.context import OperationContext
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import computed, described_enum
from app.graph.ids import parse_id_of
from app.graph.registry import ENTITIES
from db.enums import ApprovalDecision, InstanceState, OpEventType, RunStatus, TaskStatus
from db.ids import first_id_at

DEFAULT_HOURS: Final = 24
MOST_HOURS: Final = 24 * 31
MOST_TASKS: Final = 50
MOST_APPROVALS: Final = 20
"""Section 20, StandupModal."""
for _enumeration in (TaskStatus, InstanceState):
    described_enum(_enumeration)


@strawberry.type(description="How many tasks have a status.")
class TaskCount:
    """One status."""

    status: TaskStatus = strawberry.field(description="The status.")
    count: int = strawberry.field(description="How many tasks have it.")


@strawberry.type(description="How many agents are in a state.")
class InstanceCount:
    """One state."""

    state: InstanceState = strawberry.field(description="The state.")
    count: int = strawberry.field(description="How many agents are in it.")


@strawberry.type(description="What the runs of the time came to.")
class StandupRuns:
    """Runs that began within the time."""

    count: int = strawberry.field(description="Runs that began.")
    completed: int = strawberry.field(description="Those of them that were completed.")
    failed: int = strawberry.field(description="Those of them that failed or took too long.")


@strawberry.type(description="What was done, what is being done, what is in the way, and what it cost.")
class Standup:
    """The report. Each field is one statement, and takes it only when asked for."""

    project_id: strawberry.Private[UUID | None]
    since: datetime = strawberry.field(description="When the reported time begins.")
    until: datetime = strawberry.field(description="When it ends: now.")

    @computed("Tasks by status, as they stand now; statuses without tasks are left out.")
    async def tasks_by_status(self, info: strawberry.Info) -> list[TaskCount]:
        """Needs `read:tasks`."""
        found = await self._grouped(info, "Task", "status")
        return [TaskCount(status=TaskStatus(name), count=number) for name, number in found.items()]

    @computed("Agents by state, as they stand now; states without agents are left out.")
    async def instances_by_state(self, info: strawberry.Info) -> list[InstanceCount]:
        """Needs `read:instances`."""
        found = await self._grouped(info, "AgentInstance", "state")
        return [InstanceCount(state=InstanceState(name), count=number) for name, number in found.items()]

    @computed(f"Tasks that were done within the time, the latest first, at most {MOST_TASKS}.", most=MOST_TASKS)
    async def completed(self, info: strawberry.Info) -> list[Task]:
        """Needs `read:tasks`."""
        table = ENTITIES["Task"].table
        done = (table.c.status == TaskStatus.DONE, table.c.completed_at >= self.since)
        return await self._rows(info, "Task", MOST_TASKS, table.c.completed_at.desc(), *done)

    @computed(f"Tasks in progress, the longest first, at most {MOST_TASKS}.", most=MOST_TASKS)
    async def in_progress(self, info: strawberry.Info) -> list[Task]:
        """Needs `read:tasks`."""
        table = ENTITIES["Task"].table
        return await self._rows(
            info, "Task", MOST_TASKS, table.c.started_at.asc(), table.c.status == TaskStatus.IN_PROGRESS
        )

    @computed(f"Tasks that cannot go on, the most urgent first, at most {MOST_TASKS}.", most=MOST_TASKS)
    async def blocked(self, info: strawberry.Info) -> list[Task]:
        """Needs `read:tasks`."""
        table = ENTITIES["Task"].table
        return await self._rows(info, "Task", MOST_TASKS, table.c.priority.asc(), table.c.status == TaskStatus.BLOCKED)

    @computed(
        f"Requests that wait for a decision, the one that ends first first, at most {MOST_APPROVALS}.",
        most=MOST_APPROVALS,
    )
    async def waiting_approvals(self, info: strawberry.Info) -> list[ApprovalRecord]:
        """Needs `read:approvals`."""
        table = ENTITIES["ApprovalRecord"].table
        waiting = table.c.status.in_((ApprovalDecision.PENDING, ApprovalDecision.ESCALATED))
        return await self._rows(info, "ApprovalRecord", MOST_APPROVALS, table.c.expires_at.asc(), waiting)

    @computed("US dollars that were spent within the time, by the cost ticks (COST-1).")
    async def spent_usd(self, info: strawberry.Info) -> float:
        """Needs `read:op-events`."""
        table = ENTITIES["OpEvent"].table
        conditions = (
            table.c.type == OpEventType.COST_TICK,
            table.c.id >= first_id_at(self.since),
            table.c.timestamp >= self.since,
        )
        ((spent,),) = await self._read(info, "OpEvent", [func.coalesce(func.sum(table.c.delta_usd), 0)], *conditions)
        return float(spent)

    @computed("What the runs that began within the time came to.")
    async def runs(self, info: strawberry.Info) -> StandupRuns:
        """Needs `read:runs`."""
        table = ENTITIES["Run"].table

        def number(*statuses: RunStatus) -> ColumnElement[int]:
            return func.count().filter(table.c.status.in_(statuses))

        columns = [func.count(), number(RunStatus.COMPLETED), number(RunStatus.FAILED, RunStatus.TIMEOUT)]
        ((count, completed, failed),) = await self._read(info, "Run", columns, table.c.started_at >= self.since)
        return StandupRuns(count=count, completed=completed, failed=failed)

    async def _grouped(self, info: strawberry.Info, name: str, column: str) -> Mapping[str, int]:
        found = ENTITIES[name].table.c[column]
        kind: Any = found.type
        rows = await self._read(info, name, [found, func.count()], group_by=found)
        counts = {row[0]: row[1] for row in rows}
        return {one.value: counts[one] for one in kind.enumeration if one in counts}

    async def _rows(
        self, info: strawberry.Info, name: str, most: int, order: Any, *conditions: ColumnElement[bool]
    ) -> list[Any]:
        entity = ENTITIES[name]
        statement = self._statement(info, name, list(entity.table.columns), *conditions)
        found = await _context(info).reading.rows(statement.order_by(order, entity.table.c.id).limit(most))
        return [entity.row(*row) for row in found]

    async def _read(
        self,
        info: strawberry.Info,
        name: str,
        columns: list[Any],
        *conditions: ColumnElement[bool],
        group_by: Any = None,
    ) -> Any:
        statement = self._statement(info, name, columns, *conditions)
        return await _context(info).reading.rows(statement if group_by is None else statement.group_by(group_by))

    def _statement(self, info: strawberry.Info, name: str, columns: list[Any], *conditions: ColumnElement[bool]) -> Any:
        context, entity = _context(info), ENTITIES[name]
        if not context.actor.may_read(name):
            raise Forbidden(READ_PERMISSION[name])
        table: Table = entity.table
        own = [] if self.project_id is None else [table.c.project_id == self.project_id]
        return select(*columns).select_from(table).where(*context.reader.visible(entity), *own, *conditions)


def _context(info: strawberry.Info) -> OperationContext:
    return cast("OperationContext", info.context)


@computed(
    "The standup of a tenant or a project: what was done, what is being done, what is in the way, what waits for a"
    " decision, and what it cost. One statement a field. Each field needs the permission to read what it counts."
)
def standup(
    info: strawberry.Info,
    project_id: Annotated[
        strawberry.ID | None, strawberry.argument(description="Only this project; the whole tenant if nothing is said.")
    ] = None,
    hours: Annotated[
        int, strawberry.argument(description=f"How many hours the report goes back, 1 to {MOST_HOURS}.")
    ] = DEFAULT_HOURS,
) -> Standup:
    """BAD_USER_INPUT for an id or a time that cannot be."""
    if not 1 <= hours <= MOST_HOURS:
        raise BadUserInput(f"`hours` is {hours}; a standup goes back 1 to {MOST_HOURS} hours.", "hours")
    now = datetime.now(UTC)
    return Standup(
        project_id=None if project_id is None else parse_id_of("prj", "Project", project_id, "projectId"),
        since=now - timedelta(hours=hours),
        until=now,
    )


FIELDS: Final = (standup,)
