"""`taskTransition`: every row of TSK-1 for every actor, and what each step needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.commands import Done, Refusal, Refused
from app.governance.policy import ActionType
from app.governance.rules import ApprovalChoice
from app.idempotency import Key
from app.running import run
from db import models
from db.enums import ActorType, ApprovalDecision, InstanceState, OperatorMode, TaskStatus, TaskType
from db.ids import new_id
from tests.app.execution.desk import CHECKED, DELIVERABLE, PLAN, Desk, desk, registry
from tests.app.execution.test_machines import STEPS
from tests.asking import recorded

__all__ = ["desk", "registry"]

T = TaskStatus
HUMAN, AGENT, SYSTEM = ActorType.HUMAN, ActorType.AGENT, ActorType.SYSTEM


async def ready_for(desk: Desk, agent: models.AgentInstance, state: T, to: T) -> models.Task:
    """A task in a state, with everything that a step may need."""
    task = await desk.task(
        state,
        agent,
        work_plan=PLAN,
        deliverable=DELIVERABLE,
        review_checklist=CHECKED,
        metadata_={"preBlockStatus": to.value} if state is T.BLOCKED else None,
    )
    await desk.approval(task, "COMPLETE_TASK", ApprovalDecision.APPROVED)
    await desk.approval(task, "TOOL_EXECUTION", ApprovalDecision.DENIED)
    return task


@pytest.mark.parametrize("actor", list(ActorType))
@pytest.mark.parametrize("state", list(TaskStatus))
async def test_tsk_1_the_command_takes_the_steps_of_the_table_and_no_other(
    desk: Desk, state: TaskStatus, actor: ActorType
) -> None:
    """Where every guard is met, who may take a step takes it, and who may not changes nothing."""
    agent = await desk.agent()
    for to in TaskStatus:
        task = await ready_for(desk, agent, state, to)
        outcome = await desk.move(task, to, desk.actor(actor, agent), reason="so it is")
        now = await desk.get(models.Task, task.id)
        if actor in STEPS.get((state, to), frozenset()):
            assert isinstance(outcome, Done), (state, to, outcome)
            assert now.status is to
        else:
            assert isinstance(outcome, Refused), (state, to)
            expected = {target.value for (start, target), who in STEPS.items() if start is state and actor in who}
            assert (outcome.code, set(outcome.allowed or ())) == (Refusal.INVALID_STATE_TRANSITION, expected)
            assert (now.status, now.updated_at) == (state, task.updated_at)


# --- Guards, one by one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "is_one"),
    [
        (None, False),
        ({"bullets": ["a", "b"]}, False),
        ({"bullets": ["a", "b", " "]}, False),
        ({"bullets": list("abcdefg")}, False),
        ({"bullets": ["a", "b", 3]}, False),
        ({"bullets": list("abc")}, True),
        ({"bullets": list("abcdef")}, True),
    ],
)
async def test_tsk_1_work_begins_with_a_plan_of_three_to_six_bullets(desk: Desk, plan: Any, is_one: bool) -> None:
    """As it is kept with the task; blank bullets are none."""
    task = await desk.task(T.ASSIGNED, await desk.agent(), work_plan=plan)
    if is_one:
        assert (await desk.moved(task, T.IN_PROGRESS)).started_at is not None
    else:
        refused = await desk.refused(task, T.IN_PROGRESS)
        assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "work_plan")


async def test_tsk_1_the_plan_may_come_with_the_step(desk: Desk) -> None:
    """A sound one is kept; one that is none is refused before anything is looked at."""
    task = await desk.task(T.ASSIGNED, await desk.agent())
    refused = await desk.refused(task, T.IN_PROGRESS, work_plan={"bullets": ["one"]})
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "work_plan")
    assert (await desk.moved(task, T.IN_PROGRESS, work_plan=PLAN)).work_plan == PLAN


@pytest.mark.parametrize("state", [T.ASSIGNED, T.REVIEW, T.BLOCKED, T.NEEDS_APPROVAL])
async def test_tsk_1_nothing_is_in_progress_without_an_assignee(desk: Desk, state: TaskStatus) -> None:
    """Whatever the state before (section 0b)."""
    task = await desk.task(state, work_plan=PLAN)
    refused = await desk.refused(task, T.IN_PROGRESS, reason="go")
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "task_id")


@pytest.mark.parametrize("state", [T.INBOX, T.FAILED, T.BLOCKED])
async def test_tsk_1_nothing_is_assigned_without_an_assignee(desk: Desk, state: TaskStatus) -> None:
    """P; T misses it."""
    task = await desk.task(state)
    assert (await desk.refused(task, T.ASSIGNED)).code is Refusal.DEPENDENCY_NOT_MET


@pytest.mark.parametrize("state", [T.BLOCKED, T.NEEDS_APPROVAL])
async def test_tsk_1_a_task_that_never_began_needs_its_plan_from_wherever_it_comes(
    desk: Desk, state: TaskStatus
) -> None:
    """Going round by BLOCKED is no way past the plan; what has begun goes on without."""
    agent = await desk.agent()
    fresh = await desk.task(state, agent)
    assert (await desk.refused(fresh, T.IN_PROGRESS)).field == "work_plan"
    begun = await desk.task(state, agent, started_at=fresh.created_at)
    await desk.moved(begun, T.IN_PROGRESS)


@pytest.mark.parametrize(
    ("deliverable", "checklist", "blamed"),
    [
        (None, CHECKED, "deliverable"),
        ({"summary": " "}, CHECKED, "deliverable"),
        ({"artifactIds": []}, CHECKED, "deliverable"),
        (DELIVERABLE, None, "review_checklist"),
        (DELIVERABLE, {"type": "x", "items": []}, "review_checklist"),
        (DELIVERABLE, {"type": "x", "items": [{"label": "tests", "checked": False}]}, "review_checklist"),
        (DELIVERABLE, {"type": "x", "items": [{"label": "t", "checked": False, "note": " "}]}, "review_checklist"),
        ({"content": "text"}, CHECKED, None),
        ({"artifactIds": ["a.pdf"]}, CHECKED, None),
    ],
)
async def test_tsk_1_review_needs_a_deliverable_and_a_checked_list(
    desk: Desk, deliverable: Any, checklist: Any, blamed: str | None
) -> None:
    """A summary, content or artifacts; every point ticked or with a note."""
    task = await desk.task(T.IN_PROGRESS, await desk.agent(), deliverable=deliverable, review_checklist=checklist)
    if blamed is None:
        assert (await desk.moved(task, T.REVIEW)).submitted_at is not None
        return
    assert (await desk.refused(task, T.REVIEW)).field == blamed


async def test_dag_4_a_parent_is_submitted_once_its_parts_are_done(desk: Desk) -> None:
    """Dropped parts are not waited for, and nothing moves the parent by itself."""
    work = {"deliverable": DELIVERABLE, "review_checklist": CHECKED}
    parent = await desk.task(T.IN_PROGRESS, await desk.agent(), **work)
    part = await desk.task(T.REVIEW, parent_task_id=parent.id)
    await desk.task(T.CANCELED, parent_task_id=parent.id)
    assert (await desk.refused(parent, T.REVIEW)).code is Refusal.DEPENDENCY_NOT_MET
    await desk.moved(part, T.DONE)
    assert (await desk.get(models.Task, parent.id)).status is T.IN_PROGRESS
    await desk.moved(parent, T.REVIEW)


@pytest.mark.parametrize(
    ("state", "to", "field", "key"),
    [
        (T.INBOX, T.BLOCKED, "blocked_reason", "blockedReason"),
        (T.IN_PROGRESS, T.BLOCKED, "blocked_reason", "blockedReason"),
        (T.NEEDS_APPROVAL, T.BLOCKED, "blocked_reason", "blockedReason"),
        (T.REVIEW, T.IN_PROGRESS, "feedback", "feedback"),
    ],
)
@pytest.mark.parametrize("given", ["own", "reason", "neither"])
async def test_tsk_1_a_step_that_needs_a_text_has_it(
    desk: Desk, state: TaskStatus, to: TaskStatus, field: str, key: str, given: str
) -> None:
    """Its own, or the reason in its place; blank is none."""
    task = await desk.task(state, await desk.agent())
    texts: dict[str, Any] = {"own": {field: "the roof"}, "reason": {"reason": "the roof"}, "neither": {field: " "}}[
        given
    ]
    if given == "neither":
        refused = await desk.refused(task, to, **texts)
        assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, field)
        return
    moved = await desk.moved(task, to, **texts)
    (record,) = await desk.registry.journal()
    assert record["afterState"] == {"status": to.value, key: "the roof"}
    assert record["reason"] == "the roof"
    if to is T.BLOCKED:
        assert moved.blocked_reason == "the roof"


async def test_tsk_1_a_failure_says_what_went_wrong(desk: Desk) -> None:
    """An agent's, from IN_PROGRESS; the column is the record's."""
    agent = await desk.agent()
    task = await desk.task(T.IN_PROGRESS, agent)
    refused = await desk.refused(task, T.FAILED, desk.as_agent(agent))
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "error")
    await desk.moved(task, T.FAILED, desk.as_agent(agent), error="no ladder")
    assert (await desk.registry.journal())[0]["afterState"] == {"status": "FAILED", "error": "no ladder"}


async def test_tsk_1_the_gateway_holds_a_task_only_for_a_request(desk: Desk) -> None:
    """IN_PROGRESS to NEEDS_APPROVAL."""
    task = await desk.task(T.IN_PROGRESS, await desk.agent())
    assert (await desk.refused(task, T.NEEDS_APPROVAL, desk.system)).code is Refusal.DEPENDENCY_NOT_MET
    await desk.approval(task, "TOOL_EXECUTION", ApprovalDecision.PENDING)
    await desk.moved(task, T.NEEDS_APPROVAL, desk.system)


@pytest.mark.parametrize("to", [T.ASSIGNED, T.IN_PROGRESS, T.REVIEW])
@pytest.mark.parametrize("status", [ApprovalDecision.PENDING, ApprovalDecision.ESCALATED])
async def test_tsk_1_a_held_task_waits_for_the_decision(desk: Desk, to: TaskStatus, status: ApprovalDecision) -> None:
    """While any request for it is open."""
    work = {"work_plan": PLAN, "deliverable": DELIVERABLE, "review_checklist": CHECKED}
    task = await desk.task(T.NEEDS_APPROVAL, await desk.agent(), **work)
    await desk.approval(task, "TOOL_EXECUTION", ApprovalDecision.APPROVED)
    await desk.approval(task, "TOOL_EXECUTION", status)
    assert (await desk.refused(task, to)).code is Refusal.DEPENDENCY_NOT_MET


async def test_tsk_1_a_held_task_fails_only_after_a_denial(desk: Desk) -> None:
    """NEEDS_APPROVAL to FAILED."""
    task = await desk.task(T.NEEDS_APPROVAL, await desk.agent())
    await desk.approval(task, "TOOL_EXECUTION", ApprovalDecision.EXPIRED)
    assert (await desk.refused(task, T.FAILED)).code is Refusal.DEPENDENCY_NOT_MET
    await desk.approval(task, "TOOL_EXECUTION", ApprovalDecision.DENIED)
    await desk.moved(task, T.FAILED)


async def test_tsk_1_a_held_task_is_done_only_by_an_approval(desk: Desk) -> None:
    """COMPLETE_TASK, unused, and used up by it."""
    task = await desk.task(T.NEEDS_APPROVAL, await desk.agent())
    await desk.approval(task, "TOOL_EXECUTION", ApprovalDecision.APPROVED)
    assert (await desk.refused(task, T.DONE)).code is Refusal.DEPENDENCY_NOT_MET
    approval = await desk.approval(task, "COMPLETE_TASK", ApprovalDecision.APPROVED)
    await desk.moved(task, T.DONE)
    assert (await desk.get(models.ApprovalRecord, approval.id)).used_at is not None
    assert (await desk.registry.journal())[0]["afterState"]["approvalId"] == str(approval.id)


async def test_tsk_1_an_approval_is_of_what_was_submitted(desk: Desk) -> None:
    """What was allowed to be done before the task was sent back and submitted again was another deliverable."""
    now = datetime.now(UTC)
    task = await desk.task(T.NEEDS_APPROVAL, await desk.agent(), submitted_at=now)
    for status_of, minutes in ((T.NEEDS_APPROVAL, -1), (T.DONE, 1)):
        decided_at = now + timedelta(minutes=minutes)
        await desk.approval(task, "COMPLETE_TASK", ApprovalDecision.APPROVED, decided_at=decided_at)
        await desk.move(task, T.DONE)
        assert (await desk.get(models.Task, task.id)).status is status_of


@pytest.mark.parametrize("level", ["tenant", "project", "version"])
async def test_tsk_1_policy_may_want_an_approval_before_done(desk: Desk, level: str) -> None:
    """The trigger `transition:DONE` at any level of the policy in force for an assignee."""
    agent = await desk.agent()
    place = {
        "tenant": {"attached_to_tenant": True, "autonomy_tier": 2},
        "project": {"attached_to_project_id": desk.tenant.project.id},
        "version": {"attached_to_version_id": desk.version.id},
    }[level]
    await desk.tenant.add(
        models.PolicyEnvelope(name=level, version=1, active=True, approval_triggers=["transition:DONE"], **place)
    )
    task = await desk.task(T.REVIEW, agent)
    refused = await desk.refused(task, T.DONE)
    assert refused.code is Refusal.DEPENDENCY_NOT_MET
    assert "COMPLETE_TASK" in refused.message
    await desk.approval(task, "COMPLETE_TASK", ApprovalDecision.APPROVED)
    await desk.moved(task, T.DONE)


async def test_tsk_1_without_an_assignee_the_projects_policy_holds(desk: Desk) -> None:
    """And where no policy asks, a person just says DONE."""
    unasked = await desk.task(T.REVIEW)
    await desk.moved(unasked, T.DONE)
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="p",
            version=1,
            active=True,
            approval_triggers=["transition:DONE"],
            attached_to_project_id=desk.tenant.project.id,
        )
    )
    asked = await desk.task(T.REVIEW)
    assert (await desk.refused(asked, T.DONE)).code is Refusal.DEPENDENCY_NOT_MET


async def test_tsk_1_an_imported_approval_of_any_kind_completes(desk: Desk) -> None:
    """Section 0b: what Mission Control approved before the import."""
    task = await desk.task(T.NEEDS_APPROVAL)
    await desk.approval(task, "OTHER", ApprovalDecision.APPROVED, legacy_approval_id="k57")
    await desk.moved(task, T.DONE)


async def test_tsk_1_the_gateway_leaves_blocked_only_as_an_emergency_ends(desk: Desk) -> None:
    """To the status that is on record, and to no other."""
    plain = await desk.task(T.BLOCKED, await desk.agent(), work_plan=PLAN)
    assert (await desk.refused(plain, T.ASSIGNED, desk.system)).field == "to"
    held = await desk.task(T.BLOCKED, await desk.agent(), metadata_={"preBlockStatus": "ASSIGNED"})
    assert (await desk.refused(held, T.INBOX, desk.system)).field == "to"
    await desk.moved(held, T.ASSIGNED, desk.system)


async def test_loop_3_after_three_tries_a_fourth_takes_an_approval(desk: Desk) -> None:
    """Each retry counts; the approval carries one."""
    task = await desk.task(T.FAILED, await desk.agent(), metadata_={"mine": 1})
    for count in (1, 2, 3):
        moved = await desk.moved(task, T.ASSIGNED)
        assert moved.metadata_ == {"mine": 1, "retryCount": count}
        async with desk.tenant.database.transaction(desk.human) as session:
            (await session.get(models.Task, (desk.tenant.id, task.id))).status = T.FAILED
    assert (await desk.refused(task, T.ASSIGNED)).code is Refusal.DEPENDENCY_NOT_MET
    approval = await desk.approval(task, "TRANSITION", ApprovalDecision.APPROVED)
    await desk.moved(task, T.ASSIGNED)
    assert (await desk.get(models.ApprovalRecord, approval.id)).used_at is not None


async def test_tsk_1_back_in_inbox_a_task_is_nobodys(desk: Desk) -> None:
    """So that somebody can claim it; the record says who had it."""
    agent = await desk.agent()
    task = await desk.task(T.ASSIGNED, agent)
    await desk.moved(task, T.INBOX)
    assert await desk.assignees(task) == []
    (record,) = await desk.registry.journal()
    assert record["beforeState"] == {"status": "ASSIGNED", "assigneeIds": [str(agent.id)]}
    assert record["afterState"] == {"status": "INBOX", "assigneeIds": []}


# --- Agents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "to", "least"),
    [
        (T.INBOX, T.ASSIGNED, 2),
        (T.ASSIGNED, T.IN_PROGRESS, 1),
        (T.IN_PROGRESS, T.REVIEW, 1),
        (T.REVIEW, T.IN_PROGRESS, 1),
        (T.IN_PROGRESS, T.BLOCKED, 2),
        (T.IN_PROGRESS, T.FAILED, 2),
    ],
)
@pytest.mark.parametrize("tier", [0, 1, 2, 3])
async def test_tsk_8_an_agents_tier_says_which_steps_it_takes(
    desk: Desk, state: TaskStatus, to: TaskStatus, least: int, tier: int
) -> None:
    """None at 0, its own work at 1, taking and giving up from 2 on."""
    agent = await desk.agent()
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="t", version=1, active=True, autonomy_tier=tier, attached_to_version_id=desk.version.id
        )
    )
    task = await ready_for(desk, agent, state, to)
    if tier >= least:
        await desk.moved(task, to, desk.as_agent(agent), reason="so")
    else:
        refused = await desk.refused(task, to, desk.as_agent(agent), reason="so")
        assert refused.code is Refusal.DEPENDENCY_NOT_MET
        assert "TSK-8" in refused.message


async def test_tsk_1_an_agent_moves_what_is_its_own(desk: Desk) -> None:
    """Not another's task, not one that is meant for another, not one of another project."""
    one, two = await desk.agents(2)
    theirs = await desk.task(T.ASSIGNED, two, work_plan=PLAN)
    assert (await desk.refused(theirs, T.IN_PROGRESS, desk.as_agent(one))).field == "task_id"
    meant = await desk.task(T.INBOX, two)
    assert (await desk.refused(meant, T.ASSIGNED, desk.as_agent(one))).field == "task_id"
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    far = await desk.task(T.INBOX, project_id=project.id)
    assert (await desk.refused(far, T.ASSIGNED, desk.as_agent(one))).code is Refusal.NOT_FOUND
    free = await desk.task(T.INBOX)
    await desk.moved(free, T.ASSIGNED, desk.as_agent(one))
    assert await desk.assignees(free) == [one.id]


async def test_tsk_1_an_agents_policy_must_allow_the_type(desk: Desk) -> None:
    """A DENY is on record, with the task unchanged (decision 4)."""
    agent = await desk.agent()
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="docs", version=1, active=True, allowed_task_types=["DOCS"], attached_to_version_id=desk.version.id
        )
    )
    task = await desk.task(T.INBOX, type=TaskType.OPS)
    refused = await desk.refused(task, T.ASSIGNED, desk.as_agent(agent))
    assert refused.code is Refusal.DEPENDENCY_NOT_MET
    (record,) = await desk.registry.journal()
    assert (record["type"], record["actorType"]) == ("POLICY_EVALUATED", "AGENT")
    assert record["afterState"]["transitionTo"] == "ASSIGNED"
    allowed = await desk.task(T.INBOX, type=TaskType.DOCS)
    await desk.moved(allowed, T.ASSIGNED, desk.as_agent(agent))


@pytest.mark.parametrize("state", [InstanceState.PAUSED, InstanceState.READONLY, InstanceState.DRAINING])
async def test_ins_4_an_agent_takes_work_only_while_it_is_active(desk: Desk, state: InstanceState) -> None:
    """What it has begun, a READONLY or DRAINING one may finish; a PAUSED one does nothing."""
    agent = await desk.agent(state=state)
    fresh = await desk.task(T.INBOX)
    assert (await desk.refused(fresh, T.ASSIGNED, desk.as_agent(agent))).code is Refusal.DEPENDENCY_NOT_MET
    begun = await desk.task(T.IN_PROGRESS, agent, deliverable=DELIVERABLE, review_checklist=CHECKED)
    outcome = await desk.move(begun, T.REVIEW, desk.as_agent(agent))
    assert isinstance(outcome, Refused if state is InstanceState.PAUSED else Done)


async def test_pol_12_a_step_that_policy_asks_about_is_let_through_once(desk: Desk) -> None:
    """Refused, asked for with policyEvaluate, approved by a person, taken, and not a second time."""
    agent = await desk.agent()
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="r",
            version=1,
            active=True,
            approval_triggers=["transition:REVIEW"],
            attached_to_version_id=desk.version.id,
        )
    )
    actor = desk.as_agent(agent)
    task = await desk.task(T.ASSIGNED, agent, work_plan=PLAN)
    await desk.moved(task, T.IN_PROGRESS, actor)
    work = {"deliverable": DELIVERABLE, "review_checklist": CHECKED}
    assert "policyEvaluate" in (await desk.refused(task, T.REVIEW, actor, **work)).message
    asked = await desk.do(
        "evaluate_policy",
        actor,
        instance_id=agent.id,
        action_type=ActionType.TRANSITION,
        transition_to=T.REVIEW,
        task_id=task.id,
    )
    assert isinstance(asked, Done)
    held = await desk.get(models.Task, task.id)
    assert held.status is T.NEEDS_APPROVAL
    (approval,) = await desk.rows(models.ApprovalRecord)
    person = models.Operator(id=new_id(), auth_id="b", name="B", email="b@example.com")
    await desk.tenant.add(person)
    decided = await desk.do(
        "decide_approval",
        desk.tenant.actor(operator_id=person.id),
        approval_id=approval.id,
        decision=ApprovalChoice.APPROVE,
        reason="fine",
    )
    assert isinstance(decided, Done), decided
    assert (await desk.get(models.Task, task.id)).status is T.IN_PROGRESS  # what waited for the decision goes on
    await desk.moved(task, T.REVIEW, actor, **work)
    await desk.moved(task, T.IN_PROGRESS, feedback="again")
    assert "policyEvaluate" in (await desk.refused(task, T.REVIEW, actor, **work)).message


# --- Emergencies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "actor", "passes"),
    [
        (OperatorMode.NORMAL, AGENT, True),
        (OperatorMode.DRAINING, AGENT, True),
        (OperatorMode.PAUSED, AGENT, False),
        (OperatorMode.QUARANTINED, AGENT, False),
        (OperatorMode.NORMAL, SYSTEM, True),
        (OperatorMode.DRAINING, SYSTEM, False),
        (OperatorMode.PAUSED, SYSTEM, False),
        (OperatorMode.QUARANTINED, SYSTEM, False),
        (OperatorMode.NORMAL, HUMAN, True),
        (OperatorMode.DRAINING, HUMAN, True),
        (OperatorMode.PAUSED, HUMAN, False),
        (OperatorMode.QUARANTINED, HUMAN, False),
    ],
)
@pytest.mark.parametrize("where", ["tenant", "project"])
async def test_emg_2_the_gate_comes_first(
    desk: Desk, mode: OperatorMode, actor: ActorType, passes: bool, where: str
) -> None:
    """The table of the rules for TRANSITION, by whoever sets the mode; before the machine is asked."""
    agent = await desk.agent()
    task = await desk.task(T.IN_PROGRESS, agent)
    done = await desk.task(T.DONE, agent)
    await desk.mode(mode, None if where == "tenant" else desk.tenant.project.id)
    outcome = await desk.move(task, T.BLOCKED, desk.actor(actor, agent), reason="rain")
    if passes:
        assert isinstance(outcome, Done), outcome
        return
    assert isinstance(outcome, Refused)
    assert outcome.code is Refusal.DEPENDENCY_NOT_MET
    assert mode.value in outcome.message
    never = await desk.refused(done, T.INBOX, desk.actor(actor, agent), reason="rain")
    assert never.code is Refusal.DEPENDENCY_NOT_MET


async def test_emg_3_a_person_overrides_a_pause_with_a_reason_and_on_record(desk: Desk) -> None:
    """Not without saying so, not without saying why; refused steps leave no override."""
    task = await desk.task(T.IN_PROGRESS, await desk.agent())
    await desk.mode(OperatorMode.PAUSED)
    assert (await desk.refused(task, T.CANCELED, reason="x")).field == "confirm_override"
    assert (await desk.refused(task, T.CANCELED, confirm_override=True)).field == "reason"
    assert (await desk.refused(task, T.DONE, confirm_override=True, reason="x")).code is (
        Refusal.INVALID_STATE_TRANSITION
    )
    assert await desk.rows(models.AuditLog) == []
    await desk.moved(task, T.CANCELED, confirm_override=True, reason="it rains")
    (entry,) = await desk.rows(models.AuditLog)
    assert (entry.action, entry.severity, entry.resource_id) == ("OPERATOR_OVERRIDE", "WARNING", str(task.id))
    assert (entry.description, entry.metadata_["operatorMode"]) == ("it rains", "PAUSED")


async def test_emg_3_under_quarantine_it_takes_an_approved_override_once(desk: Desk) -> None:
    """OPERATOR_OVERRIDE for the task."""
    task, other = await desk.task(T.IN_PROGRESS, await desk.agent()), await desk.task(T.REVIEW)
    await desk.mode(OperatorMode.QUARANTINED)
    refused = await desk.refused(task, T.ASSIGNED, confirm_override=True, reason="x")
    assert "OPERATOR_OVERRIDE" in refused.message
    approval = await desk.approval(task, "OPERATOR_OVERRIDE", ApprovalDecision.APPROVED)
    await desk.refused(other, T.DONE)
    await desk.moved(task, T.ASSIGNED)
    assert (await desk.get(models.ApprovalRecord, approval.id)).used_at is not None
    assert (await desk.rows(models.AuditLog))[0].metadata_["approvalId"] == str(approval.id)
    await desk.refused(task, T.CANCELED)


@pytest.mark.parametrize("mode", [OperatorMode.DRAINING, OperatorMode.PAUSED, OperatorMode.QUARANTINED])
async def test_emg_4_no_new_assignment_in_an_emergency(desk: Desk, mode: OperatorMode) -> None:
    """INBOX to ASSIGNED for nobody, whatever is confirmed."""
    task = await desk.task(T.INBOX, await desk.agent())
    await desk.approval(task, "OPERATOR_OVERRIDE", ApprovalDecision.APPROVED)
    await desk.mode(mode)
    refused = await desk.refused(task, T.ASSIGNED, confirm_override=True, reason="x")
    assert "EMG-4" in refused.message


# --- Keys, permissions, records ---------------------------------------------------------------------------------------


async def keyed(desk: Desk, key: str, task: models.Task, to: TaskStatus, **given: Any) -> Done | Refused:
    """A step with a key, without what the gateway remembers for a day."""
    await desk.tenant.forget_keys()
    arguments = {"task_id": task.id, "to": to, **given}
    return await run(
        desk.tenant.database, desk.human, "transition_task", arguments, Key.of("taskTransition", key, {"to": to.value})
    )


async def test_tsk_5_a_key_is_known_for_ever_and_belongs_to_one_step(desk: Desk) -> None:
    """The same step answers again, another task or target is a CONFLICT (SM-3)."""
    task, other = await desk.task(T.INBOX), await desk.task(T.INBOX)
    first = await keyed(desk, "k", task, T.CANCELED)
    assert isinstance(first, Done)
    assert not first.is_replay
    again = await keyed(desk, "k", task, T.CANCELED)
    assert isinstance(again, Done)
    assert (again.is_replay, again.change_id) == (True, first.change_id)
    for wrong in (await keyed(desk, "k", other, T.CANCELED), await keyed(desk, "k", task, T.BLOCKED, reason="x")):
        assert isinstance(wrong, Refused)
        assert (wrong.code, wrong.field) == (Refusal.CONFLICT, "idempotency_key")
    assert await desk.registry.types() == ["TASK_TRANSITIONED"]


async def test_sm_2_a_stale_view_is_a_conflict(desk: Desk) -> None:
    """Whoever says what status they believe in."""
    task = await desk.task(T.INBOX)
    refused = await desk.refused(task, T.CANCELED, expected_status=T.REVIEW)
    assert (refused.code, refused.field) == (Refusal.CONFLICT, "expected_status")


async def test_sm_4_cancelling_takes_the_right_to_cancel_or_to_move(desk: Desk) -> None:
    """`delete:tasks` alone cancels and does nothing else."""
    task = await desk.task(T.INBOX)
    canceller = desk.tenant.actor("delete:tasks")
    with pytest.raises(Exception, match="transition:tasks"):
        await desk.move(task, T.BLOCKED, canceller, reason="x")
    await desk.moved(task, T.CANCELED, canceller)


async def test_tsk_6_the_record_says_how_it_was(desk: Desk) -> None:
    """Mode, session and what was handed in; no op event."""
    agent = await desk.agent()
    task = await desk.task(T.IN_PROGRESS, agent)
    await desk.moved(
        task, T.REVIEW, desk.as_agent(agent), deliverable=DELIVERABLE, review_checklist=CHECKED, session_key="s-1"
    )
    (record,) = await desk.rows(models.ChangeRecord)
    assert (record.actor_type, record.actor_id, record.instance_id) == (AGENT, agent.id, agent.id)
    assert record.metadata_ == {
        "operatorMode": "NORMAL",
        "sessionKey": "s-1",
        "artifactsSnapshot": {"deliverable": DELIVERABLE, "reviewChecklist": CHECKED},
    }
    assert await desk.rows(models.OpEvent) == []


async def test_a_step_and_a_claim_take_a_dozen_statements_at_most(desk: Desk) -> None:
    """However long the queue and the history are; measured with policy, guards, records and events."""
    agent = await desk.agent()
    task = await desk.task(work_plan=PLAN, deliverable=DELIVERABLE, review_checklist=CHECKED)
    for _ in range(20):
        await desk.task(priority=4)
    actor = desk.as_agent(agent)
    steps: list[tuple[str, dict[str, Any], Any, int]] = [
        ("claim_task", {"instance_id": agent.id}, actor, 11),
        ("transition_task", {"task_id": task.id, "to": T.IN_PROGRESS}, actor, 10),
        ("transition_task", {"task_id": task.id, "to": T.REVIEW}, actor, 10),
        ("transition_task", {"task_id": task.id, "to": T.DONE}, desk.human, 11),
    ]
    for name, arguments, who, most in steps:
        with recorded(desk.tenant.database.engine) as statements:
            assert isinstance(await desk.do(name, who, **arguments), Done)
        assert len(statements) <= most, (name, statements)
