"""Mutations of runs and tool calls: what an agent's runtime reports."""

from __future__ import annotations

from app.execution.commands import runs, tool_calls
from app.execution.types import Run, ToolCall
from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.registry import Named
from app.graph.scalars import JSON
from db.enums import RiskLevel, RunStatus

_LONGEST_NAME = 200
_COST = "What the run has cost in all so far, in US dollars; by its tokens' price if nothing is said (COST-2)."
_TOTAL = "of the run in all so far; as before if nothing is said."


@input_type
class RunStartInput:
    """A run that an agent wants to begin."""

    instance_id: str = given("The agent; an agent starts its own runs alone.", id_of="AgentInstance")
    model: str = given("Model that will answer, as its provider names it.", longest=_LONGEST_NAME)
    session_key: str = given("The agent's own name for the session; several runs may share it.", longest=_LONGEST_NAME)
    task_id: str | None = given(
        "The task of its project that it works on; a spawned agent's is its parent's if nothing is said.", id_of="Task"
    )
    estimated_cost_usd: float | None = given("What it is expected to cost, in US dollars (BUD-3).")
    estimated_tokens: int | None = given("Tokens that it is expected to take, read and written together.")
    justification: str | None = given("Why, for the person who decides.", longest=10_000)
    metadata: JSON | None = given("Open notes.")


@input_type
class RunStepRecordInput:
    """A step of a run."""

    run_id: str = given("The run, which is under way.", id_of="Run")
    index: int = given("Which step it is, from 0.")
    kind: str = given("What kind of step, such as `think`, `plan` or `act`.", longest=100)
    summary: str | None = given("What was done in it.", longest=2_000)


@input_type
class RunCostRecordInput:
    """What a run has used in all so far."""

    run_id: str = given("The run, which is under way.", id_of="Run")
    cost_usd: float | None = given(_COST)
    input_tokens: int | None = given(f"Tokens sent to the model, without cached ones, {_TOTAL}")
    output_tokens: int | None = given(f"Tokens that the model wrote, {_TOTAL}")
    cache_read_tokens: int | None = given(f"Tokens read from the provider's cache, {_TOTAL}")
    cache_write_tokens: int | None = given(f"Tokens written to the provider's cache, {_TOTAL}")
    model: str | None = given("Model that they were spent on; the run's if nothing is said.", longest=_LONGEST_NAME)


@input_type
class RunCompleteInput:
    """The end of a run."""

    run_id: str = given("The run.", id_of="Run")
    status: RunStatus | None = given("COMPLETED, as if nothing is said, or FAILED.")
    error: str | None = given("What went wrong; with it the run FAILED.", longest=10_000)
    cost_usd: float | None = given(_COST)
    input_tokens: int | None = given(f"Tokens sent to the model, without cached ones, {_TOTAL}")
    output_tokens: int | None = given(f"Tokens that the model wrote, {_TOTAL}")
    cache_read_tokens: int | None = given(f"Tokens read from the provider's cache, {_TOTAL}")
    cache_write_tokens: int | None = given(f"Tokens written to the provider's cache, {_TOTAL}")
    model: str | None = given("Model that answered; as before if nothing is said.", longest=_LONGEST_NAME)


@input_type
class ToolCallRequestInput:
    """A tool that a run wants to call."""

    run_id: str = given("The run, which is under way.", id_of="Run")
    tool_name: str = given("The tool, as policies list it.", longest=_LONGEST_NAME)
    tool_args: JSON | None = given("Its arguments by name, as they will be used; kept with their secrets taken out.")
    tool_version: str | None = given("Version of the tool.", longest=100)
    risk_level: RiskLevel | None = given("The agent's own view of the risk; it can raise it and never lower it.")
    estimated_cost_usd: float | None = given("What the call is expected to cost, in US dollars (BUD-3).")
    estimated_tokens: int | None = given("Tokens that it is expected to take, read and written together.")
    justification: str | None = given("Why, for the person who decides.", longest=10_000)
    rollback_plan: str | None = given("How to put things back, for the person who decides on RED.", longest=10_000)


@input_type
class ToolCallFinishInput:
    """How a call has ended."""

    tool_call_id: str = given("The call, which is RUNNING.", id_of="ToolCall")
    output: JSON | None = given("What came of it: kept as a preview without secrets, and as a hash of the whole.")
    error: str | None = given("What went wrong; with it the call FAILED.", longest=10_000)


@input_type
class ToolCallRetryInput:
    """A failed call to try again."""

    tool_call_id: str = given("The call, which FAILED.", id_of="ToolCall")
    tool_args: JSON | None = given("The call's arguments, the same as before.")


VERDICT = Shown("policy_decision", Named("PolicyDecision"), "What policy says; null if the question was refused.")
"""What a command that asks policy shows of the verdict."""

FIELDS = (
    mutation("run_start", runs.start_run, RunStartInput, Run, shows=(VERDICT,)),
    mutation("run_step_record", runs.record_run_step, RunStepRecordInput, Run),
    mutation("run_cost_record", runs.record_cost, RunCostRecordInput, Run),
    mutation("run_complete", runs.complete_run, RunCompleteInput, Run),
    mutation("tool_call_request", tool_calls.request_tool_call, ToolCallRequestInput, ToolCall, shows=(VERDICT,)),
    mutation("tool_call_finish", tool_calls.finish_tool_call, ToolCallFinishInput, ToolCall),
    mutation("tool_call_retry", tool_calls.retry_tool_call, ToolCallRetryInput, ToolCall),
)
