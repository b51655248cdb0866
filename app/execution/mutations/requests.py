"""Mutations of execution requests: work for executors outside of the fleet."""

from __future__ import annotations

from app.execution.commands import requests
from app.execution.mutations.runs import VERDICT
from app.execution.types import ExecutionRequest
from app.graph.inputs import given, input_type
from app.graph.mutation import mutation
from app.graph.scalars import JSON
from db.enums import ExecutionRequestType, ExecutorKind


@input_type
class ExecutionRequestCreateInput:
    """Work that an agent hands to an executor."""

    instance_id: str = given("The agent that asks; it hears of the end.", id_of="AgentInstance")
    type: ExecutionRequestType = given("Kind of work.")
    payload: JSON = given("What is to be done, in the executor's own terms; kept with its secrets taken out.")
    task_id: str | None = given("The task of its project that the work is for.", id_of="Task")
    executor: ExecutorKind | None = given(
        "Who is to do it; CURSOR for CODE_CHANGE and an agent for the rest if nothing is said (EXE-1)."
    )
    estimated_cost_usd: float | None = given("What it is expected to cost, in US dollars (BUD-3).")
    justification: str | None = given("Why, for the person who decides.", longest=10_000)
    rollback_plan: str | None = given("How to put things back, for the person who decides on RED.", longest=10_000)
    metadata: JSON | None = given("Open notes.")


@input_type
class ExecutionRequestAssignInput:
    """A released request to route anew."""

    request_id: str = given("The request, which is PENDING.", id_of="ExecutionRequest")
    executor: ExecutorKind | None = given("Who is to do it; by the kind of work if nothing is said (EXE-1).")


@input_type
class ExecutionRequestClaimInput:
    """A request that an executor takes."""

    request_id: str | None = given(
        "The request, which is ASSIGNED; an agent takes the oldest of its project if nothing is said.",
        id_of="ExecutionRequest",
    )
    executor_id: str | None = given(
        "The executor, as it calls itself; an agent with a token of its own claims as itself.", longest=200
    )


@input_type
class ExecutionRequestCompleteInput:
    """Claimed work that is done."""

    request_id: str = given("The request, which is IN_PROGRESS.", id_of="ExecutionRequest")
    result: JSON | None = given("What came of it, in the executor's own terms; kept with its secrets taken out.")


@input_type
class ExecutionRequestFailInput:
    """Work that cannot be done."""

    request_id: str = given("The request, which is ASSIGNED or IN_PROGRESS.", id_of="ExecutionRequest")
    error: str = given("What went wrong, for the agent that asked.", longest=10_000)
    result: JSON | None = given("What came of it all the same; kept with its secrets taken out.")


@input_type
class ExecutionRequestCancelInput:
    """A request to call off."""

    request_id: str = given("The request, which is PENDING.", id_of="ExecutionRequest")
    reason: str = given("Why, for the record.", longest=2_000)


@input_type
class ExecutionRequestReleaseInput:
    """A request to take back from its executor."""

    request_id: str = given("The request, which is ASSIGNED.", id_of="ExecutionRequest")
    reason: str | None = given("Why, for the record.", longest=2_000)


FIELDS = (
    mutation(
        "execution_request_create",
        requests.create_execution_request,
        ExecutionRequestCreateInput,
        ExecutionRequest,
        shows=(VERDICT,),
    ),
    mutation(
        "execution_request_assign", requests.assign_execution_request, ExecutionRequestAssignInput, ExecutionRequest
    ),
    mutation("execution_request_claim", requests.claim_execution_request, ExecutionRequestClaimInput, ExecutionRequest),
    mutation(
        "execution_request_complete",
        requests.complete_execution_request,
        ExecutionRequestCompleteInput,
        ExecutionRequest,
    ),
    mutation("execution_request_fail", requests.fail_execution_request, ExecutionRequestFailInput, ExecutionRequest),
    mutation(
        "execution_request_cancel", requests.cancel_execution_request, ExecutionRequestCancelInput, ExecutionRequest
    ),
    mutation(
        "execution_request_release", requests.release_execution_request, ExecutionRequestReleaseInput, ExecutionRequest
    ),
)
