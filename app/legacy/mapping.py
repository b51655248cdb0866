"""How a table of the snapshot becomes a table of the schema: a column takes the field of its own name, and a mapping
lists what differs (MIG-8).

    MESSAGES = Mapping("messages", Message, {"author_operator_id": person("authorUserId")})

says everything about messages that their names do not. A field that no column took is kept under `metadata.legacy`;
where the table has no metadata, the report names it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from sqlalchemy import Column, Table
from sqlalchemy.dialects.postgresql import JSONB

from app.legacy.document import Doc, Rejection, as_column, items, mapping, optional_moment
from app.legacy.keys import ENTITY_OF_TABLE, row_id
from app.legacy.shapes import SHAPES
from app.legacy.world import World
from db.base import Model

Rule: TypeAlias = Callable[[Doc, World], Any]
"""Gives a column's value for a document. Raises Rejection where there can be none."""
Row: TypeAlias = dict[str, Any]
"""The values of a new row by column name."""

_WORD: Final = re.compile(r"_([a-z])")
_OWN: Final = frozenset({"id", "tenant_id", "created_at", "updated_at", "metadata"})


def table_of(model: type[Model]) -> Table:
    """The table behind a model."""
    return cast(Table, model.__table__)


def camel(name: str) -> str:
    """`created_by` as the snapshot writes it: `createdBy`."""
    return _WORD.sub(lambda found: found[1].upper(), name)


# --- Rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Renamed:
    """The column's kind decides how, these fields decide what: the first that is there is taken."""

    fields: tuple[str, ...]


def renamed(*fields: str) -> Renamed:
    """The value of the first of these fields that is there, in the way of the column's kind."""
    return Renamed(fields)


def constant(value: Any) -> Rule:
    """The same value for every row."""
    return lambda doc, world: value


def key(entity: str, *fields: str) -> Rule:
    """The row of this type that the first of these fields refers to (MIG-0c: to nothing is a rejection)."""

    def rule(doc: Doc, world: World) -> UUID | None:
        value = doc.take(*fields)
        return None if value is None else world.keys.need(entity, _present(doc, fields), value)

    return rule


def instance(*fields: str) -> Rule:
    """The instance that the first of these fields refers to, by its own id or by its agent's (MIG-8)."""
    return key("AgentInstance", *fields)


def person(*fields: str) -> Rule:
    """The operator that a text names by id, e-mail or subject; else nothing, and the text stays in the metadata
    (decision 13)."""

    def rule(doc: Doc, world: World) -> UUID | None:
        for name in fields:
            value = doc.peek(name)
            if isinstance(value, str) and (found := world.operator(value)) is not None:
                doc.take(name)
                return found
        return None

    return rule


def project_of_work(*, required: bool = False) -> Rule:
    """The row's project; else that of its task or its instance; else, where one is required or nothing else is known,
    the tenant's default project (MIG-0c, MIG-0e)."""

    def rule(doc: Doc, world: World) -> UUID | None:
        value = doc.take("projectId")
        if value is not None:
            return world.keys.need("Project", "projectId", value)
        task = world.keys.find("Task", doc.peek("taskId"))
        agent = world.keys.find("AgentInstance", doc.peek("instanceId") or doc.peek("agentId"))
        derived = world.facts.task_project.get(task) if task else None
        derived = derived or (world.facts.instance_project.get(agent) if agent else None)
        return derived or world.default_project(doc)

    return rule


def at(*fields: str) -> Rule:
    """The time in the first of these fields, else the document's own."""

    def rule(doc: Doc, world: World) -> Any:
        return optional_moment(fields[0], doc.take(*fields)) or doc.created

    return rule


def _present(doc: Doc, fields: Sequence[str]) -> str:
    return next((name for name in fields if doc.values.get(name) is not None), fields[0])


# --- Mappings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Later:
    """A reference that is set when all rows are there: to a row of the same table, or of a later one."""

    column: str
    entity: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """A list of keys that becomes a table with positions (decision 12)."""

    model: type[Model]
    owner: str
    """Column that refers to the row itself."""
    other: str
    """Column that refers to the listed row."""
    keys: Callable[[Doc, World], Sequence[UUID]]


@dataclass(frozen=True)
class Mapped:
    """A document on its way: its row, the rows of its lists, and the references to be set later."""

    doc: Doc
    row: Row
    listed: tuple[tuple[Table, Row], ...] = ()
    later: tuple[tuple[str, str, str, str], ...] = ()
    """(column, entity, field, legacy id) of each."""


@dataclass(frozen=True)
class Mapping:
    """A table of the snapshot and the table that it becomes."""

    table: str
    model: type[Model]
    rules: ReadOnly[str, Rule | Renamed] = field(default_factory=dict)
    """What differs from "the field of the column's own name", by column."""
    listed: tuple[Listed, ...] = ()
    later: tuple[Later, ...] = ()
    more: Callable[[Doc, World], ReadOnly[str, Any]] | None = None
    """More entries of the metadata."""
    natural: tuple[str, ...] = ()
    """Columns by which a row that the tenant has already is the same: the document is joined to it, and it stays."""
    own_created: bool = False
    """Whether the document has a `createdAt` of its own that counts."""
    skip: Callable[[Doc, World], str | None] = lambda doc, world: None
    """Why a document is left out on purpose, for the report."""

    @property
    def entity(self) -> str:
        """The GraphQL type of the rows."""
        return self.model.__name__

    @property
    def target(self) -> Table:
        """The table of the rows."""
        return table_of(self.model)

    @cached_property
    def columns(self) -> list[tuple[Column[Any], Rule, Callable[[str, Any], Any] | None]]:
        """Every column of the table's own, with its rule and, for JSON, what its value has to be."""
        later = {one.column for one in self.later}
        unknown = (set(self.rules) | later) - {column.name for column in self.target.columns}
        if unknown:
            raise TypeError(f"{self.target.name} has no columns {', '.join(sorted(unknown))}.")
        return [
            (column, self._rule(column), self._fit(column))
            for column in self.target.columns
            if column.name not in _OWN and column.name not in later
        ]

    def _rule(self, column: Column[Any]) -> Rule:
        given = self.rules.get(column.name)
        if given is not None and not isinstance(given, Renamed):
            return given
        fields = given.fields if given else (camel(column.name),)
        target = column.info.get("references")
        if target is None:
            return lambda doc, world: as_column(column, _present(doc, fields), doc.take(*fields))
        if target == "operators" and column.name.endswith("_operator_id"):
            return person(*(name.removesuffix("OperatorId") for name in fields), *fields)
        if given is None and target == "agent_instances":
            fields = (fields[0], _agent(fields[0]))
        return key(ENTITY_OF_TABLE[target], *fields)

    def _fit(self, column: Column[Any]) -> Callable[[str, Any], Any] | None:
        """What a JSON column's value has to be; None for other columns, and for any JSON."""
        if not isinstance(column.type, JSONB):
            return None
        shape = SHAPES.get((self.target.name, column.name))
        if shape is not None:
            return shape.fit
        annotation = str(self.model.__annotations__.get(column.key, ""))
        return items if "list[" in annotation else mapping if "dict[" in annotation else None

    def map(self, doc: Doc, world: World) -> Mapped:
        """The row of a document. Raises Rejection."""
        row: Row = {"id": row_id(world.tenant_id, self.table, doc.id, doc.created), "tenant_id": world.tenant_id}
        unfit: dict[str, Any] = {}
        for column, rule, fit in self.columns:
            value = rule(doc, world)
            if value is not None and fit is not None:
                value = self._fitted(column, fit, value, doc, world, unfit)
            if value is None:
                value = _default(column)
            if value is None and not column.nullable:
                name = camel(column.name.removesuffix("_operator_id")) or column.name
                raise Rejection(name, doc.values.get(name), "is required, and absent or unknown")
            row[column.name] = value
        later = tuple(self._later(doc, world))
        for one in self.later:
            row[one.column] = None
        listed = tuple(self._listed(row["id"], doc, world))
        self._stamp(row, doc, world)
        if unfit and "metadata" in row:
            row["metadata"]["legacy"] = row["metadata"].get("legacy", {}) | unfit
        return Mapped(doc, row, listed, later)

    def _fitted(
        self,
        column: Column[Any],
        fit: Callable[[str, Any], Any],
        value: Any,
        doc: Doc,
        world: World,
        unfit: dict[str, Any],
    ) -> Any:
        """The value in the shape that the graph shows. One that does not fit is kept aside where the column may be
        empty, and reported; else it is a rejection."""
        name = camel(column.name)
        try:
            return fit(name, value)
        except Rejection as rejection:
            if not column.nullable:
                raise
            unfit[name] = value
            world.report.reject(doc.table, doc.id, rejection.field, rejection.value, rejection.reason, row_kept=True)
            return None

    def _stamp(self, row: Row, doc: Doc, world: World) -> None:
        """The columns that every table has: times (MIG-0d) and metadata (MIG-0a)."""
        columns = self.target.columns
        own = optional_moment("createdAt", doc.take("createdAt")) if self.own_created else None
        row["created_at"] = own or doc.created
        if "updated_at" in columns and "updated_at" not in row:
            row["updated_at"] = optional_moment("updatedAt", doc.take("updatedAt")) or row["created_at"]
        doc.take("tenantId", "projectId" if "project_id" in columns else "tenantId")
        if "metadata" in columns:
            row["metadata"] = metadata_of(doc, self.more(doc, world) if self.more else {})
            return
        for name in doc.rest():
            world.report.table(self.table).lose(name)

    def _later(self, doc: Doc, world: World) -> Iterable[tuple[str, str, str, str]]:
        for one in self.later:
            value = doc.take(*one.fields)
            if value is None:
                continue
            name = _present(doc, one.fields)
            if not isinstance(value, str) or not world.will_have(one.entity, value):
                raise Rejection(name, value, world.keys.why_not(one.entity, value))
            yield one.column, one.entity, name, value

    def _listed(self, own: UUID, doc: Doc, world: World) -> Iterable[tuple[Table, Row]]:
        for one in self.listed:
            for position, other in enumerate(dict.fromkeys(one.keys(doc, world))):
                row = {"tenant_id": world.tenant_id, one.owner: own, one.other: other, "position": position}
                yield table_of(one.model), row


def metadata_of(doc: Doc, extra: ReadOnly[str, Any]) -> dict[str, Any]:
    """The metadata of an imported row: its own, where it came from, and what no column took (MIG-0a)."""
    own = doc.take("metadata")
    found = dict(own) if isinstance(own, dict) else {} if own is None else {"legacyMetadata": own}
    found |= extra
    found |= {"legacyTable": doc.table, "legacyId": doc.id}
    rest = doc.rest()
    if rest:
        found["legacy"] = rest
    return found


def keys_in(entity: str, *fields: str) -> Callable[[Doc, World], list[UUID]]:
    """The rows that a list of ids refers to, in its order."""

    def listed(doc: Doc, world: World) -> list[UUID]:
        value = doc.take(*fields)
        name = _present(doc, fields)
        return [world.keys.need(entity, name, one) for one in items(name, value or [])]

    return listed


def _default(column: Column[Any]) -> Any:
    if column.default is None:
        return None
    if column.default.is_scalar:
        return column.default.arg  # type: ignore[attr-defined]
    return column.default.arg(None) if column.default.is_callable else None  # type: ignore[attr-defined]


def _agent(name: str) -> str:
    """`authorAgentId` for `authorInstanceId`: the field that held the agent before there were instances (MIG-8)."""
    return "agentId" if name == "instanceId" else name.replace("InstanceId", "AgentId")
