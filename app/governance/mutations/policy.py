"""Mutations of policy: asking for a verdict."""

from __future__ import annotations

from app.governance.commands import policy as commands
from app.governance.policy import ActionType
from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.registry import Named
from app.graph.scalars import JSON
from db.enums import RiskLevel, TaskStatus


@input_type
class PolicyEvaluateInput:
    """What an agent wants to do."""

    instance_id: str = given("The agent; an agent asks for itself alone.", id_of="AgentInstance")
    action_type: ActionType = given("What it wants to do.")
    tool_name: str | None = given("The tool, for a TOOL_CALL or a spawn by tool.", longest=200)
    tool_args: JSON | None = given(
        "Arguments of the tool by name, as they will be used; for a MESSAGE its `content`, `channel`, `streaming` and"
        " `source`. They are kept with their secrets taken out."
    )
    risk_level: RiskLevel | None = given("The agent's own view of the risk; it can raise it and never lower it.")
    transition_to: TaskStatus | None = given("For a TRANSITION: the status that the task is to reach.")
    estimated_cost_usd: float | None = given("What it is expected to cost, in US dollars (BUD-3).")
    estimated_tokens: int | None = given("Tokens that it is expected to take, read and written together.")
    task_id: str | None = given("The task that it is for; the run's if nothing is said.", id_of="Task")
    project_id: str | None = given("Whose policy holds; the instance's own if nothing is said.", id_of="Project")
    run_id: str | None = given(
        "The RUNNING run that makes the call; a tool call then has its row from the first moment.", id_of="Run"
    )
    child_template_id: str | None = given(
        "For a spawn: the template of the agent to start; needed where the genome limits the roles of children.",
        id_of="AgentTemplate",
    )
    justification: str | None = given("Why, for the person who decides.", longest=10_000)
    rollback_plan: str | None = given("How to put things back, for the person who decides on RED.", longest=10_000)
    dry_run: bool | None = given("Only say what the verdict would be: nothing is written, no grant is used up.")


FIELDS = (
    mutation(
        "policy_evaluate",
        commands.evaluate_policy,
        PolicyEvaluateInput,
        None,
        shows=(Shown("policy_decision", Named("PolicyDecision"), "The verdict; null if the question was refused."),),
    ),
)
