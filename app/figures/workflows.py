"""`workflowMetrics`: how each workflow does, and which of its steps hold it up (WF-7); `workflowSuggestion` (WF-8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, cast
from uuid import UUID

import strawberry
from sqlalchemy import CTE, Table, func, select, true
from sqlalchemy import column as sql_column
from sqlalchemy.dialects.postgresql import JSONB

from app.auth.permissions import READ_PERMISSION
from app.graph.context import OperationContext
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import computed
from app.graph.ids import parse_id_of
from app.graph.registry import ENTITIES
from app.workflow.rules.running import STARTS_BY_ITSELF, suggestion
from app.workflow.running import STEP_RETRY
from app.workflow.types import Workflow
from db import models
from db.enums import WorkflowRunStatus, WorkflowStepStatus

MOST_WORKFLOWS: Final = 200
USUAL_DAYS: Final = 30
MOST_DAYS: Final = 365
MOST_BOTTLENECKS: Final = 5
FAILING: Final = 0.1
"""WF-7. A step whose tries fail for good more often than this holds its workflow up."""
RETRIED: Final = 0.5
"""WF-7. So does one that is tried again more often than this, on average."""
LONGEST_TEXT: Final = 10_000
_PERMISSION: Final = READ_PERMISSION["WorkflowRun"]


async def _workflow(info: strawberry.Info, row_id: UUID) -> Workflow | None:
    context = cast("OperationContext", info.context)
    return cast("Workflow | None", await context.loaders.row(ENTITIES["Workflow"]).load(row_id))


@strawberry.type(description="A step that holds its workflow up: it fails, or has to be tried again, too often (WF-7).")
class WorkflowBottleneck:
    """One step of one workflow."""

    step_id: str = strawberry.field(description="`id` of the step in the workflow's definition.")
    runs: int = strawberry.field(description="Runs in which the step began.")
    failure_rate: float = strawberry.field(description="Share of them in which it stands as FAILED, 0 to 1.")
    average_retries: float = strawberry.field(description="Tries after the first, on average.")


@strawberry.type(description="How one workflow did in the runs that were started within the time (WF-7).")
class WorkflowMetrics:
    """The figures of one workflow."""

    workflow_id: strawberry.Private[UUID]
    runs: int = strawberry.field(description="Runs that were started.")
    completed: int = strawberry.field(description="Runs that are COMPLETED.")
    failed: int = strawberry.field(description="Runs that are FAILED.")
    success_rate: float | None = strawberry.field(
        description="Share of the runs that have ended which were completed, 0 to 1; null where none has ended."
    )
    average_duration_ms: float | None = strawberry.field(
        description="Mean time from start to completion in milliseconds; null where none was completed."
    )
    min_duration_ms: float | None = strawberry.field(description="The shortest such time in milliseconds.")
    max_duration_ms: float | None = strawberry.field(description="The longest such time in milliseconds.")
    retries: int = strawberry.field(description="Tries after the first, over all steps.")
    paused: int = strawberry.field(description="Runs that are PAUSED now.")
    escalations: int = strawberry.field(
        description="How often a step had used up its tries and a person was asked (WF-5)."
    )
    bottlenecks: list[WorkflowBottleneck] = strawberry.field(
        description=f"Steps that hold it up, the worst first, at most {MOST_BOTTLENECKS}."
    )

    @computed("The workflow.")
    async def workflow(self, info: strawberry.Info) -> Workflow | None:
        """The workflow's row."""
        return await _workflow(info, self.workflow_id)


def _runs(context: OperationContext, workflow_id: UUID | None, until: datetime, days: int) -> CTE:
    """The runs of the time that the caller may see."""
    table, asked = (cast("Table", one.__table__) for one in (models.WorkflowRun, models.ApprovalRecord))
    escalations = (
        select(func.count())
        .select_from(asked)
        .where(
            asked.c.tenant_id == table.c.tenant_id,
            asked.c.target_entity == "WorkflowRun",
            asked.c.target_id == table.c.id,
            asked.c.request_type == STEP_RETRY,
        )
        .scalar_subquery()
    )
    conditions = [
        *context.reader.visible(ENTITIES["WorkflowRun"]),
        table.c.started_at > until - timedelta(days=days),
        table.c.started_at <= until,
    ]
    if workflow_id is not None:
        conditions.append(table.c.workflow_id == workflow_id)
    length = func.extract("epoch", table.c.completed_at - table.c.started_at) * 1000
    seen = select(
        table.c.workflow_id, table.c.status, table.c.steps, length.label("length"), escalations.label("escalations")
    )
    return seen.where(*conditions).cte("seen")


def _whole(seen: CTE) -> Any:
    """A row for each workflow."""
    completed = seen.c.status == WorkflowRunStatus.COMPLETED

    def number(status: WorkflowRunStatus) -> Any:
        return func.count().filter(seen.c.status == status)

    return (
        select(
            seen.c.workflow_id,
            func.count().label("runs"),
            number(WorkflowRunStatus.COMPLETED).label("completed"),
            number(WorkflowRunStatus.FAILED).label("failed"),
            number(WorkflowRunStatus.PAUSED).label("paused"),
            func.avg(seen.c.length).filter(completed).label("average"),
            func.min(seen.c.length).filter(completed).label("least"),
            func.max(seen.c.length).filter(completed).label("most"),
            func.sum(seen.c.escalations).label("escalations"),
        )
        .group_by(seen.c.workflow_id)
        .order_by(func.count().desc(), seen.c.workflow_id)
        .limit(MOST_WORKFLOWS)
    )


def _steps(seen: CTE) -> Any:
    """A row for each step of each workflow that began in any run."""
    each = func.jsonb_array_elements(seen.c.steps).table_valued(sql_column("value", JSONB)).lateral("each")
    state = each.c.value
    retries = func.coalesce(state["retryCount"].as_integer(), 0)
    step_id = state["stepId"].as_string()
    return (
        select(
            seen.c.workflow_id,
            step_id.label("step_id"),
            func.count().label("runs"),
            func.sum(retries).label("retries"),
            func.count().filter(state["status"].as_string() == WorkflowStepStatus.FAILED.value).label("failed"),
        )
        .select_from(seen.join(each, true()))
        .where(state["startedAt"].as_string().is_not(None))
        .group_by(seen.c.workflow_id, step_id)
        .order_by(seen.c.workflow_id, step_id)
    )


@computed(
    "How workflows do: how many runs succeed, how long they take, and which steps hold them up (WF-7). Workflows that"
    f" ran within the time, the busiest first, at most {MOST_WORKFLOWS}. Needs `{_PERMISSION}`. Two statements.",
    most=MOST_WORKFLOWS,
)
async def workflow_metrics(
    info: strawberry.Info,
    workflow_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only this workflow.")] = None,
    days: Annotated[
        int, strawberry.argument(description=f"How far back runs may have started, in days, 1 to {MOST_DAYS}.")
    ] = USUAL_DAYS,
    as_of: Annotated[
        datetime | None, strawberry.argument(description="End of that time; now if nothing is said.")
    ] = None,
) -> list[WorkflowMetrics]:
    """FORBIDDEN without the permission, BAD_USER_INPUT for a number of days or an id that cannot be."""
    context = cast("OperationContext", info.context)
    if not context.actor.may_read("WorkflowRun"):
        raise Forbidden(_PERMISSION)
    if not 1 <= days <= MOST_DAYS:
        raise BadUserInput(f"`days` is {days}; it goes from 1 to {MOST_DAYS}.", "days")
    wanted = None if workflow_id is None else parse_id_of("wfl", "Workflow", workflow_id, "workflowId")
    seen = _runs(context, wanted, as_of or datetime.now(UTC), days)
    found = await context.reading.rows(_whole(seen))
    steps: dict[UUID, list[Any]] = {}
    for row in await context.reading.rows(_steps(seen)) if found else []:
        steps.setdefault(row.workflow_id, []).append(row)
    return [_metrics(row, steps.get(row.workflow_id, [])) for row in found]


def _metrics(row: Any, steps: list[Any]) -> WorkflowMetrics:
    ended = row.completed + row.failed
    return WorkflowMetrics(
        workflow_id=row.workflow_id,
        runs=row.runs,
        completed=row.completed,
        failed=row.failed,
        success_rate=row.completed / ended if ended else None,
        average_duration_ms=_number(row.average),
        min_duration_ms=_number(row.least),
        max_duration_ms=_number(row.most),
        retries=sum(one.retries for one in steps),
        paused=row.paused,
        escalations=int(row.escalations),
        bottlenecks=_bottlenecks(steps),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _bottlenecks(steps: list[Any]) -> list[WorkflowBottleneck]:
    made = [
        WorkflowBottleneck(
            step_id=one.step_id,
            runs=one.runs,
            failure_rate=one.failed / one.runs,
            average_retries=one.retries / one.runs,
        )
        for one in steps
    ]
    slow = [one for one in made if one.failure_rate > FAILING or one.average_retries > RETRIED]
    return sorted(slow, key=lambda one: (-one.failure_rate, -one.average_retries, one.step_id))[:MOST_BOTTLENECKS]


# --- Suggestions ------------------------------------------------------------------------------------------------------


@strawberry.type(description="The workflow that a text seems to ask for (WF-8).")
class WorkflowSuggestion:
    """A guess by the words of the text."""

    workflow_key: str = strawberry.field(description="Key of the workflow.")
    confidence: float = strawberry.field(description="How sure the guess is, 0 to 1.")
    starts_by_itself: bool = strawberry.field(
        description=f"Whether it is sure enough to start it without asking: from {STARTS_BY_ITSELF} on."
    )

    @computed("The workflow with this key that is active; null where the tenant has none.")
    async def workflow(self, info: strawberry.Info) -> Workflow | None:
        """The workflow's row."""
        context = cast("OperationContext", info.context)
        table = cast("Table", models.Workflow.__table__)
        conditions = [*context.reader.visible(ENTITIES["Workflow"]), table.c.active]
        found = await context.reading.rows(
            select(table.c.id).where(*conditions, table.c.workflow_key == self.workflow_key)
        )
        return await _workflow(info, found[0].id) if found else None


@computed(
    "Which workflow a text asks for, by its words: of features first, then of bugs, then of security; null where none"
    f" tells (WF-8). Starts nothing. Needs `{_PERMISSION}`."
)
def workflow_suggestion(
    info: strawberry.Info,
    text: Annotated[str, strawberry.argument(description=f"The text, {LONGEST_TEXT} characters at most.")],
) -> WorkflowSuggestion | None:
    """FORBIDDEN without the permission."""
    if not cast("OperationContext", info.context).actor.may_read("WorkflowRun"):
        raise Forbidden(_PERMISSION)
    if len(text) > LONGEST_TEXT:
        raise BadUserInput(f"`text` has {len(text)} characters, at most {LONGEST_TEXT} are taken.", "text")
    found = suggestion(text)
    if found is None:
        return None
    key, confidence = found
    return WorkflowSuggestion(workflow_key=key, confidence=confidence, starts_by_itself=confidence >= STARTS_BY_ITSELF)


FIELDS: Final = (workflow_metrics, workflow_suggestion)
