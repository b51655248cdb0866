"""An agent in the shape that Mission Control gave it, told by the rows that continue it: MIG-1 read backwards (MIG-10).

Pure functions over rows; nothing is looked up here. What the old shape says and no row does is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from db.enums import InstanceState

STATUS_OF_STATE: Final[Mapping[InstanceState, str]] = {
    InstanceState.PROVISIONING: "OFFLINE",
    InstanceState.ACTIVE: "ACTIVE",
    InstanceState.PAUSED: "PAUSED",
    InstanceState.READONLY: "ACTIVE",
    InstanceState.DRAINING: "DRAINED",
    InstanceState.QUARANTINED: "QUARANTINED",
    InstanceState.RETIRED: "OFFLINE",
}
"""The former status of each state; of those that Mission Control did not know, the nearest that it did (MIG-10)."""

DEFAULT_SUB_AGENTS: Final = 0
"""What Mission Control wrote for "as many as the default allows"; an import keeps nothing for it (POL-9)."""


@dataclass(frozen=True)
class Profile:
    """What an agent said of itself."""

    name: str | None
    emoji: str | None
    role: str | None
    workspace_path: str | None

    @classmethod
    def of_instance(cls, instance: Any) -> "Profile":
        """What the instance keeps of its agent: an import leaves there what several agents of a template differ in."""
        notes = instance.metadata or {}
        return cls(instance.name, notes.get("emoji"), notes.get("legacyRole"), notes.get("workspacePath"))

    @classmethod
    def of_template(cls, template: Any) -> "Profile":
        """What holds for every agent of the template; instances that never were an agent have this alone."""
        notes = template.metadata or {}
        return cls(template.name, template.emoji, template.default_role, notes.get("workspacePath"))


@dataclass(frozen=True)
class Allowance:
    """What an agent was allowed, from its policy envelope."""

    allowed_task_types: list[str]
    """Kinds of work; empty means any, as it did in Mission Control."""
    allowed_tools: list[str] | None
    """None means any."""
    budget_daily: float | None
    budget_per_run: float | None
    """US dollars; None means no limit of its own."""
    can_spawn: bool | None
    max_sub_agents: int

    @classmethod
    def of_envelope(cls, envelope: Any | None) -> "Allowance":
        """What an envelope allows; no envelope limits nothing."""
        if envelope is None:
            return cls([], None, None, None, None, DEFAULT_SUB_AGENTS)
        costs, spawning = envelope.cost_limits or {}, envelope.spawn_limits or {}
        return cls(
            [kind.value for kind in envelope.allowed_task_types or []],
            envelope.allowed_tools,
            costs.get("dailyUsd"),
            costs.get("perRunUsd"),
            spawning.get("canSpawn"),
            spawning.get("maxSubAgents") or DEFAULT_SUB_AGENTS,
        )


def former_id(row: Any) -> str | None:
    """The `_id` of the document that an imported row continues; None for a row that was made here (MIG-0a)."""
    found: str | None = (row.metadata or {}).get("legacyId")
    return found
