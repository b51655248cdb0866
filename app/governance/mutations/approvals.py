"""Mutations of approvals."""

from __future__ import annotations

from datetime import datetime

from app.governance.commands import approvals as commands
from app.governance.rules import ApprovalChoice
from app.governance.types import ApprovalRecord
from app.graph.inputs import EXPECTED_STATUS, given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.scalars import JSON
from db.enums import ApprovalDecision, RiskLevel


@input_type
class ApprovalRequestInput:
    """What is to be approved, and why."""

    request_type: str = given(
        "What kind of action it is, such as `DEPLOYMENT`, `VERSION_PROMOTION` or `INSTANCE_REACTIVATION` (APR-1).",
        longest=100,
    )
    action_summary: str = given("The action in one sentence, for the person who decides.", longest=500)
    justification: str = given("Why it is needed.", longest=10_000)
    risk_level: RiskLevel = given("Risk of the action; RED takes two people (APR-2).")
    target_id: str | None = given(
        "The row that the action is about, by its global id; a promotion names its version, a release its deployment.",
        id_of="Node",
    )
    rollback_plan: str | None = given(
        "How to put things back; needed for RED, deployments and promotions.", longest=10_000
    )
    estimated_cost: float | None = given("What it is expected to cost, in US dollars; for more budget, how much.")
    required_decision_count: int | None = given("Votes that approve, if more than the risk asks for; 10 at most.")
    expires_at: datetime | None = given("Until when it can be decided, 7 days at most; by its type if not said.")
    evidence_links: list[str] | None = given("Addresses of what speaks for it.", longest=2_000, most=50)
    action_payload: JSON | None = given("The exact action, as the system that carries it out has it.")
    project_id: str | None = given(
        "The project that it belongs to; that of its target if nothing is said.", id_of="Project"
    )
    task_id: str | None = given("The task that waits for it.", id_of="Task")


@input_type
class ApprovalDecideInput:
    """Which request, and what you say to it."""

    approval_id: str = given("The request.", id_of="ApprovalRecord")
    decision: ApprovalChoice = given("What you say.")
    reason: str | None = given("Why; needed to deny, and for RED.", longest=2_000)
    expected_status: ApprovalDecision | None = given(EXPECTED_STATUS)


@input_type
class ApprovalCancelInput:
    """Which request to withdraw."""

    approval_id: str = given("The request.", id_of="ApprovalRecord")
    reason: str | None = given("Why, for the change record.", longest=2_000)
    expected_status: ApprovalDecision | None = given(EXPECTED_STATUS)


_PENDING_SECOND = Shown(
    "pending_second_decision", bool, "Whether the vote counts but another person's is still needed (APR-4)."
)

FIELDS = (
    mutation("approval_request", commands.request_approval, ApprovalRequestInput, ApprovalRecord),
    mutation(
        "approval_decide", commands.decide_approval, ApprovalDecideInput, ApprovalRecord, shows=(_PENDING_SECOND,)
    ),
    mutation("approval_cancel", commands.cancel_approval, ApprovalCancelInput, ApprovalRecord),
)
