"""The lives of workflow runs and of their steps, as tables."""

from typing import Final

from app.lifecycle import HUMAN, HUMAN_OR_SYSTEM, SYSTEM, Machine
from db.enums import WorkflowRunStatus, WorkflowStepStatus

WORKFLOW_RUN: Final[Machine[WorkflowRunStatus]] = {
    WorkflowRunStatus.PENDING: {WorkflowRunStatus.RUNNING: SYSTEM, WorkflowRunStatus.FAILED: HUMAN},
    WorkflowRunStatus.RUNNING: {
        WorkflowRunStatus.COMPLETED: SYSTEM,
        WorkflowRunStatus.FAILED: HUMAN,
        WorkflowRunStatus.PAUSED: HUMAN_OR_SYSTEM,
    },
    WorkflowRunStatus.PAUSED: {
        WorkflowRunStatus.RUNNING: HUMAN_OR_SYSTEM,
        WorkflowRunStatus.FAILED: HUMAN_OR_SYSTEM,
    },
    WorkflowRunStatus.COMPLETED: {},
    WorkflowRunStatus.FAILED: {},
}
"""WFR-1. The gateway takes a run out of PAUSED where the request to try a step again is decided (WF-5)."""

WORKFLOW_STEP: Final[Machine[WorkflowStepStatus]] = {
    WorkflowStepStatus.PENDING: {WorkflowStepStatus.RUNNING: SYSTEM, WorkflowStepStatus.FAILED: SYSTEM},
    WorkflowStepStatus.RUNNING: {WorkflowStepStatus.DONE: SYSTEM, WorkflowStepStatus.FAILED: SYSTEM},
    WorkflowStepStatus.FAILED: {WorkflowStepStatus.PENDING: SYSTEM},
    WorkflowStepStatus.DONE: {},
}
"""WFR-2. A step that cannot begin, for want of a value or of an agent, fails without having run (WF-3)."""
