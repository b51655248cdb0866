"""The verdict on an action: every rule in its order, the strictest stands (POL-1, POL-2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from app.governance.policy.action import Action, ActionType
from app.governance.policy.budget import Overrun, overruns
from app.governance.policy.facts import Facts
from app.governance.policy.gate import gate, state_denies, state_denies_risk
from app.governance.policy.inheritance import EVERY_OTHER_TOOL, EffectivePolicy, PolicyLevel
from app.governance.policy.lists import ListFault, check_lists
from app.governance.policy.risk import Assessment, assess, is_outbound, outbound_faults
from app.governance.policy.spawning import spawn_fault
from app.governance.policy.triggers import BUDGET
from db.enums import ActorType, LifecycleState, PolicyVerdict, RiskLevel, TaskStatus

GREEN, YELLOW, RED = RiskLevel
ALLOW, ASK, DENY = PolicyVerdict
HIGHEST_TIER: Final = 5
FREE_OF_MANIFEST: Final = 5
"""Tier from which a tool need not be declared in the genome (POL-2, step 6)."""

_TABLE: Final = {
    0: {GREEN: ASK, YELLOW: ASK, RED: ASK},
    1: {GREEN: ALLOW, YELLOW: ASK, RED: ASK},
    2: {GREEN: ALLOW, YELLOW: ALLOW, RED: ASK},
    3: {GREEN: ALLOW, YELLOW: ALLOW, RED: ALLOW},
    4: {GREEN: ALLOW, YELLOW: ALLOW, RED: ALLOW},
    5: {GREEN: ALLOW, YELLOW: ALLOW, RED: ALLOW},
}
"""Tier and risk (POL-6). RED at 3 and above asks all the same while `risk:RED` is a trigger."""

REQUEST_TYPES: Final = {
    ActionType.TOOL_CALL: "TOOL_EXECUTION",
    ActionType.RUN_START: "RUN_START",
    ActionType.SPAWN: "SPAWN",
    ActionType.TRANSITION: "TRANSITION",
    ActionType.MESSAGE: "TOOL_EXECUTION",
}


def tier_verdict(tier: int, risk: RiskLevel) -> PolicyVerdict:
    """What a tier says to a risk (POL-6); a tier that there is not asks."""
    return _TABLE[tier][risk] if tier in _TABLE else ASK


@dataclass(frozen=True, slots=True)
class RequiredApproval:
    """An approval that would let the action go ahead."""

    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict with everything that explains it (POL-1)."""

    verdict: PolicyVerdict
    risk: RiskLevel
    tier: int
    reason: str
    """One sentence: the rule that decided."""
    rules: tuple[str, ...]
    """Every rule that fired, as a code."""
    violations: tuple[str, ...]
    hints: tuple[str, ...]
    required: tuple[RequiredApproval, ...]
    level: PolicyLevel
    """Where the field that decided comes from."""
    envelope_ids: tuple[UUID, ...]
    """The envelopes that it comes from."""
    exhausted: Overrun | None
    """The limit that is used up, where the instance is to be contained (BUD-3)."""


@dataclass(slots=True)
class _Case:
    """A decision on its way."""

    facts: Facts
    action: Action
    policy: EffectivePolicy
    assessed: Assessment
    verdict: PolicyVerdict = ALLOW
    reason: str = ""
    decided_by: str = "autonomy_tier"
    decided_envelope: UUID | None = None
    rules: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    required: list[RequiredApproval] = field(default_factory=list)
    over: list[Overrun] = field(default_factory=list)

    def deny(
        self, rule: str, reason: str, hint: str, violation: str | None = None, *, by: str = "autonomy_tier"
    ) -> bool:
        """The end: nothing is looked at behind a DENY."""
        self.verdict, self.reason, self.decided_by = DENY, reason, by
        self.rules.append(rule)
        self.violations.append(violation or rule.partition(":")[0].upper())
        self.hints.append(hint)
        self.required.clear()
        return True

    def ask(self, rule: str, reason: str, kind: str, *, by: str = "autonomy_tier") -> None:
        """An approval is needed; the first reason is the one that is told."""
        if self.verdict is ALLOW:
            self.verdict, self.reason, self.decided_by = ASK, reason, by
        self.rules.append(rule)
        if not any(one.type == kind for one in self.required):
            self.required.append(RequiredApproval(kind, reason))

    @property
    def request_type(self) -> str:
        """The kind of approval that this action asks for."""
        if self.action.type is ActionType.TRANSITION and self.action.transition_to is TaskStatus.DONE:
            return "COMPLETE_TASK"
        return REQUEST_TYPES[self.action.type]


def evaluate(facts: Facts, action: Action) -> Decision:
    """The verdict on an action (POL-2): all checks in their order, the strictest verdict stands, a DENY ends it."""
    policy = facts.policy
    assessed = assess(action, policy.tool_risks, facts.production)
    case = _Case(facts, action, policy, assessed)
    for check in _CHECKS:
        if check(case):
            break
    source = policy.source(case.decided_by)
    envelope_ids = source.envelope_ids if case.decided_envelope is None else (case.decided_envelope,)
    if case.verdict is ALLOW:
        case.reason = f"Tier {policy.tier} allows {assessed.level} actions."
        if case.decided_by == "tool_policies":
            case.reason = f"The policy allows the tool '{action.tool}' by name."
    exhausted = next((one for one in case.over if one.is_spent), None) if case.verdict is DENY else None
    return Decision(
        case.verdict,
        assessed.level,
        policy.tier,
        case.reason,
        tuple(case.rules),
        tuple(case.violations),
        tuple(dict.fromkeys(case.hints)),
        tuple(case.required),
        source.level,
        envelope_ids,
        exhausted,
    )


# --- The checks, in the order of POL-2. Each returns whether it denied. -----------------------------------------------


def _tenant(case: _Case) -> bool:
    if case.facts.tenant_active:
        return False
    return case.deny("tenant_inactive", "The tenant is not active.", "Ask whoever runs the platform.")


def _emergency(case: _Case) -> bool:
    mode = case.facts.mode
    if gate(mode, case.action.type, ActorType.AGENT) is ALLOW:
        return False
    reason = f"The emergency mode is {mode}."
    return case.deny(f"operator_control:{mode}", reason, "Wait until an operator ends the emergency mode.")


def _state(case: _Case) -> bool:
    state, kind = case.facts.state, case.action.type
    if not state_denies(state, kind, is_running=case.facts.has_running_run):
        return False
    reason = f"The instance is {state}, which does not allow {kind}."
    return case.deny(f"assignee_not_active:{state}", reason, "An operator has to bring the instance back to ACTIVE.")


def _version(case: _Case) -> bool:
    build = case.facts.build
    if build.lifecycle is LifecycleState.RETIRED:
        return case.deny("version_retired", "The version is RETIRED.", "Use an instance of a version that is approved.")
    if build.is_tampered:
        reason = "The genome of the version does not have its hash any more."
        return case.deny("version_tampered", reason, "An operator has to look at the version.", "VERSION_TAMPERED")
    return False


def _tools(case: _Case) -> bool:
    tool, policy = case.action.tool, case.policy
    if tool is None:
        return False
    hint = "Use another tool, or have the policy changed."
    if policy.denied_tools.has(tool):
        reason = f"The policy forbids the tool '{tool}'."
        return case.deny(f"tool_denied:{tool}", reason, hint, "TOOL_NOT_ALLOWED", by="denied_tools")
    if policy.allowed_tools is not None and not policy.allowed_tools.has(tool):
        reason = f"The tool '{tool}' is not on the policy's list."
        return case.deny(f"tool_not_allowed:{tool}", reason, hint, "TOOL_NOT_ALLOWED", by="allowed_tools")
    declared = case.facts.build.tools
    if policy.tier < FREE_OF_MANIFEST and declared is not None and tool.casefold() not in declared:
        reason = f"The genome does not declare the tool '{tool}'."
        hint = "Use a tool of the genome's manifest, or make a version that declares it."
        return case.deny(f"tool_not_in_manifest:{tool}", reason, hint, "TOOL_NOT_IN_MANIFEST")
    return False


def _task_type(case: _Case) -> bool:
    task, allowed = case.facts.task, case.policy.task_types
    if task is None or allowed is None or task.type in allowed:
        return False
    reason = f"The policy does not allow tasks of type {task.type}."
    hint = "Give the task to an agent that may do it."
    return case.deny(f"task_type_not_allowed:{task.type}", reason, hint, by="allowed_task_types")


def _lists(case: _Case) -> bool:
    if case.action.tool is None:
        return False
    try:
        check_lists(case.action.tool, case.action.args, case.policy)
    except ListFault as fault:
        return case.deny(f"allowlist_block:{case.action.tool}", fault.reason, fault.hint, fault.code, by=fault.field)
    return False


def _outbound(case: _Case) -> bool:
    if not is_outbound(case.action):
        return False
    violations, flags = outbound_faults(case.action.args)
    case.rules.extend(f"flag:{flag}" for flag in flags)
    if not violations:
        return False
    case.violations.extend(violations[1:])
    reason = "The message holds what must not go out: " + ", ".join(violations) + "."
    return case.deny("outbound_content", reason, "Send the message without it.", violations[0])


def _budget(case: _Case) -> bool:
    case.over = overruns(case.facts, case.action)
    if not case.over:
        return False
    first = case.over[0]
    if first.is_final:
        hint = "Wait for the reset of the budget, or ask an operator to raise the limit."
        return case.deny("budget_exceeded", first.reason, hint, "BUDGET_EXCEEDED", by="cost_limits")
    for one in case.over:
        case.ask("budget_exceeded", one.reason, "BUDGET_OVERRIDE", by="cost_limits")
    case.hints.append("Ask for a budget override, or do it for less.")
    return False


def _spawn(case: _Case) -> bool:
    fault = spawn_fault(case.facts, case.action) if case.action.is_spawn else None
    if fault is None:
        return False
    return case.deny(fault.rule, fault.reason, fault.hint, "SPAWN_LIMIT", by="spawn_limits")


def _risk(case: _Case) -> bool:
    action, policy, level = case.action, case.policy, case.assessed.level
    name = action.tool or action.type.value
    case.rules.append(f"tool_risk:{name}:{level}")
    if case.assessed.has_secret:
        case.rules.append("secrets_in_arguments")
    if case.assessed.is_production:
        case.rules.append("production_in_arguments")
    if state_denies_risk(case.facts.state, action.type, level):
        reason = f"The instance is READONLY, which leaves only GREEN tools; this is {level}."
        return case.deny("assignee_not_active:READONLY", reason, "Use a tool that only reads.")
    verdict, denied_by = _by_name(case)
    if verdict is DENY:
        case.decided_envelope = denied_by
        reason = f"The policy denies the tool '{action.tool}' by name."
        hint = "Use another tool, or have the policy changed."
        return case.deny(f"tool_policy:{action.tool}:DENY", reason, hint, "TOOL_NOT_ALLOWED", by="tool_policies")
    if verdict is not None:
        case.rules.append(f"tool_policy:{action.tool}:{verdict}")
    if tier_verdict(policy.tier, level) is ASK:
        if verdict is ALLOW and level is not RED:
            case.decided_by = "tool_policies"
        else:
            reason = f"Tier {policy.tier} asks for approval of {level} actions."
            case.ask(f"tier:{policy.tier}:{level}", reason, case.request_type)
    if verdict is ASK:
        reason = f"The policy asks for approval of the tool '{action.tool}'."
        case.ask(f"tool_policy:{action.tool}:{verdict}", reason, case.request_type, by="tool_policies")
        case.rules.pop()  # it is there already
    return False


def _by_name(case: _Case) -> tuple[PolicyVerdict | None, UUID | None]:
    """The verdict that the policy gives the tool by name, and for a DENY the envelope that it stands in (POL-7)."""
    tool = case.action.tool
    if tool is None:
        return None, None
    name = tool.casefold()
    for verdicts, envelope_id in case.policy.denials:
        if verdicts.get(name, verdicts.get(EVERY_OTHER_TOOL)) is DENY:
            return DENY, envelope_id
    verdicts = case.policy.verdicts
    return verdicts.get(name, verdicts.get(EVERY_OTHER_TOOL)), None


def _triggers(case: _Case) -> bool:
    for trigger in case.policy.triggers.fired(case.action, case.assessed, bool(case.over)):
        if trigger == "transition:DONE":
            case.ask(
                "review_to_done_requires_human",
                "The policy asks for a person's approval before a task is DONE.",
                "COMPLETE_TASK",
                by="approval_triggers",
            )
        else:
            kind = "BUDGET_OVERRIDE" if trigger == BUDGET else case.request_type
            case.ask(f"trigger:{trigger}", f"The trigger '{trigger}' asks for approval.", kind, by="approval_triggers")
    return False


_CHECKS: Final[tuple[Callable[[_Case], bool], ...]] = (
    *(_tenant, _emergency, _state, _version, _tools, _task_type, _lists, _outbound, _budget, _spawn, _risk, _triggers),
)
