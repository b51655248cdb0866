"""Root fields of evaluation."""

from app.evaluation.types import CustomScoringFunction, EvaluationMetric, EvaluationRun, EvaluationSuite
from app.graph.roots import row, rows

FIELDS = (
    rows(EvaluationSuite, "Sets of test cases, with those that are switched off."),
    row(EvaluationSuite, "One set of test cases."),
    rows(EvaluationRun, "Verdicts on versions, and the runs that are still to give one."),
    row(EvaluationRun, "One run with the result of each case."),
    rows(EvaluationMetric, "Numbers of evaluations over time, for trends and comparisons (EVL-11)."),
    row(EvaluationMetric, "One number."),
    rows(CustomScoringFunction, "The tenant's own scoring rules."),
    row(CustomScoringFunction, "One scoring rule."),
)
