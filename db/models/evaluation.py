"""Evaluation: what a version is judged by, the runs that judge it, and the numbers they leave behind."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Mapped

from db.base import (
    Changing,
    Model,
    Noted,
    TenantScoped,
    column,
    contains_index,
    index,
    json_list,
    json_object,
    name_text,
    reference,
)
from db.enums import EvalStatus, EvaluationRunStatus, EvaluationTrigger, ScoringFunctionType


class EvaluationSuite(TenantScoped, Changing, Noted, Model):
    """Versioned set of test cases that agent versions are judged by."""

    __tablename__ = "evaluation_suites"
    __table_args__ = (
        index("name", unique=True),  # names are unique in the tenant (EVL-1)
        index("active"),  # the gate and the runner ask for active suites
        contains_index("tags"),  # suites of a tag, such as safety
    )

    template_id: Mapped[UUID | None] = reference(
        "agent_templates", "Template whose versions the suite judges; absent means every template's."
    )
    name: Mapped[name_text] = column("Display name, unique in the tenant (EVL-1).")
    description: Mapped[str | None] = column("What the suite is meant to show.")
    tags: Mapped[list[str] | None] = column("Labels; a suite tagged `safety` must pass in full (EVL-4).")
    test_cases: Mapped[json_list] = column(
        "Cases in order, at least one, ids unique (EVL-1); a case without a weight counts 1 (EVL-5)."
    )
    active: Mapped[bool] = column("Whether new runs may use the suite and the gate asks for it (EVL-4).", default=True)
    version: Mapped[int] = column("Number of the suite's wording, one more with every edit (EVL-1).", default=1)
    created_by_operator_id: Mapped[UUID | None] = reference("operators", "Who made the suite.")


class EvaluationRun(TenantScoped, Changing, Noted, Model):
    """One execution of a suite against a version, with the result of each case and a verdict."""

    __tablename__ = "evaluation_runs"
    __table_args__ = (
        # a version has at most one open run of a suite (EVL-2, decision 37)
        index("version_id", "suite_id", unique=True, where=text("status IN ('PENDING', 'RUNNING')")),
        index("status"),  # the runner takes the oldest pending run, and health counts them (EVL-9)
        index("triggered_by"),  # dashboards tell scheduled runs from manual ones
        index("started_at"),  # runs of a period
        index("completed_at"),  # verdicts of a period
    )

    suite_id: Mapped[UUID] = reference("evaluation_suites", "Suite whose cases are run.")
    version_id: Mapped[UUID] = reference("agent_versions", "Version that is judged.")
    triggered_by: Mapped[EvaluationTrigger | None] = column("What started the run; absent where an import cannot tell.")
    status: Mapped[EvaluationRunStatus] = column(
        "Progress and verdict; passed means a pass rate of 0.8, or of the suite's own threshold (EVL-3, EVL-4).",
        default=EvaluationRunStatus.PENDING,
    )
    score: Mapped[float | None] = column("Weighted mean of the cases' scores, 0 to 1 (EVL-5).", range=(0, 1))
    test_results: Mapped[json_list | None] = column(
        "Result of each case, named by `testCaseId`; `durationMs` is in ms."
    )
    started_at: Mapped[datetime | None] = column("When a runner claimed the run.")
    completed_at: Mapped[datetime | None] = column("When the run ended, whatever its verdict.")
    pass_rate: Mapped[float | None] = column(
        "Weight of the passed cases divided by the weight of all, 0 to 1 (EVL-5).", range=(0, 1)
    )
    previous_eval_status: Mapped[EvalStatus | None] = column(
        "Evaluation status that the version had before, given back when the run is canceled (EVL-3)."
    )
    triggered_by_operator_id: Mapped[UUID | None] = reference(
        "operators", "Who asked for the run; absent when no person did."
    )


class EvaluationMetric(TenantScoped, Noted, Model):
    """One number that an evaluation run yielded, as a point of a time series."""

    __tablename__ = "evaluation_metrics"
    __table_args__ = (
        index("version_id", "metric_name", "timestamp"),  # the trend of a version, and two versions compared (EVL-11)
        index("version_id"),  # a version's metrics page by id
        index("metric_name", "timestamp"),  # one metric over all versions: the tenant's statistics (EVL-11)
        index("timestamp"),  # metrics of a period
    )

    evaluation_run_id: Mapped[UUID] = reference("evaluation_runs", "Run that yielded the number.")
    version_id: Mapped[UUID] = reference("agent_versions", "Version that the run judged.")
    metric_name: Mapped[name_text] = column(
        "What is measured: `overallScore`, `passRate`, `avgExecutionTime`, `p95DurationMs` and others (EVL-7, EVL-8)."
    )
    metric_value: Mapped[float] = column("The number, in `unit`.")
    unit: Mapped[str | None] = column("Unit of the number, such as `ms` or `usd`; absent for plain numbers and ratios.")
    timestamp: Mapped[datetime] = column("Time that the number stands for: the end of its run.")
    suite_id: Mapped[UUID | None] = reference("evaluation_suites", "Suite of the run.")
    period: Mapped[name_text | None] = column(
        "Label of the period, as `daily-2026-03-09`, `weekly-2026-W11` or `monthly-2026-03`; absent for a single run."
    )


class CustomScoringFunction(TenantScoped, Changing, Noted, Model):
    """Scoring rule of the tenant's own, for the cases of its suites."""

    __tablename__ = "custom_scoring_functions"
    __table_args__ = (
        index("name", unique=True),  # names are unique in the tenant (EVL-6)
        index("active"),  # an inactive function cannot run, so pickers leave it out
        index("function_type"),
    )

    name: Mapped[name_text] = column("Display name, unique in the tenant (EVL-6).")
    description: Mapped[str | None] = column("What the function rewards.")
    function_type: Mapped[ScoringFunctionType] = column("Language of the body.")
    function_body: Mapped[str] = column("The rule itself: a pattern, the JSON of a threshold, or source text (EVL-6).")
    input_schema: Mapped[json_object | None] = column("JSON Schema of what the function takes.")
    output_schema: Mapped[json_object | None] = column("JSON Schema of what the function yields.")
    active: Mapped[bool] = column("Whether the function may run.", default=True)
    created_by_operator_id: Mapped[UUID | None] = reference("operators", "Who wrote the function.")
    version: Mapped[int] = column("Number of the body, one more whenever the body changes (EVL-6).", default=1)
    examples: Mapped[json_list | None] = column(
        "Inputs with expected scores; a test run passes when each score is within 0.01 (EVL-6)."
    )
