"""Root fields of task execution."""

from app.execution import explaining, graphs, recommending, searching, simulation
from app.execution.types import ExecutionRequest, Message, Review, Run, Task, TaskDependency, ToolCall
from app.graph.roots import row, rows

FIELDS = (
    rows(Task, "Work of the tenant: boards, calendars and queues filter it by status, project, label and date."),
    row(Task, "One piece of work."),
    rows(Message, "Entries of all tasks' threads, such as the latest of a project."),
    row(Message, "One entry of a thread."),
    rows(Run, "Execution turns of agents: what runs, what failed, and what it cost."),
    row(Run, "One execution turn."),
    rows(ToolCall, "Tool calls of all runs: what is risky, what waits for approval, what was denied."),
    row(ToolCall, "One tool call."),
    rows(ExecutionRequest, "The queue of work for outside executors."),
    row(ExecutionRequest, "One request to an outside executor."),
    rows(TaskDependency, "Edges of the tasks' graphs; a parent task's `subtaskDependencies` are those of one graph."),
    row(TaskDependency, "One edge of a task graph."),
    rows(Review, "Peer reviews: what waits for an answer, and how work was judged."),
    row(Review, "One review."),
    *simulation.FIELDS,
    *graphs.FIELDS,
    *recommending.FIELDS,
    *explaining.FIELDS,
    *searching.FIELDS,
)
