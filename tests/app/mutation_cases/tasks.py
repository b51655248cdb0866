"""What the mutations of tasks need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from db import models
from db.enums import TaskStatus, TaskType
from tests.app.mutation_cases.case import Case

PLAN: Final = {"bullets": ["read", "write", "check"]}

INPUTS: Final[Mapping[str, Case]] = {
    "taskCreate": Case({"title": "More work", "type": "DOCS"}),
    "taskUpdate": Case({"title": "Renamed"}),
    "taskWorkSet": Case({"workPlan": PLAN}),
    "taskAssign": Case(rows={"taskId": "new task"}),
    "taskClaim": Case(),
    "taskAutoAssign": Case(rows={"taskId": "new task"}),
    "taskTransition": Case({"to": "BLOCKED", "reason": "no key"}),
    "taskDecompose": Case(rows={"taskId": "new task"}),
    "taskDependencyAdd": Case(rows={"taskId": "second part", "dependsOnTaskId": "first part"}),
    "taskDependencyRemove": Case(),
    "taskIssueUpsert": Case({"repository": "acme/shop", "number": 7, "title": "It fails"}),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """A task that is nobody's, and one with parts that wait for each other."""

    def task(name: str, status: TaskStatus = TaskStatus.INBOX, **columns: Any) -> Any:
        made = models.Task(project_id=rows["project"].id, title=name, type=TaskType.DOCS, status=status, **columns)
        return put(name, made)

    task("new task", priority=1)
    parent = task("whole", TaskStatus.ASSIGNED)
    first, _second, third = (
        task(name, TaskStatus.BLOCKED, parent_task_id=parent.id) for name in ("first part", "second part", "third part")
    )
    put(
        "edge",
        models.TaskDependency(parent_task_id=parent.id, task_id=third.id, depends_on_task_id=first.id),
    )
