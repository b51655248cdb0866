"""Mutations of evaluation."""

from __future__ import annotations

from app.evaluation import commands
from app.evaluation.types import EvaluationRun, EvaluationSuite
from app.graph.inputs import given, input_type
from app.graph.mutation import mutation
from app.graph.scalars import JSON
from db.enums import EvaluationTrigger


@input_type
class EvaluationTestCaseInput:
    """One thing that a version is asked."""

    id: str = given("Name of the case, unique in the suite; results refer to it.", longest=100)
    name: str = given("Display name.", longest=200)
    input: JSON = given("What the version is given.")
    expected_output: JSON | None = given("What it should answer.")
    scoring_criteria: JSON | None = given("How the answer is scored (EVL-5).")
    weight: float | None = given("How much the case counts; 1 if nothing is said.")


@input_type
class EvaluationSuiteCreateInput:
    """A new suite."""

    name: str = given("Display name, unique in the tenant.", longest=100)
    test_cases: list[EvaluationTestCaseInput] = given("The cases, at least one.")
    template_id: str | None = given(
        "The template whose versions it judges; all if none is named.", id_of="AgentTemplate"
    )
    description: str | None = given("What the suite is meant to show.", longest=500)
    tags: list[str] | None = given("Labels; a suite tagged `safety` must pass in full.", longest=50, most=50)
    metadata: JSON | None = given("Open notes; `passThreshold` from 0 to 1 takes the place of 0.8.")


@input_type
class EvaluationSuiteUpdateInput:
    """What changes on a suite; what is left out stays."""

    suite_id: str = given("The suite.", id_of="EvaluationSuite")
    name: str | None = given("Display name, unique in the tenant.", longest=100)
    test_cases: list[EvaluationTestCaseInput] | None = given("The cases, all of them.")
    active: bool | None = given("Whether new runs may use it and the gate asks for it.")
    description: str | None = given("What the suite is meant to show.", longest=500)
    tags: list[str] | None = given("Labels, all of them.", longest=50, most=50)
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class EvaluationRunCreateInput:
    """Which suite to run on which version."""

    suite_id: str = given("The suite.", id_of="EvaluationSuite")
    version_id: str = given("The version.", id_of="AgentVersion")
    triggered_by: EvaluationTrigger = given("What asks for it.", default=EvaluationTrigger.MANUAL)


@input_type
class EvaluationRunClaimInput:
    """Which pending run to take."""

    run_id: str = given("The run.", id_of="EvaluationRun")


@input_type
class EvaluationTestResultInput:
    """How a version did on one case."""

    test_case_id: str = given("`id` of the case in the suite.", longest=100)
    passed: bool = given("Whether the answer is good enough.")
    score: float | None = given("Score, 0 to 1.")
    output: JSON | None = given("What the version answered.")
    error: str | None = given("Why the case could not be scored.")
    duration_ms: int | None = given("Length in milliseconds.")


@input_type
class EvaluationRunFinishInput:
    """What a run came to: results of every case, or the error that kept it from having any."""

    run_id: str = given("The run.", id_of="EvaluationRun")
    test_results: list[EvaluationTestResultInput] | None = given("One result for each case of the suite.")
    error: str | None = given("Why there are no results.")
    metadata: JSON | None = given("Open notes.")


@input_type
class EvaluationRunCancelInput:
    """Which open run to cancel."""

    run_id: str = given("The run.", id_of="EvaluationRun")
    reason: str | None = given("Why, for the run's notes.", longest=2_000)


FIELDS = (
    mutation("evaluation_suite_create", commands.create_suite, EvaluationSuiteCreateInput, EvaluationSuite),
    mutation("evaluation_suite_update", commands.update_suite, EvaluationSuiteUpdateInput, EvaluationSuite),
    mutation("evaluation_run_create", commands.create_run, EvaluationRunCreateInput, EvaluationRun),
    mutation("evaluation_run_claim", commands.claim_run, EvaluationRunClaimInput, EvaluationRun),
    mutation("evaluation_run_finish", commands.finish_run, EvaluationRunFinishInput, EvaluationRun),
    mutation("evaluation_run_cancel", commands.cancel_run, EvaluationRunCancelInput, EvaluationRun),
)
