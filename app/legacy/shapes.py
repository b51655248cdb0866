"""Objects in JSON columns whose keys the domain names (decision 18): what their keys hold, and times as text.

The graph shows such an object as a type, and a key that its type promises must be there. A snapshot promises nothing,
so what does not fit stays out of the column. Keys that are not named here are kept as they are.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from app.legacy.document import Rejection, flag, iso, items, mapping, member, moment, number, whole, words
from db.enums import (
    ApprovalDecision,
    ChangesetFileAction,
    RecurrenceFrequency,
    RolloutStrategy,
    WorkflowStepStatus,
)

Kind: TypeAlias = Callable[[str, Any], Any]
"""Checks the value of a key and gives it as it is stored. Raises Rejection."""


def time(name: str, value: Any) -> str:
    """A time as JSON keeps it here: RFC 3339 text; the former systems kept milliseconds."""
    return value if isinstance(value, str) else iso(moment(name, value))


def _texts(name: str, value: Any) -> list[str]:
    return [words(name, one) for one in items(name, value)]


def _wholes(name: str, value: Any) -> list[int]:
    return [whole(name, one, bits=32) for one in items(name, value)]


def _int(name: str, value: Any) -> int:
    return whole(name, value, bits=32)


def _anything(name: str, value: Any) -> Any:
    return value


def _one_of(enumeration: type[enum.StrEnum]) -> Kind:
    return lambda name, value: member(name, value, enumeration).value


@dataclass(frozen=True)
class Shape:
    """The keys of an object that are named: those that must be there, and those that may."""

    required: Mapping[str, "Kind | Shape | Listed"]
    optional: Mapping[str, "Kind | Shape | Listed"]

    def fit(self, name: str, value: Any) -> dict[str, Any]:
        """The object with its named keys checked. Raises Rejection."""
        found = dict(mapping(name, value))
        for key in (*self.required, *self.optional):
            if found.get(key) is not None:
                found[key] = _fit(self.required.get(key) or self.optional[key], f"{name}.{key}", found[key])
            elif key in self.required:
                raise Rejection(f"{name}.{key}", None, "is required and absent")
        return found


@dataclass(frozen=True)
class Listed:
    """A list of such objects."""

    of: Shape

    def fit(self, name: str, value: Any) -> list[dict[str, Any]]:
        """The list with each object checked. Raises Rejection."""
        return [self.of.fit(name, one) for one in items(name, value)]


def _fit(kind: "Kind | Shape | Listed", name: str, value: Any) -> Any:
    return kind.fit(name, value) if isinstance(kind, Shape | Listed) else kind(name, value)


def _shape(*, need: Mapping[str, "Kind | Shape | Listed"] | None = None, **optional: "Kind | Shape | Listed") -> Shape:
    return Shape(need or {}, optional)


_COSTS: Final = _shape(dailyUsd=number, perRunUsd=number, monthlyUsd=number, dailyTokens=_int)
_CHECKLIST_ITEM: Final = _shape(need={"label": words, "checked": flag}, note=words)
_STEP: Final = _shape(
    need={
        **dict.fromkeys(("id", "agent", "input", "expects"), words),
        "retryLimit": _int,
        "timeoutMinutes": number,
    }
)
_STEP_STATE: Final = _shape(
    need={"stepId": words, "status": _one_of(WorkflowStepStatus), "retryCount": _int},
    startedAt=time,
    completedAt=time,
    error=words,
    output=words,
)

SHAPES: Final[Mapping[tuple[str, str], Shape | Listed]] = {
    ("projects", "swarm_config"): _shape(need={"maxAgents": _int, "autoScale": flag}, defaultModel=words),
    ("projects", "policy_defaults"): _shape(),
    ("agent_instances", "cost_caps"): _COSTS,
    ("policy_envelopes", "cost_limits"): _COSTS,
    ("approval_records", "decisions"): Listed(
        _shape(need={"decision": _one_of(ApprovalDecision)}, reason=words, at=time)
    ),
    ("deployments", "rollout_policy"): _shape(strategy=_one_of(RolloutStrategy), canaryPercent=number, batchSize=_int),
    ("tasks", "thread_ref"): _shape(need={"chatId": words, "threadId": words}),
    ("tasks", "work_plan"): _shape(need={"bullets": _texts}, estimatedCost=number, estimatedDuration=words),
    ("tasks", "deliverable"): _shape(summary=words, content=words, artifactIds=_texts),
    ("tasks", "review_checklist"): _shape(need={"type": words, "items": Listed(_CHECKLIST_ITEM)}),
    ("tasks", "recurrence"): _shape(
        need={"frequency": _one_of(RecurrenceFrequency), "interval": _int}, daysOfWeek=_wholes, endDate=time
    ),
    ("messages", "artifacts"): Listed(_shape(need={"name": words, "type": words}, url=words, content=words)),
    ("tool_calls", "policy_result"): _shape(need={"decision": words, "reason": words}, approvalId=words),
    ("reviews", "changeset"): _shape(
        need={
            "description": words,
            "files": Listed(_shape(need={"path": words, "action": _one_of(ChangesetFileAction)}, diff=words)),
        }
    ),
    ("meetings", "participants"): Listed(_shape(agentId=words, orgPosition=words, role=words)),
    ("meetings", "action_items"): Listed(_shape(need={"description": words, "completed": flag}, dueAt=time)),
    ("workflows", "agents"): Listed(_shape(need={"id": words, "persona": words}, workspace=_shape())),
    ("workflows", "steps"): Listed(_STEP),
    ("workflow_runs", "steps"): Listed(_STEP_STATE),
    ("evaluation_suites", "test_cases"): Listed(
        _shape(need={"id": words, "name": words, "input": _anything}, weight=number)
    ),
    ("evaluation_runs", "test_results"): Listed(
        _shape(need={"testCaseId": words, "passed": flag}, score=number, error=words, durationMs=_int)
    ),
    ("feature_flags", "conditions"): _shape(
        rolloutPercentage=number, targetOperators=_texts, targetEnvironments=_texts
    ),
    ("experiments", "variants"): Listed(_shape(need={"id": words, "name": words, "weight": number})),
    ("webhooks", "filters"): _shape(taskTypes=_texts, instanceIds=_texts, statuses=_texts),
    ("notification_preferences", "filters"): _shape(eventTypes=_texts, minSeverity=words, projectIds=_texts),
}
"""The shape of each JSON column that the graph shows as a type."""

GENOME_PARTS: Final[Mapping[str, Shape]] = {
    "memoryConfig": _shape(need={"types": _texts, "retention": words}, redactionRules=_texts),
    "behaviorProfile": _shape(
        need={"riskTolerance": words, "escalationPosture": words}, communicationConstraints=_texts
    ),
    "spawnConstraints": _shape(need={"maxChildren": _int, "spawnRate": number}, allowedSubordinateRoles=_texts),
}
"""The optional parts of a genome (GEN-1)."""
MODEL_CONFIG: Final = _shape(need={"primaryModel": words}, fallbackModel=words, temperature=number, maxTokens=_int)
PROVENANCE: Final = _shape(
    need={"builtAt": words, "builtBy": words},
    buildPipeline=words,
    parentVersionId=words,
    commitRef=words,
    signingKeyRef=words,
)
