"""Commands of evaluation: suites, and runs that a CI system or a person reports (EVL-1 to EVL-5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from app.commands import Done, Refusal, Refused, command
from app.evaluation.rules import case_faults, judge, overall, result_faults, threshold_of
from app.registry.commands import applicable_suites
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import EvalStatus, EvaluationRunStatus, EvaluationTrigger, LifecycleState, OpEventType
from db.models import AgentTemplate, AgentVersion, EvaluationRun, EvaluationSuite

_OPEN: Final = (EvaluationRunStatus.PENDING, EvaluationRunStatus.RUNNING)


@command("write:evaluations", "EVAL_SUITE_CREATED")
async def create_suite(
    uow: UnitOfWork,
    name: str,
    test_cases: Sequence[Mapping[str, Any]],
    template_id: UUID | None = None,
    description: str | None = None,
    tags: list[str] | None = None,
    metadata: JsonObject | None = None,
) -> EvaluationSuite | Refused:
    """EVL-1. Make a suite of test cases, for one template or for all of them."""
    uow.permit()
    if template_id is not None and await uow.get(AgentTemplate, template_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such agent template.", "template_id")
    if refused := _bad_cases(test_cases) or await _taken(uow, name):
        return refused
    suite = uow.add(
        EvaluationSuite(
            name=name,
            template_id=template_id,
            description=description,
            tags=tags,
            test_cases=_stored(test_cases),
            active=True,
            version=1,
            created_by_operator_id=uow.actor_id,
            metadata_=metadata,
        )
    )
    uow.audit("EVAL_SUITE_CREATED", resource="EvaluationSuite", resource_id=suite.id, description=name)
    return suite


@command("write:evaluations", "EVAL_SUITE_UPDATED")
async def update_suite(
    uow: UnitOfWork,
    suite_id: UUID,
    test_cases: Sequence[Mapping[str, Any]] | None = None,
    active: bool | None = None,
    **changes: Any,
) -> EvaluationSuite | Refused:
    """EVL-1. Change a suite; another wording of its cases is another version of it."""
    suite = await uow.lock(EvaluationSuite, suite_id)
    if suite is None:
        return Refused(Refusal.NOT_FOUND, "No such evaluation suite.", "suite_id")
    uow.permit()
    name = changes.get("name")
    if name is not None and name != suite.name and (refused := await _taken(uow, name)):
        return refused
    if test_cases is not None:
        if refused := _bad_cases(test_cases):
            return refused
        suite.test_cases = _stored(test_cases)
        suite.version += 1
    if active is not None:
        suite.active = active
    for field, value in changes.items():
        setattr(suite, "metadata_" if field == "metadata" else field, value)
    uow.audit("EVAL_SUITE_UPDATED", resource="EvaluationSuite", resource_id=suite.id, description=suite.name)
    return suite


@command("execute:evaluations", OpEventType.DECISION_MADE)
async def create_run(
    uow: UnitOfWork, suite_id: UUID, version_id: UUID, triggered_by: EvaluationTrigger = EvaluationTrigger.MANUAL
) -> EvaluationRun | Refused:
    """EVL-2. Ask for a suite to be run on a version; one open run of a suite at a time."""
    version = await uow.lock(AgentVersion, version_id)
    if version is None:
        return Refused(Refusal.NOT_FOUND, "No such agent version.", "version_id")
    suite = await uow.get(EvaluationSuite, suite_id)
    if suite is None:
        return Refused(Refusal.NOT_FOUND, "No such evaluation suite.", "suite_id")
    uow.permit()
    if not suite.active:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The suite is not active.", "suite_id")
    if version.lifecycle_state is LifecycleState.RETIRED:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The version is retired.", "version_id")
    is_open = select(EvaluationRun.id).where(
        EvaluationRun.tenant_id == uow.tenant_id,
        EvaluationRun.version_id == version.id,
        EvaluationRun.suite_id == suite.id,
        EvaluationRun.status.in_(_OPEN),
    )
    if await uow.session.scalar(is_open):
        message = "A run of this suite is open for the version. Finish or cancel it first."
        return Refused(Refusal.CONFLICT, message, "suite_id")
    run = uow.add(
        EvaluationRun(
            suite_id=suite.id,
            version_id=version.id,
            triggered_by=triggered_by,
            status=EvaluationRunStatus.PENDING,
            previous_eval_status=version.eval_status,
            triggered_by_operator_id=uow.actor_id,
        )
    )
    _tell(uow, run, "REQUESTED")
    return run


@command("execute:evaluations", OpEventType.DECISION_MADE)
async def claim_run(uow: UnitOfWork, run_id: UUID) -> EvaluationRun | Refused:
    """EVL-3. Take a pending run; of several who try, one gets it."""
    found = await _locked(uow, run_id)
    if isinstance(found, Refused):
        return found
    run, version = found
    if run.status is not EvaluationRunStatus.PENDING:
        return _wrong_state(run, (EvaluationRunStatus.RUNNING,))
    run.status, run.started_at = EvaluationRunStatus.RUNNING, uow.now
    version.eval_status = EvalStatus.RUNNING
    _tell(uow, run, "CLAIMED")
    return run


@command("execute:evaluations", OpEventType.DECISION_MADE)
async def finish_run(
    uow: UnitOfWork,
    run_id: UUID,
    test_results: Sequence[Mapping[str, Any]] | None = None,
    error: str | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """EVL-3, EVL-4. Report a run's results, or the error that kept it from having any; the version's status follows."""
    found = await _locked(uow, run_id)
    if isinstance(found, Refused):
        return found
    run, version = found
    if run.status is not EvaluationRunStatus.RUNNING:
        return _wrong_state(run, (EvaluationRunStatus.PASSED, EvaluationRunStatus.FAILED, EvaluationRunStatus.ERROR))
    suite = await uow.get(EvaluationSuite, run.suite_id)
    if suite is None or (test_results is None) is (error is None):
        return Refused(
            Refusal.VALIDATION_ERROR, "Report `testResults`, or the `error`: one of the two.", "test_results"
        )
    if test_results is None:
        run.status = EvaluationRunStatus.ERROR
        run.metadata_ = {**(run.metadata_ or {}), **(metadata or {}), "error": error}
    else:
        for path, fault in result_faults(suite.test_cases, test_results):
            return Refused(Refusal.VALIDATION_ERROR, f"`{path}` {fault}.", path)
        verdict = judge(suite.test_cases, test_results, threshold_of(suite.tags, suite.metadata_))
        run.status, run.pass_rate, run.score = verdict.status, verdict.pass_rate, verdict.score
        run.test_results = [_result(one) for one in test_results]
        run.metadata_ = {**(run.metadata_ or {}), **(metadata or {})} or None
    run.completed_at = uow.now
    await uow.session.flush()
    version.eval_status = await _status(uow, version)
    _tell(uow, run, run.status.value)
    failed = run.status is EvaluationRunStatus.ERROR
    uow.notify(
        "EVAL_FAILED" if failed else "EVAL_COMPLETED",
        run,
        {"versionId": str(version.id), "status": run.status.value, "passRate": run.pass_rate, "suite": suite.name},
    )
    return Done(run)


@command("cancel:evaluations", OpEventType.DECISION_MADE)
async def cancel_run(uow: UnitOfWork, run_id: UUID, reason: str | None = None) -> EvaluationRun | Refused:
    """EVL-3, EVL-9. Cancel an open run; the version has the status back that it had before."""
    found = await _locked(uow, run_id)
    if isinstance(found, Refused):
        return found
    run, version = found
    if run.status not in _OPEN:
        return _wrong_state(run, ())
    run.status, run.completed_at = EvaluationRunStatus.CANCELED, uow.now
    if reason:
        run.metadata_ = {**(run.metadata_ or {}), "cancelReason": reason}
    others = await uow.session.scalar(
        select(func.count())
        .select_from(EvaluationRun)
        .where(
            EvaluationRun.tenant_id == uow.tenant_id,
            EvaluationRun.version_id == version.id,
            EvaluationRun.id != run.id,
            EvaluationRun.status.in_(_OPEN),
        )
    )
    if not others:
        version.eval_status = run.previous_eval_status or EvalStatus.NOT_RUN
    _tell(uow, run, EvaluationRunStatus.CANCELED.value)
    return run


async def _locked(uow: UnitOfWork, run_id: UUID) -> tuple[EvaluationRun, AgentVersion] | Refused:
    """The run and its version, locked in the order that everybody keeps: version first."""
    seen = await uow.get(EvaluationRun, run_id)
    version = await uow.lock(AgentVersion, None if seen is None else seen.version_id)
    run = await uow.lock(EvaluationRun, run_id)
    if run is None or version is None:
        return Refused(Refusal.NOT_FOUND, "No such evaluation run.", "run_id")
    uow.permit()
    return run, version


async def _status(uow: UnitOfWork, version: AgentVersion) -> EvalStatus:
    suites = await applicable_suites(uow, version)
    latest = (
        select(EvaluationRun.suite_id, EvaluationRun.status)
        .where(
            EvaluationRun.tenant_id == uow.tenant_id,
            EvaluationRun.version_id == version.id,
            EvaluationRun.status != EvaluationRunStatus.CANCELED,
        )
        .order_by(EvaluationRun.id)
    )
    by_suite = {row.suite_id: row.status for row in await uow.session.execute(latest)}
    return overall(by_suite.get(suite.id) for suite in suites) if suites else overall(by_suite.values())


def _tell(uow: UnitOfWork, run: EvaluationRun, status: str) -> None:
    uow.emit(
        OpEventType.DECISION_MADE,
        version_id=run.version_id,
        payload={"stage": "EVALUATION", "status": status, "evaluationRunId": str(run.id)},
    )


def _wrong_state(run: EvaluationRun, wanted: tuple[EvaluationRunStatus, ...]) -> Refused:
    allowed = tuple(status.value for status in wanted)
    return Refused(Refusal.INVALID_STATE_TRANSITION, f"The run is {run.status.value}.", "run_id", allowed)


def _bad_cases(cases: Sequence[Mapping[str, Any]]) -> Refused | None:
    for path, fault in case_faults(cases):
        return Refused(Refusal.VALIDATION_ERROR, f"`{path}` {fault}.", path)
    return None


async def _taken(uow: UnitOfWork, name: str) -> Refused | None:
    if not name.strip():
        return Refused(Refusal.VALIDATION_ERROR, "A suite needs a name.", "name")
    same = select(EvaluationSuite.id).where(EvaluationSuite.tenant_id == uow.tenant_id, EvaluationSuite.name == name)
    if await uow.session.scalar(same):
        return Refused(Refusal.DUPLICATE_RESOURCE, f"A suite named '{name}' exists.", "name")
    return None


def _stored(cases: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    names = {"id": "id", "name": "name", "input": "input", "expected_output": "expectedOutput"}
    names |= {"scoring_criteria": "scoringCriteria", "weight": "weight"}
    return [{names[key]: value for key, value in case.items()} for case in cases]


def _result(result: Mapping[str, Any]) -> JsonObject:
    names = {"test_case_id": "testCaseId", "passed": "passed", "score": "score", "output": "output"}
    names |= {"error": "error", "duration_ms": "durationMs"}
    return {names[key]: value for key, value in result.items()}
