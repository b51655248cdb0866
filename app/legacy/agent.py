"""One agent of Mission Control, read field by field (MIG-1)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from app.legacy.document import Doc, Rejection, dollars, flag, number, optional_moment, whole, words
from app.legacy.genomes import of_agent
from app.legacy.policy import cost_limits, spawn_limits, texts_or_none
from app.legacy.tables.governance import task_types
from app.legacy.world import World
from db.enums import InstanceState, PauseCause

_STATES: Final = {
    "ACTIVE": InstanceState.ACTIVE,
    "PAUSED": InstanceState.PAUSED,
    "DRAINED": InstanceState.DRAINING,
    "QUARANTINED": InstanceState.QUARANTINED,
    "OFFLINE": InstanceState.PAUSED,
}
_CAUSES: Final = {"PAUSED": PauseCause.OPERATOR, "OFFLINE": PauseCause.STALE}
_INTERN_TIER: Final = 1
_TIER: Final = 2
_ROLES: Final = frozenset({"INTERN", "SPECIALIST", "LEAD", "CEO"})


@dataclass(frozen=True)
class Agent:
    """An agent, checked; making one raises Rejection, so that nothing is written for one that cannot be imported."""

    doc: Doc
    name: str
    emoji: str | None
    role: str | None
    status: str | None
    workspace: str | None
    genome: dict[str, Any]
    policy: dict[str, Any]
    """Columns of its envelope."""
    spend: tuple[Decimal, datetime | None]
    """Spent since the last reset, and when the next one is due."""
    heartbeat: datetime | None
    error_streak: int
    last_error: str | None

    @classmethod
    def read(cls, doc: Doc, world: World) -> Self:
        """Read an agent. Raises Rejection."""
        return cls(
            doc=doc,
            name=words("name", doc.take("name")),
            emoji=_text(doc, "emoji"),
            role=_text(doc, "role"),
            status=_text(doc, "status"),
            workspace=_text(doc, "workspacePath"),
            genome=_genome(doc),
            policy=_policy(doc, world),
            spend=_spend(doc, world),
            heartbeat=optional_moment("lastHeartbeatAt", doc.take("lastHeartbeatAt")),
            error_streak=max(whole("errorStreak", doc.take("errorStreak") or 0, bits=32), 0),
            last_error=_text(doc, "lastError"),
        )

    @property
    def state(self) -> InstanceState:
        """The instance's state; an unknown status is not yet released to work."""
        return _STATES.get(self.status or "", InstanceState.PROVISIONING)

    def runtime(self) -> dict[str, Any]:
        """The columns of the instance that the agent decides, also where an instance was written alongside it."""
        return {
            "name": self.name,
            "legacy_agent_id": self.doc.id,
            "state": self.state,
            "paused_by": _CAUSES.get(self.status or ""),
            "heartbeat_at": self.heartbeat,
            "spend_today": self.spend[0],
            "spend_month": Decimal(0),
            "spend_reset_at": self.spend[1],
            "error_streak": self.error_streak,
            "last_error": self.last_error,
            "token_epoch": 0,
        }

    def instance_metadata(self, *, former_name: str | None) -> dict[str, Any]:
        """What the old shape of the agent needs and no column of an instance has (MIG-10)."""
        found = {
            "legacyRole": self.role,
            "legacyStatus": self.status,
            "emoji": self.emoji,
            "workspacePath": self.workspace,
            "armName": former_name if former_name != self.name else None,
            "legacyAgent": self._rest() or None,
        }
        return {name: value for name, value in found.items() if value is not None}

    def template_metadata(self) -> dict[str, Any]:
        """The metadata of a template that is made for the agent."""
        found = {
            "source": "legacy-agent",
            "role": self.role,
            "workspacePath": self.workspace,
            "legacy": self._rest() or None,
            "legacyTable": "agents",
            "legacyId": self.doc.id,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _rest(self) -> dict[str, Any]:
        handled = {"metadata", "tenantId", "projectId", "environmentId", "parentAgentId", "currentTaskId"}
        rest = {name: value for name, value in self.doc.rest().items() if name not in handled}
        own = self.doc.peek("metadata")
        return rest | ({"metadata": own} if own else {})


def _text(doc: Doc, name: str) -> str | None:
    value = doc.take(name)
    return None if value is None else words(name, value)


def _genome(doc: Doc) -> dict[str, Any]:
    own = doc.peek("metadata")
    settings = own if isinstance(own, dict) else {}
    return of_agent(
        model=_optional("metadata.model", settings.get("modelId") or settings.get("model"), words),
        temperature=_optional("metadata.temperature", settings.get("temperature"), number),
        max_tokens=_optional("metadata.maxTokens", settings.get("maxTokens"), whole),
        soul=_text(doc, "soulVersionHash"),
        tools=texts_or_none("allowedTools", doc.take("allowedTools")),
        created=doc.created,
    )


def _optional(name: str, value: Any, read: Any) -> Any:
    return None if value is None else read(name, value)


def _policy(doc: Doc, world: World) -> dict[str, Any]:
    role = doc.peek("role")
    if role == "CEO":
        world.report.note_once(doc.id, "A CEO becomes tier 2, which loosens what Mission Control's runtime allowed it")
    if role is not None and role not in _ROLES:
        world.report.note_once(doc.id, f"The role {role!r} is not known here: its agents get the tier of a SPECIALIST")
    can_spawn = doc.take("canSpawn")
    return {
        "autonomy_tier": _INTERN_TIER if role == "INTERN" else _TIER,
        "allowed_tools": texts_or_none("allowedTools", doc.take("allowedTools")),
        "allowed_task_types": task_types("allowedTaskTypes", doc.take("allowedTaskTypes")),
        "cost_limits": cost_limits(
            dailyUsd=_optional("budgetDaily", doc.take("budgetDaily"), _json_dollars),
            perRunUsd=_optional("budgetPerRun", doc.take("budgetPerRun"), _json_dollars),
        ),
        "spawn_limits": _spawn(can_spawn, doc.take("maxSubAgents")),
    }


def _spawn(can_spawn: Any, most: Any) -> dict[str, Any] | None:
    given = {"canSpawn": _optional("canSpawn", can_spawn, flag), "maxSubAgents": _optional("maxSubAgents", most, whole)}
    return spawn_limits({name: value for name, value in given.items() if value is not None})


def _json_dollars(name: str, value: Any) -> int | float:
    dollars(name, value)
    return value if isinstance(value, int) else float(value)


def _spend(doc: Doc, world: World) -> tuple[Decimal, datetime | None]:
    """What was spent since the last reset. Where the reset is due already: nothing, until the next midnight (MIG-1)."""
    spent = dollars("spendToday", doc.take("spendToday") or 0)
    due = optional_moment("spendResetAt", doc.take("spendResetAt"))
    if spent < 0:
        raise Rejection("spendToday", float(spent), "is less than nothing")
    if due is None or due > world.as_of:
        return spent, due
    local = world.as_of.astimezone(ZoneInfo(world.timezone))
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return Decimal(0), midnight.astimezone(world.as_of.tzinfo)
