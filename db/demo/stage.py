"""One tenant of the demo fleet in the making: its rows, the records of its two logs, and the names to find them by."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from db.base import Model
from db.demo.content import load
from db.enums import ActorType, ChangeRecordType, OpEventType
from db.ids import EPOCH, id_from, milliseconds
from db.logs import ChangeDraft, EventDraft
from db.models import (
    AgentInstance,
    AgentTemplate,
    AgentVersion,
    Deployment,
    Environment,
    Operator,
    PolicyEnvelope,
    Project,
    Run,
    Task,
    ToolCall,
)

T = TypeVar("T", bound=Model)

HEARTBEATS_FROM = timedelta(minutes=9)
"""How far back the demo shows heartbeats; older ones would only be more of the same."""


class PermissionWords(Protocol):
    """One permission of the vocabulary, in words."""

    @property
    def action(self) -> str:
        """The verb."""
        ...

    @property
    def resource(self) -> str:
        """What it is done to."""
        ...

    @property
    def description(self) -> str:
        """What holders may do."""
        ...

    @property
    def category(self) -> str:
        """Heading in forms."""
        ...


class RoleWords(Protocol):
    """A built-in role."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def description(self) -> str:
        """What holders do."""
        ...

    @property
    def permissions(self) -> Iterable[str]:
        """What it allows."""
        ...


class Vocabulary(NamedTuple):
    """The permissions there are and the roles that every tenant has. The database takes both from whoever seeds it:
    what may be allowed is the application's to say, and no list of it is kept here to fall behind."""

    permissions: Sequence[PermissionWords]
    roles: Sequence[RoleWords]


Seal = Callable[[str], str]
"""Encrypts a secret for its column (decision 20); the application has the key."""


class Actor(NamedTuple):
    """Who does something in the story."""

    type: ActorType
    id: UUID | None = None


SYSTEM = Actor(ActorType.SYSTEM)


def actor(row: Operator | AgentInstance | None) -> Actor:
    """The person or the agent as an actor; the gateway itself for nobody."""
    if row is None:
        return SYSTEM
    return Actor(ActorType.HUMAN if isinstance(row, Operator) else ActorType.AGENT, row.id)


def text_of(at: datetime) -> str:
    """A time as JSON has it: UTC, milliseconds."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Stage:
    """One tenant under construction. `now` is the moment at which the story stands; every time is told from there."""

    def __init__(self, slug: str, now: datetime, vocabulary: Vocabulary, seal: Seal) -> None:
        self.slug = slug
        self.now = EPOCH + timedelta(milliseconds=milliseconds(now))
        self.vocabulary = vocabulary
        self.seal = seal
        self.company: dict[str, Any] = load(slug)
        self.kinds: dict[str, Any] = load("kinds")["kinds"]
        self.tools: dict[str, Any] = load("kinds")["tools"]
        self.random = random.Random(f"fleetgraph demo {slug}")
        self.rows: dict[type[Model], list[Any]] = {}
        self.changes: list[ChangeDraft] = []
        self.events: list[EventDraft] = []
        self.tenant_id = self.id(self.ago(self.company["tenant"]["founded"]))

        self.projects: dict[str, Project] = {}
        self.environments: dict[str, Environment] = {}
        self.people: dict[str, Operator] = {}
        self.templates: dict[str, AgentTemplate] = {}
        self.versions: dict[tuple[str, str], AgentVersion] = {}
        self.instances: dict[str, AgentInstance] = {}
        self.envelopes: dict[str, PolicyEnvelope] = {}
        self.deployments: list[Deployment] = []
        self.current_tasks: dict[UUID, UUID] = {}
        """The task that each instance named in its last heartbeat."""
        self.kind_of: dict[UUID, str] = {}
        """The kind of each instance, and of each template."""

    # --- Time and keys ---

    def ago(self, days: float = 0, minutes: float = 0) -> datetime:
        """The moment so long before now, to the millisecond."""
        return self.now - timedelta(milliseconds=round((days * 1440 + minutes) * 60_000))

    def id(self, at: datetime) -> UUID:
        """The next id of that time."""
        return id_from(at, self.random.getrandbits(74))

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self.random.randint(low, high)

    @property
    def quiet(self) -> tuple[datetime, datetime]:
        """When the emergency of the story began and when it ended."""
        emergency = self.company["emergency"]
        return self.ago(emergency["paused"]), self.ago(emergency["resumed"])

    def awake(self, at: datetime) -> datetime:
        """The moment, or as long after the emergency as it lay after its beginning: agents rest while it lasts."""
        began, ended = self.quiet
        return ended + (at - began) / 10 if began <= at <= ended else at

    # --- Rows and records ---

    def add(self, row: T) -> T:
        """Take a row, which has its id, into the tenant."""
        row.tenant_id = self.tenant_id  # type: ignore[attr-defined]
        self.rows.setdefault(type(row), []).append(row)
        return row

    def all(self, table: type[T]) -> list[T]:
        """The rows of a table so far, in the order in which they were taken."""
        return self.rows.get(table, [])

    def change(
        self,
        kind: ChangeRecordType,
        target: Model,
        at: datetime,
        by: Actor,
        summary: str,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        **more: Any,
    ) -> UUID:
        """Record a change; the id is that of the record. `more` are further fields of ChangeDraft."""
        row_id = self.id(at)
        self.changes.append(
            ChangeDraft(
                id=row_id,
                type=kind,
                actor_type=by.type,
                actor_id=by.id,
                target_entity=type(target).__name__,
                target_id=target.id,  # type: ignore[attr-defined]
                before_state=before,
                after_state=after,
                timestamp=at,
                summary=summary,
                **more,
            )
        )
        return row_id

    def event(
        self,
        kind: OpEventType,
        at: datetime,
        *,
        instance: AgentInstance | None = None,
        task: Task | None = None,
        run: Run | None = None,
        call: ToolCall | None = None,
        payload: dict[str, Any] | None = None,
        change: UUID | None = None,
        usd: Decimal | None = None,
        model: str | None = None,
        workflow_run_id: UUID | None = None,
        project_id: UUID | None = None,
    ) -> None:
        """Record telemetry. Each event has its sender's id, as agents give it, so that its row is reproducible."""
        self.events.append(
            EventDraft(
                type=kind,
                timestamp=at,
                instance_id=instance.id if instance else None,
                version_id=instance.version_id if instance else None,
                project_id=instance.project_id if instance else project_id,
                task_id=task.id if task else None,
                run_id=run.id if run else None,
                tool_call_id=call.id if call else None,
                workflow_run_id=workflow_run_id,
                change_record_id=change,
                payload=payload,
                event_id=f"demo-{len(self.events) + 1:06}",
                delta_usd=usd,
                model=model,
            )
        )

    def in_order(self) -> tuple[list[ChangeDraft], list[EventDraft]]:
        """Both logs as they were written: by time, and what happened in one millisecond in the order of the telling."""
        return sorted(self.changes, key=lambda one: one.timestamp), sorted(self.events, key=lambda one: one.timestamp)

    def approvers(self) -> list[Operator]:
        """The active people who may decide on requests, in the order of their arrival."""
        names = {
            person["key"]
            for person in self.company["people"]
            if person.get("status") is None
            and any(one["role"] in {"Admin", "Approver"} and "expired" not in one for one in person["roles"])
        }
        return [operator for key, operator in self.people.items() if key in names]

    def tier(self, kind: str) -> int:
        """The autonomy tier under which agents of the kind work."""
        return int(self.kinds[kind]["tier"])

    def settings(self, name: str) -> Mapping[str, Any]:
        """A section of the company's file."""
        found: Mapping[str, Any] = self.company[name]
        return found
