"""What a command is: a function, the permission that it needs, the journal that it writes, and what it may answer."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from app.auth.actor import Actor, ActorKind
from app.auth.permissions import check_permissions
from db.base import JsonObject, Model
from db.enums import ChangeRecordType, OpEventType


class Refusal(enum.StrEnum):
    """What the domain refuses: the codes of `userErrors` (decision 32)."""

    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    DUPLICATE_RESOURCE = "DUPLICATE_RESOURCE"
    INVALID_STATE_TRANSITION = "INVALID_STATE_TRANSITION"
    DEPENDENCY_NOT_MET = "DEPENDENCY_NOT_MET"
    INTEGRITY_VIOLATION = "INTEGRITY_VIOLATION"
    VALIDATION_ERROR = "VALIDATION_ERROR"


@dataclass(frozen=True)
class Refused:
    """A refusal: it changes nothing but the journals, and commits those."""

    code: Refusal
    message: str
    field: str | None = None
    """Input field (as in Python) that is to blame."""
    allowed: tuple[str, ...] | None = None
    """For transitions: the targets that are legal for this actor (SM-2)."""
    keeps: bool = False
    """Whether what the command changed stays, such as the containment that goes with the refusal (RUN-2). Otherwise a
    command that refuses has changed nothing but the security journal, and the unit of work sees to that."""


@dataclass
class Done:
    """A success: the row, the id of the command's own change record, and what else the payload shows."""

    row: Model | None
    extras: JsonObject = field(default_factory=dict)
    """Plain JSON values by payload field; ids as text."""
    change_id: UUID | None = None
    row_id: UUID | None = None
    """Set where a replay knows the row by its id alone."""
    is_replay: bool = False
    """An idempotency key that was used before brought this back; nothing was done."""
    unkept: JsonObject = field(default_factory=dict)
    """Further fields of the payload that are not kept with an idempotency key, such as personal data: a replay has
    null in their place."""
    left: Mapping[tuple[str, UUID], Mapping[str, Any]] = field(default_factory=dict)
    """Rows as the command left them, by type and id, as far as it knows; what is not among their columns is read."""
    refused: list[Refused] = field(default_factory=list)
    """Parts of the input that were refused while the others were done."""


Journal: TypeAlias = ChangeRecordType | OpEventType | str
"""Where a command leaves its one row: a change type, an op event type, or an audit action (decision 1)."""
GIVEN_EVENTS: Final = "OP_EVENTS"
"""The journal of a command that is given op events: those that it takes, of whatever type."""
Body: TypeAlias = Callable[..., Awaitable["Model | Done | Refused"]]
B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Command:
    """A declared command."""

    name: str
    function: Body
    permission: str
    journal: Journal
    callers: frozenset[ActorKind]
    is_sensitive: bool
    or_permission: str | None = None
    on_platform: bool = False
    own: str | None = None
    mostly_brief: Callable[[Mapping[str, Any]], bool] | None = None

    @property
    def permissions(self) -> tuple[str, ...]:
        """Those of which one lets a caller in; what else the input needs, the command itself asks for."""
        return (self.permission,) if self.or_permission is None else (self.permission, self.or_permission)

    @property
    def summary(self) -> str:
        """First paragraph of the docstring: the rule and what it does."""
        return (self.function.__doc__ or "").strip().split("\n\n")[0]

    def admits(self, actor: Actor, arguments: Mapping[str, Any]) -> bool:
        """Whether this caller may try: the scope is looked at later, by the command itself (`UnitOfWork.permit`)."""
        if actor.kind not in self.callers:
            return False
        return any(map(actor.can, self.permissions)) or (self.own is not None and arguments.get(self.own) == actor.id)

    def is_brief(self, arguments: Mapping[str, Any]) -> bool:
        """Whether to try it with a single statement that writes (db/brief.py)."""
        return self.mostly_brief is not None and self.mostly_brief(arguments)


COMMANDS: Final[dict[str, Command]] = {}
"""Every command by name; `docs/journal.md` is made of it."""


def command(
    permission: str,
    journal: Journal,
    *,
    callers: tuple[ActorKind, ...] = (ActorKind.OPERATOR,),
    is_sensitive: bool = False,
    or_permission: str | None = None,
    on_platform: bool = False,
    own: str | None = None,
    mostly_brief: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Callable[[B], B]:
    """Declare a command. `is_sensitive`: each use is noted in the security journal, granted ones too (AUD-1).

    `or_permission` is another permission that lets a caller in, where it depends on the input which one is needed.
    `own` names the argument that, where it is the caller's own id, takes the permission's place. `on_platform`: it runs
    outside of row-level security, and says itself which tenant it writes to (`UnitOfWork.enter`). `mostly_brief` says
    with which arguments it mostly changes one row and records that, or reads and then leaves one journal: then it is
    tried without a transaction first, and what turns out to need one is done again from the start.
    """
    check_permissions([permission, *([or_permission] if or_permission else [])])
    if on_platform and mostly_brief is not None:
        raise ValueError("What runs on the platform's connections is never brief.")

    def declare(function: B) -> B:
        name = function.__name__
        if name in COMMANDS:
            raise ValueError(f"The command {name} is declared twice.")
        COMMANDS[name] = Command(
            name,
            function,
            permission,
            journal,
            frozenset(callers),
            is_sensitive,
            or_permission,
            on_platform,
            own,
            mostly_brief,
        )
        return function

    return declare
