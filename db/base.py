"""What all tables share: keys, tenancy, kinds of column, and the names of constraints.

A table reads as its domain does; what follows from a declaration is added here, once:

- a tenant's row has the primary key (tenant_id, id), and every reference is the composite
  (tenant_id, x_id) -> (tenant_id, id), so that a row that points into another tenant cannot exist;
- every reference has an index that also pages: (tenant_id, x_id, id);
- an enum is text with a check; the longest lists, and hashes, are checked by a domain;
- a column's `doc` is its description in the GraphQL schema.
"""

import enum
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, TypeAlias
from uuid import UUID

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOMAIN, JSONB, TIMESTAMP
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from db.enums import ENUMERATIONS, ChangeRecordType
from db.ids import created_at, new_id
from db.version import SCHEMA

JsonObject: TypeAlias = dict[str, Any]
"""An open JSON object, or one whose keys a GraphQL type names (decision 18)."""
JsonObjects: TypeAlias = list[dict[str, Any]]
"""A JSON list of objects."""
Json: TypeAlias = Any
"""Any JSON value."""

Timestamp = TIMESTAMP(timezone=True, precision=3)
Money = Numeric(20, 10)
PlainText = Text()
SortedText = Text(collation="C")
"""Text that is ordered, or found by its beginning: the same order on every machine and version of Postgres."""

name_text = Annotated[str, mapped_column(SortedText)]
big_int = Annotated[int, mapped_column(BigInteger)]
money = Annotated[Decimal, mapped_column(Money)]
json_object = Annotated[JsonObject, mapped_column(JSONB(none_as_null=True))]
json_list = Annotated[JsonObjects, mapped_column(JSONB(none_as_null=True))]
json_any = Annotated[Any, mapped_column(JSONB(none_as_null=True))]

CONSTRAINT_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


ENTITY_NAMES = (
    *("Tenant", "Project", "Environment", "Operator", "OrgMember", "Provider"),
    *("AgentTemplate", "AgentVersion", "AgentInstance", "AgentIdentity"),
    *("PolicyEnvelope", "ApprovalRecord", "Deployment", "Role", "RoleAssignment", "Permission"),
    *("ChangeRecord", "OpEvent", "AuditLog"),
    *("Task", "Message", "Run", "ToolCall", "ExecutionRequest", "TaskDependency", "Review"),
    *("AgentPerformance", "AgentPattern", "AgentDocument"),
    *("TelegraphThread", "TelegraphMessage", "Meeting", "VoiceArtifact"),
    *("Workflow", "WorkflowRun"),
    *("EvaluationSuite", "EvaluationRun", "EvaluationMetric", "CustomScoringFunction"),
    *("NotificationEvent", "Notification", "NotificationPreference"),
    *("FeatureFlag", "Experiment", "ExperimentAssignment", "ExperimentEvent", "Alert", "OperatorControl", "SavedView"),
    *("WatchSubscription", "Webhook", "WebhookDelivery", "ThreadSubscription", "OrgAssignment", "Capture"),
)
"""The GraphQL type names of the 55 tables, a line a domain: what a polymorphic `*_entity` column may hold."""


class EnumText(TypeDecorator[enum.StrEnum]):
    """A StrEnum stored as text. Its check constraint is made with the table."""

    impl = Text
    cache_ok = True

    def __init__(self, enumeration: type[enum.StrEnum]) -> None:
        super().__init__()
        self.enumeration = enumeration
        self._members: dict[str, enum.StrEnum] = {member.value: member for member in enumeration}

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text to store; a value that the enumeration lacks raises ValueError."""
        return None if value is None else str(value if type(value) is self.enumeration else self.enumeration(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> enum.StrEnum | None:
        """The member of the stored text."""
        return None if value is None else self._members[value]


class Model(DeclarativeBase):
    """Base of every mapped class."""

    metadata = MetaData(naming_convention=CONSTRAINT_NAMES)
    type_annotation_map: ClassVar[dict[Any, TypeEngine[Any]]] = {
        UUID: Uuid(),
        str: PlainText,
        bool: Boolean(),
        int: Integer(),
        float: Double(),
        datetime: Timestamp,
        list[str]: ARRAY(Text()),
        **{one: EnumText(one) for one in ENUMERATIONS},
        **{list[one]: ARRAY(EnumText(one)) for one in ENUMERATIONS},  # type: ignore[valid-type]
    }


def _created_with_id(context: DefaultExecutionContext) -> datetime:
    return created_at(context.get_current_parameters()["id"])  # type: ignore[no-untyped-call]


class Row:
    """A row of its own: an id that sorts by creation, and the time that the id carries."""

    id: Mapped[UUID] = mapped_column(
        primary_key=True,
        default=lambda: new_id(),
        sort_order=-100,
        doc="Global id: a type prefix and the row's UUIDv7, so ids sort by creation.",
    )
    created_at: Mapped[datetime] = mapped_column(
        default=_created_with_id,
        sort_order=900,
        doc="When the row was made (UTC, milliseconds); an imported row keeps the time of its original.",
    )


class TenantScoped(Row):
    """A row that belongs to exactly one tenant."""

    tenant_id: Mapped[UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="RESTRICT"),
        primary_key=True,
        sort_order=-110,
        doc="The tenant that owns the row.",
    )


class Changing:
    """A row that changes after it was made."""

    updated_at: Mapped[datetime] = mapped_column(
        default=_created_with_id,
        onupdate=func.now(),
        sort_order=901,
        doc="When the row last changed (UTC, milliseconds).",
    )


class Noted:
    """A row with room for what no column names."""

    metadata_: Mapped[json_object | None] = mapped_column(
        "metadata", sort_order=899, doc="Open notes of whoever made the row; an import keeps here what no column holds."
    )


class Association:
    """A list of keys as a table, in the order of `position` (decision 12): no type of its own in the graph."""

    tenant_id: Mapped[UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="RESTRICT"), primary_key=True, sort_order=-110
    )
    position: Mapped[int] = mapped_column(default=0, server_default=text("0"), sort_order=900)


def column(doc: str, *, default: Any = None, range: tuple[int, int] | None = None, **options: Any) -> Any:
    """A column with its description.

    `default` is the server's too, so that COPY and plain SQL may leave the column out.
    `range` becomes a check, both ends included.
    """
    if default is not None:
        options["default"] = default
        options["server_default"] = text(_literal(default() if callable(default) else default))
    return mapped_column(doc=doc, info={} if range is None else {"range": range}, **options)


def _literal(value: Any) -> str:
    match value:
        case bool() | int() | float() | Decimal():
            return str(value).lower()
        case dict():
            return f"'{orjson.dumps(value).decode()}'::jsonb"
        case []:
            return "'{}'"
        case str():
            return f"'{value}'"
    raise TypeError(f"No SQL literal for the default {value!r}.")


def reference(table: str, doc: str, /, *, on_delete: str = "RESTRICT", constrained: bool = True, **options: Any) -> Any:
    """A key of another row of the same tenant: composite foreign key and paging index come with the table.

    `constrained=False` leaves the foreign key out, for op_events (decision 5).
    """
    info = {"references": table, "on_delete": on_delete, "constrained": constrained}
    return mapped_column(Uuid(), doc=doc, info=info, **options)


def entity(doc: str, **options: Any) -> Any:
    """The type half of a reference to a row of any table: a GraphQL type name, checked (decision 13)."""
    return mapped_column(PlainText, doc=doc, info={"one_of": ENTITY_NAMES}, **options)


def index(*columns: str, unique: bool = False, where: Any = None) -> Index:
    """An index that filters by `columns` within a tenant and pages by id behind them.

    A unique one holds the columns alone. The GraphQL filter and order of a type are derived from these.
    """
    names = ("tenant_id", *columns) if unique else ("tenant_id", *columns, "id")
    return Index(None, *names, unique=unique, postgresql_where=where)


def contains_index(name: str) -> Index:
    """An index for «the list has this entry»."""
    return Index(None, name, postgresql_using="gin")


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_DOMAINS = {
    "entity_name": f"VALUE IN ({_listed(ENTITY_NAMES)})",
    "change_record_type": f"VALUE IN ({_listed(ChangeRecordType)})",
    # Not `^[0-9a-f]{64}$`: the automaton that counts to 64 is built anew for every text.
    "sha256": "octet_length(VALUE) = 64 AND VALUE !~ '[^0-9a-f]'",
}
"""What checks refer to instead of spelling it out.

Postgres reads the checks of a table anew for every statement that writes to it, but those of a domain once a session;
for a change record, the former was a tenth of all that Postgres did. The columns themselves are text, since clients
take a domain for a type that they do not know.
"""
for _name, _check in _DOMAINS.items():
    DOMAIN(_name, Text(), check=_check, constraint_name=_name, schema=SCHEMA, metadata=Model.metadata)
_LISTS = {tuple(ENTITY_NAMES): "entity_name", tuple(ChangeRecordType): "change_record_type"}


def in_domain(domain: str, *columns: str, nullable: bool = False) -> str:
    """The condition that these columns are in a domain; where they are not, the error names the domain."""
    condition = "{0} = {0}::{1}" if nullable else "{0}::{1} IS NOT NULL"  # of which the latter is the shorter to read
    return " AND ".join(condition.format(one, f"{SCHEMA}.{domain}") for one in columns)


def _is_one_of(one: Column[Any], values: Iterable[str]) -> str:
    domain = _LISTS.get(tuple(values))
    if domain is None:
        return f"{one.name} IN ({_listed(values)})"
    return in_domain(domain, one.name, nullable=bool(one.nullable))


def _checks(table: Table) -> list[CheckConstraint]:
    checks = []
    for one in table.columns:
        if isinstance(one.type, EnumText):
            checks.append(CheckConstraint(_is_one_of(one, one.type.enumeration), name=one.name))
        elif isinstance(one.type, ARRAY) and isinstance(one.type.item_type, EnumText):
            members = _listed(one.type.item_type.enumeration)
            checks.append(CheckConstraint(f"{one.name} <@ ARRAY[{members}]", name=one.name))
        elif "one_of" in one.info:
            checks.append(CheckConstraint(_is_one_of(one, one.info["one_of"]), name=one.name))
        elif "range" in one.info:
            low, high = one.info["range"]
            checks.append(CheckConstraint(f"{one.name} BETWEEN {low} AND {high}", name=one.name))
    return checks


@event.listens_for(Table, "after_parent_attach")
def _complete(table: Table, metadata: MetaData) -> None:
    """Add what follows from a table's columns: references with their indexes, and checks."""
    keys: list[Index | PrimaryKeyConstraint] = [table.primary_key]
    keys += [i for i in table.indexes if not i.unique and i.dialect_options["postgresql"]["where"] is None]
    indexed = {tuple(c.name for c in key.columns)[:2] for key in keys}
    for one in list(table.columns):
        target = one.info.get("references")
        if target is None:
            continue
        if one.info["constrained"]:
            table.append_constraint(
                ForeignKeyConstraint(
                    ["tenant_id", one.name], [f"{target}.tenant_id", f"{target}.id"], ondelete=one.info["on_delete"]
                )
            )
        if ("tenant_id", one.name) not in indexed:
            # Most op events leave most of their references out; the index then has no entry for them.
            sparse = None if one.info["constrained"] or not one.nullable else one.is_not(None)
            page = [table.c.id] if "id" in table.columns else []
            Index(None, table.c.tenant_id, one, *page, postgresql_where=sparse)
    for check in _checks(table):
        table.append_constraint(check)
