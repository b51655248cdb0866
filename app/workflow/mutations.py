"""Mutations of workflows."""

from __future__ import annotations

from app.graph.inputs import EXPECTED_STATUS, given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.scalars import JSON
from app.workflow.commands import definitions, runs
from app.workflow.rules.definition import LONGEST_NAME, LONGEST_TEXT, LONGEST_YAML, MOST_AGENTS, MOST_STEPS
from app.workflow.types import Workflow, WorkflowRun
from db.enums import WorkflowRunStatus


@input_type
class WorkflowWorkspaceInput:
    """What an agent finds in its working directory."""

    files: JSON | None = given(f"Texts by name, {LONGEST_TEXT} characters each at most.")


@input_type
class WorkflowAgentInput:
    """A role that steps are given to."""

    id: str = given("Name that steps use, unique in the workflow.", longest=LONGEST_NAME)
    persona: str = given("Name of the agents that can take the role, or of their template.", longest=LONGEST_NAME)
    workspace: WorkflowWorkspaceInput | None = given("Working directory of the role.")


@input_type
class WorkflowStepInput:
    """One step; steps follow each other in their order."""

    id: str = given("Name of the step, unique in the workflow; its output is `<id>Output`.", longest=LONGEST_NAME)
    agent: str = given("`id` of the role that does it.", longest=LONGEST_NAME)
    input: str = given("What the agent is told; `{{name}}` stands for a value of the run's context.")
    expects: str = given("What the output has to contain; case and white space do not count.")
    retry_limit: int = given("How often a failed step is tried again before a person is asked; 0 means never.")
    timeout_minutes: float = given("Longest time of one try, in minutes.")


@input_type
class WorkflowUpsertInput:
    """A whole definition."""

    workflow_key: str = given("The `id` of its YAML: one that is known gets a new version.", longest=LONGEST_NAME)
    name: str = given("Display name.", longest=LONGEST_NAME)
    description: str = given("What the procedure is for.", default="")
    agents: list[WorkflowAgentInput] = given("Its roles, at least one.", most=MOST_AGENTS)
    steps: list[WorkflowStepInput] = given("Its steps in order, at least one.", most=MOST_STEPS)


@input_type
class WorkflowLoadInput:
    """A definition as text."""

    yaml: str = given(
        "YAML with `id`, `name`, `description`, `agents` and `steps`, in the names of the graph (`retryLimit`).",
        longest=LONGEST_YAML,
    )


@input_type
class WorkflowActivateInput:
    """Which workflow may run."""

    workflow_id: str = given("The workflow.", id_of="Workflow")


@input_type
class WorkflowDeactivateInput:
    """Which workflow may not run any more."""

    workflow_id: str = given("The workflow.", id_of="Workflow")


@input_type
class WorkflowDeleteInput:
    """Which definition goes."""

    workflow_id: str = given("The workflow; none of its runs is under way.", id_of="Workflow")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class WorkflowRunStartInput:
    """What to run, where, and about what."""

    workflow_id: str = given("The workflow.", id_of="Workflow")
    project_id: str = given("The project whose agents do the steps.", id_of="Project")
    input: str = given("What it is about: `task` of the context.")
    parent_task_id: str | None = given("A task of the project that the steps' tasks become parts of.", id_of="Task")


@input_type
class WorkflowRunPauseInput:
    """Which run is held."""

    run_id: str = given("The run.", id_of="WorkflowRun")
    reason: str | None = given("Why, for its telemetry.", longest=2_000)
    expected_status: WorkflowRunStatus | None = given(EXPECTED_STATUS)


@input_type
class WorkflowRunResumeInput:
    """Which run goes on."""

    run_id: str = given("The run.", id_of="WorkflowRun")
    reason: str | None = given("Why, for its telemetry.", longest=2_000)
    expected_status: WorkflowRunStatus | None = given(EXPECTED_STATUS)


@input_type
class WorkflowRunAbortInput:
    """Which run ends."""

    run_id: str = given("The run.", id_of="WorkflowRun")
    reason: str = given("Why, for the change record.", longest=2_000)
    expected_status: WorkflowRunStatus | None = given(EXPECTED_STATUS)


_CREATED = Shown("created", bool, "Whether it is a new workflow, rather than a new version of a known one.")

FIELDS = (
    mutation("workflow_upsert", definitions.upsert_workflow, WorkflowUpsertInput, Workflow, shows=(_CREATED,)),
    mutation("workflow_load", definitions.load_workflow, WorkflowLoadInput, Workflow, shows=(_CREATED,)),
    mutation("workflow_activate", definitions.activate_workflow, WorkflowActivateInput, Workflow),
    mutation("workflow_deactivate", definitions.deactivate_workflow, WorkflowDeactivateInput, Workflow),
    mutation("workflow_delete", definitions.delete_workflow, WorkflowDeleteInput, Workflow),
    mutation("workflow_run_start", runs.start_workflow_run, WorkflowRunStartInput, WorkflowRun),
    mutation("workflow_run_pause", runs.pause_workflow_run, WorkflowRunPauseInput, WorkflowRun),
    mutation("workflow_run_resume", runs.resume_workflow_run, WorkflowRunResumeInput, WorkflowRun),
    mutation("workflow_run_abort", runs.abort_workflow_run, WorkflowRunAbortInput, WorkflowRun),
)
