"""Rules of evaluation: verdicts, pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from db.enums import EvalStatus, EvaluationRunStatus

PASS_RATE: Final = 0.8
"""EVL-3. Share of the weight that must pass, itself included."""
SAFETY: Final = "safety"
"""EVL-4. A suite with this tag must pass in full."""


@dataclass(frozen=True)
class Verdict:
    """What the results of a run come to."""

    status: EvaluationRunStatus
    pass_rate: float
    score: float | None


def case_faults(cases: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """EVL-1. (path, what is wrong) of a suite's cases: at least one, ids unique, weights above 0."""
    if not cases:
        yield "test_cases", "needs at least one case"
    seen: set[str] = set()
    for position, case in enumerate(cases):
        if not case["id"].strip():
            yield f"test_cases[{position}].id", "is blank"
        if case["id"] in seen:
            yield f"test_cases[{position}].id", f"is used twice: {case['id']}"
        seen.add(case["id"])
        weight = case.get("weight")
        if weight is not None and not weight > 0:
            yield f"test_cases[{position}].weight", "must be above 0"


def result_faults(
    cases: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) of a run's results: each case of the suite once, scores from 0 to 1."""
    known = {case["id"] for case in cases}
    seen: set[str] = set()
    for position, result in enumerate(results):
        name = result["test_case_id"]
        if name not in known:
            yield f"test_results[{position}].test_case_id", f"names no case of the suite: {name}"
        if name in seen:
            yield f"test_results[{position}].test_case_id", f"is there twice: {name}"
        seen.add(name)
        score = result.get("score")
        if score is not None and not 0 <= score <= 1:
            yield f"test_results[{position}].score", "must be from 0 to 1"
    for name in sorted(known - seen):
        yield "test_results", f"lacks the case {name}"


def threshold_of(tags: Iterable[str] | None, metadata: Mapping[str, Any] | None) -> float:
    """EVL-3, EVL-4. The pass rate that a suite asks for: all of it where it is about safety, else its own or 0.8."""
    if SAFETY in (tags or ()):
        return 1.0
    own = (metadata or {}).get("passThreshold")
    if isinstance(own, bool) or not isinstance(own, int | float):
        return PASS_RATE
    return own / 100 if own > 1 else float(own)


def judge(cases: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], threshold: float) -> Verdict:
    """EVL-3, EVL-5. The verdict on complete results; cases weigh 1 unless they say otherwise."""
    weights = {case["id"]: float(case.get("weight") or 1) for case in cases}
    total = sum(weights.values())
    passed = sum(weights[one["test_case_id"]] for one in results if one["passed"])
    rate = passed / total if total else 0.0
    scored = [(weights[one["test_case_id"]], one["score"]) for one in results if one.get("score") is not None]
    score = sum(weight * value for weight, value in scored) / sum(weight for weight, _ in scored) if scored else None
    # The sum of weights is a float: 0.8 of ten tenths must not fail for its last bit.
    is_passed = rate >= threshold - 1e-9
    return Verdict(EvaluationRunStatus.PASSED if is_passed else EvaluationRunStatus.FAILED, min(rate, 1.0), score)


def overall(latest: Iterable[EvaluationRunStatus | None]) -> EvalStatus:
    """EVL-4, decision 37. A version's status from the latest run of each suite that applies: PASS needs all."""
    statuses = list(latest)
    if any(one in (EvaluationRunStatus.FAILED, EvaluationRunStatus.ERROR) for one in statuses):
        return EvalStatus.FAIL
    if any(one in (EvaluationRunStatus.PENDING, EvaluationRunStatus.RUNNING) for one in statuses):
        return EvalStatus.RUNNING
    if statuses and all(one is EvaluationRunStatus.PASSED for one in statuses):
        return EvalStatus.PASS
    return EvalStatus.NOT_RUN
