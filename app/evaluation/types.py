"""Types of evaluation."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.graph.entity import Connection, Entity, belongs_to, entity, has_many, json_type, key
from app.graph.scalars import JSON
from db import models
from db.enums import EvalStatus, EvaluationRunStatus, EvaluationTrigger, ScoringFunctionType

if TYPE_CHECKING:
    from app.identity.types import Operator
    from app.registry.types import AgentTemplate, AgentVersion


@json_type
class EvaluationTestCase:
    """One thing that a version is asked, and how its answer is scored."""

    id: str = key("Name of the case, unique in its suite; results refer to it.")
    name: str = key("Display name.")
    input: JSON = key("What the version is given.")
    expected_output: JSON | None = key("What it should answer.")
    scoring_criteria: JSON | None = key("How the answer is scored: kind of comparison, threshold and others (EVL-5).")
    weight: float | None = key("How much the case counts; absent means 1.")


@entity(models.EvaluationSuite, prefix="evs")
class EvaluationSuite(Entity):
    """Versioned set of test cases that agent versions are judged by."""

    template: AgentTemplate | None = belongs_to("template_id")
    name: str
    description: str | None
    tags: list[str] | None
    test_cases: list[EvaluationTestCase]
    active: bool
    version: int
    created_by: Operator | None = belongs_to("created_by_operator_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    runs: Connection[EvaluationRun] = has_many(models.EvaluationRun.suite_id, "Runs of the suite.")
    metrics: Connection[EvaluationMetric] = has_many(models.EvaluationMetric.suite_id, "Numbers that its runs yielded.")


@json_type
class EvaluationTestResult:
    """How a version did on one case."""

    test_case_id: str = key("`id` of the case in the suite.")
    passed: bool = key("Whether the score reached what the case asks for.")
    score: float | None = key("Score, 0 to 1.")
    output: JSON | None = key("What the version answered.")
    error: str | None = key("Why the case could not be scored.")
    duration_ms: int | None = key("Length in milliseconds.")


@entity(models.EvaluationRun, prefix="evr")
class EvaluationRun(Entity):
    """One execution of a suite against a version, with the result of each case and a verdict."""

    suite: EvaluationSuite = belongs_to("suite_id")
    version: AgentVersion = belongs_to("version_id")
    triggered_by: EvaluationTrigger | None
    status: EvaluationRunStatus
    score: float | None
    test_results: list[EvaluationTestResult] | None
    started_at: datetime | None
    completed_at: datetime | None
    pass_rate: float | None
    previous_eval_status: EvalStatus | None
    triggered_by_operator: Operator | None = belongs_to("triggered_by_operator_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    metrics: Connection[EvaluationMetric] = has_many(
        models.EvaluationMetric.evaluation_run_id, "Numbers that the run yielded (EVL-8)."
    )


@entity(models.EvaluationMetric, prefix="evm")
class EvaluationMetric(Entity):
    """One number that an evaluation run yielded, as a point of a time series."""

    evaluation_run: EvaluationRun = belongs_to("evaluation_run_id")
    version: AgentVersion = belongs_to("version_id")
    metric_name: str
    metric_value: float
    unit: str | None
    timestamp: datetime
    suite: EvaluationSuite | None = belongs_to("suite_id")
    period: str | None
    metadata: JSON | None
    created_at: datetime


@entity(models.CustomScoringFunction, prefix="scf")
class CustomScoringFunction(Entity):
    """Scoring rule of the tenant's own, for the cases of its suites."""

    name: str
    description: str | None
    function_type: ScoringFunctionType
    function_body: str
    input_schema: JSON | None
    output_schema: JSON | None
    active: bool
    created_by: Operator | None = belongs_to("created_by_operator_id")
    version: int
    examples: list[JSON] | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
