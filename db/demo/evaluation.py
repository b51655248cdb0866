"""Suites, the runs that judged each version, the numbers they left, and the tenants' own scoring functions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from db.demo.people import founder
from db.demo.stage import Stage
from db.enums import EvalStatus, EvaluationRunStatus, EvaluationTrigger, OpEventType, ScoringFunctionType
from db.models import (
    AgentVersion,
    CustomScoringFunction,
    EvaluationMetric,
    EvaluationRun,
    EvaluationSuite,
    NotificationEvent,
)

_TELEMETRY: Final = timedelta(days=28)
_FUNCTIONS: Final = (
    (
        "names a source",
        "An answer has to say where its figures come from.",
        ScoringFunctionType.REGEX,
        r"(?i)source[s]?:",
    ),
    (
        "cheap enough",
        "A run may cost a quarter of a dollar.",
        ScoringFunctionType.THRESHOLD,
        '{"path": "avgCostUsd", "op": "<=", "value": 0.25}',
    ),
    (
        "reading ease",
        "Short sentences score higher.",
        ScoringFunctionType.JAVASCRIPT,
        "export default (output) => Math.min(1, 14 / (output.split(' ').length / output.split('.').length));",
    ),
)


def build_suites(stage: Stage) -> None:
    """A suite a template, one that has had its day, and three scoring functions."""
    for one in stage.company["templates"]:
        words = stage.kinds[one["kind"]]["suite"]
        template = stage.templates[one["key"]]
        at = stage.ago(one["versions"][0]["days"] + 0.5)
        threshold = words.get("threshold")
        stage.add(
            EvaluationSuite(
                id=stage.id(at),
                template_id=template.id,
                name=f"{template.name}: {words['name']}",
                description=words["description"],
                tags=words["tags"],
                test_cases=[_case(case) for case in words["cases"]],
                version=2,
                created_by_operator_id=stage.people[one["owners"][0]].id,
                metadata_={"passThreshold": threshold} if threshold else None,
                updated_at=at + timedelta(days=3),
            )
        )
    old = stage.ago(90)
    stage.add(
        EvaluationSuite(
            id=stage.id(old),
            name="politeness (2024)",
            description="Replaced by the house style of each template.",
            tags=["retired"],
            test_cases=[{"id": "greets", "name": "Greets", "input": {"ticket": "Hello"}, "expectedOutput": "hello"}],
            active=False,
            created_by_operator_id=founder(stage).id,
            updated_at=stage.ago(70),
        )
    )
    for number, (name, description, kind, body) in enumerate(_FUNCTIONS):
        at = stage.ago(60 - number)
        stage.add(
            CustomScoringFunction(
                id=stage.id(at),
                name=name,
                description=description,
                function_type=kind,
                function_body=body,
                input_schema={"type": "string"},
                output_schema={"type": "number", "minimum": 0, "maximum": 1},
                active=kind is not ScoringFunctionType.JAVASCRIPT,
                created_by_operator_id=founder(stage).id,
                examples=[{"input": "Sources: our own orders.", "expectedScore": 1}],
            )
        )


def evaluate(stage: Stage, version: AgentVersion, kind: str, at: datetime, status: EvaluationRunStatus) -> datetime:
    """A run of the template's suite against the version; gives back when it ended, or began where it still runs."""
    suite = next(one for one in stage.all(EvaluationSuite) if one.template_id == version.template_id)
    run = EvaluationRun(
        id=stage.id(at),
        suite_id=suite.id,
        version_id=version.id,
        triggered_by=EvaluationTrigger.STATE_TRANSITION,
        status=status,
        started_at=at + timedelta(seconds=20),
        previous_eval_status=EvalStatus.NOT_RUN,
        triggered_by_operator_id=version.created_by_operator_id,
        updated_at=at + timedelta(seconds=20),
    )
    stage.add(run)
    if status is EvaluationRunStatus.RUNNING:
        return at
    failed = status is EvaluationRunStatus.FAILED
    results = [_result(stage, case, failed and place < 2) for place, case in enumerate(suite.test_cases)]
    weights = [case["weight"] for case in suite.test_cases]
    run.test_results = results
    run.pass_rate = _mean([float(one["passed"]) for one in results], weights)
    run.score = _mean([one["score"] for one in results], weights)
    ended = at + timedelta(seconds=20, milliseconds=sum(one["durationMs"] for one in results))
    run.completed_at = run.updated_at = ended
    _measure(stage, run, results, ended)
    if ended > stage.now - _TELEMETRY:
        stage.event(
            OpEventType.DECISION_MADE,
            ended,
            payload={"stage": "EVALUATION", "evaluationRunId": str(run.id), "verdict": status.value},
        )
        stage.add(
            NotificationEvent(
                id=stage.id(ended),
                event_type="EVAL_COMPLETED",
                source_entity="EvaluationRun",
                source_id=run.id,
                payload={"passRate": run.pass_rate, "suite": suite.name},
                processed_at=ended + timedelta(seconds=3),
                timestamp=ended,
                attempts=1,
            )
        )
    return ended


def _case(words: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": words["id"],
        "name": words["name"],
        "input": words["input"],
        "expectedOutput": words["expected"],
        "scoringCriteria": {"type": "contains"},
        "weight": words["weight"],
    }


def _result(stage: Stage, case: dict[str, Any], fails: bool) -> dict[str, Any]:
    """`contains` scores 1 or 0 (EVL-5), and the answer shows why."""
    answer = "I am not sure." if fails else f"Checked. {case['expectedOutput']}"
    return {
        "testCaseId": case["id"],
        "passed": not fails,
        "score": 0.0 if fails else 1.0,
        "output": answer,
        "durationMs": stage.between(1_800, 9_400),
    }


def _mean(values: list[float], weights: list[float]) -> float:
    return round(sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights), 4)


def _measure(stage: Stage, run: EvaluationRun, results: list[dict[str, Any]], at: datetime) -> None:
    passed = sum(one["passed"] for one in results)
    numbers = {
        "overallScore": (run.score or 0.0, None),
        "passRate": (run.pass_rate or 0.0, None),
        "avgExecutionTime": (sum(one["durationMs"] for one in results) / len(results), "ms"),
        "testCaseCount": (len(results), None),
        "passedCount": (passed, None),
        "failedCount": (len(results) - passed, None),
    }
    for name, (value, unit) in numbers.items():
        stage.add(
            EvaluationMetric(
                id=stage.id(at),
                evaluation_run_id=run.id,
                version_id=run.version_id,
                suite_id=run.suite_id,
                metric_name=name,
                metric_value=float(value),
                unit=unit,
                timestamp=at,
            )
        )
