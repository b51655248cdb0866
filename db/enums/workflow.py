"""Enums of workflow runs."""

from db.enums.described import Described


class WorkflowRunStatus(Described):
    """How a workflow run stands (WFR-1)."""

    PENDING = "PENDING", "Started by somebody, no step executed yet."
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED", "Every step is done; final."
    FAILED = "FAILED", "A step failed for good, or a person aborted the run; final."
    PAUSED = "PAUSED", "A step used up its retries and waits for a person (WF-5)."


class WorkflowStepStatus(Described):
    """How a step of a workflow run stands (WFR-2)."""

    PENDING = "PENDING", "Not begun, or waiting for its next try."
    RUNNING = "RUNNING", "Its task is with an agent."
    DONE = "DONE", "Its output held what the step expects."
    FAILED = "FAILED", "Missing input, unexpected output, a failed task or a timeout (WF-4)."
