"""Root fields of workflow orchestration."""

from app.graph.roots import row, rows
from app.workflow.types import Workflow, WorkflowRun

FIELDS = (
    rows(Workflow, "Definitions of procedures; only active ones can be started."),
    row(Workflow, "One definition of a procedure."),
    rows(WorkflowRun, "Executions of procedures: what runs, what waits for a person, what failed."),
    row(WorkflowRun, "One execution of a procedure."),
)
