"""What the kit knows of the domains once they have declared themselves: entities by name, and the types made for them.

Types refer to each other by name, in both directions; names are looked up when the schema is built, so no module
imports a later domain.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import Column, Table
from strawberry.types.lazy_type import LazyType

if TYPE_CHECKING:
    from app.auth.actor import Actor
    from app.graph.hiding import Hiding

Source: TypeAlias = Any
"""The run-time value of an object: a row, an object out of a JSON column, a page."""


@dataclass(frozen=True)
class ToOne:
    """A row's key of one other row."""

    column: str
    target: str


@dataclass(frozen=True)
class ToMany:
    """The rows whose key column names this one; `fixed` are further columns with one value, for polymorphic keys."""

    key: str
    target: str
    fixed: tuple[tuple[str, str], ...] = ()
    description: str = ""


@dataclass(frozen=True)
class Through:
    """The rows that an association table links to this one; in the order of its position where they are a list."""

    association: Table
    near: str
    far: str
    target: str
    as_list: bool
    description: str = ""


@dataclass(frozen=True)
class PointsTo:
    """A row of any type: its type's name in one column, its key in the other.

    `names` maps what the first column says to a type, where that is not the type's name itself; a value that it lacks
    points nowhere.
    """

    entity_column: str
    id_column: str
    names: Mapping[str, str] | None = None

    def __hash__(self) -> int:
        return hash((self.entity_column, self.id_column))


Relation: TypeAlias = ToOne | ToMany | Through | PointsTo


@dataclass(frozen=True)
class Mask:
    """A column whose value is shown in full only to holders of `permission`, and to the person the row stands for."""

    show: Callable[[Any], Any]
    permission: str


@dataclass(frozen=True)
class Private:
    """Whose rows of a type are: nobody else is given them, whichever way they are asked for (NOT-6, WATCH-1)."""

    owners: tuple[str, ...]
    """The keys of which one names the owner."""
    shared: str | None = None
    """The column that says whether others see the row as well; without it nobody ever does."""


@dataclass(frozen=True, eq=False)
class EntityType:
    """One of the types of the graph that stand for a table."""

    name: str
    prefix: str
    table: Table
    cls: type
    columns: Mapping[str, Column[Any]]
    """Field name (as in Python) -> column, `id` not among them."""
    relations: Mapping[str, Relation]
    masks: Mapping[str, Mask]
    hidden: frozenset[str]
    clock: str
    """The column whose time the row's id carries, so that its ranges are ranges of ids."""
    project: str | None
    environment: str | None
    own: str | None
    """The columns that a scope of projects, of environments, or of an agent's own rows looks at (decision 29)."""
    default_hours: int | None
    """A list without a condition on the clock goes back this many hours only (decision 9)."""
    private: Private | None = None
    """Whose the rows are, where they are somebody's own."""
    personal: Mapping[str, str] = field(default_factory=dict)
    """Field name (as in Python) -> permission: what holders of it see alike, and others by whether it is theirs."""
    hiding: Hiding | None = None
    """Which values its rows hide, and from whom."""
    hideable: frozenset[str] = frozenset()
    """The columns whose values may be hidden."""
    row: type = field(init=False)

    def __post_init__(self) -> None:
        names = [column.name for column in self.table.columns]
        row = dataclasses.make_dataclass(
            f"{self.name}Row", names, slots=True, eq=False, namespace={"type_name": self.name}
        )
        object.__setattr__(self, "row", row)

    def personal_to(self, actor: Actor) -> set[str]:
        """The fields (as in Python) whose values depend on who asks, beside what such a caller may do."""
        found = {name for name, permission in self.personal.items() if not actor.can(permission)}
        return found | self.hideable if self.hiding is not None and self.hiding.tells_apart(actor) else found

    @property
    def plural(self) -> str:
        """The name of the list's root field: the table's own."""
        return camel(self.table.name)

    @property
    def singular(self) -> str:
        """The name of the root field of one row."""
        name = self.name[0].lower() + self.name[1:]
        return f"{name}ById" if name == self.plural else name


ENTITIES: Final[dict[str, EntityType]] = {}
"""Every entity by type name, in the order of declaration."""
PREFIXES: Final[dict[str, EntityType]] = {}
"""Every entity by the prefix of its global ids."""
TYPES: Final[dict[str, type]] = {}
"""Every type of the kit by its GraphQL name."""


def register(entity: EntityType) -> None:
    """Make an entity known. Two with one name or one prefix are a mistake in the code."""
    if entity.name in ENTITIES or entity.prefix in PREFIXES:
        raise ValueError(f"{entity.name} ({entity.prefix}) is declared twice.")
    ENTITIES[entity.name] = entity
    PREFIXES[entity.prefix] = entity
    TYPES[entity.name] = entity.cls


@dataclass(frozen=True)
class Named(LazyType[Any, Any]):
    """A type by its GraphQL name, looked up when the schema is built."""

    module: str = ""

    def resolve_type(self) -> type[Any]:
        """The type; KeyError where nobody declared it."""
        return TYPES[self.type_name]


@lru_cache(maxsize=4_096)
def camel(name: str) -> str:
    """`heartbeat_at` -> `heartbeatAt`: the one rule that makes API names of Python names."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def snake(name: str) -> str:
    """`heartbeatAt` -> `heartbeat_at`."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def row_key(value: Any) -> UUID | None:
    """A key as UUID, whether a column or a JSON object holds it; None for a text that is none, as old imports keep."""
    if value is None or isinstance(value, UUID):
        return value
    try:
        return UUID(str(value))
    except ValueError:
        return None
