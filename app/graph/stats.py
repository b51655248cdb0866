"""Figures of a table: counted, added up and grouped by the database, one statement a field.

    TASK_STATS = stats(
        Task,
        "task_stats",
        "Tasks by status, kind, project …: how many, what they cost.",
        keys=(column_key("status"), related_key("project", "project_id", "Project"), …),
        times=("created_at", "completed_at"),
        measures=(count("How many tasks."), total("actual_cost_usd", "actual_cost", "US dollars spent on them."), …),
    )

A field of this kind takes the list's own filter, so that a figure and the list behind it never differ, and what to
group by: any of its keys, and spans of time. It counts the rows that a list would show its caller.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import strawberry
from sqlalchemy import Column, ColumnElement, FromClause, Table, and_, cast, func, nulls_last, select
from sqlalchemy import Text as SqlText
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from app.auth.permissions import READ_PERMISSION
from app.graph.context import Info, context_of
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import GraphField, argument, described_enum, graph_field, list_of, optional
from app.graph.filtering import filter_type
from app.graph.making import create_type
from app.graph.pricing import LIST_SIZE
from app.graph.registry import ENTITIES, TYPES, EntityType, Named, camel
from db.base import EnumText

MOST_GROUPS: Final = 1_000
"""Groups of one answer; more are an error, never a silent cut."""
USUAL_GROUPS: Final = 50
"""What one such field counts towards an operation's cost."""
_BUCKET: Final = "period"

Expression = Callable[[Table], ColumnElement[Any]]


class TimeBucket(enum.StrEnum):
    """How long a span of time is that rows are gathered into; weeks begin on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


TIME_BUCKET: Final = described_enum(TimeBucket)


@dataclass(frozen=True)
class Key:
    """Something to group by: a field of the figures and a value of their enum."""

    name: str
    annotation: Any
    description: str
    column: Expression
    entity: str | None = None
    """The type that the key is an id of."""
    join: Callable[[Table], tuple[FromClause, ColumnElement[bool]]] | None = None
    """A further table that the key comes from, and how it hangs on the first."""
    load: Callable[[Any], Any] = lambda value: value


@dataclass(frozen=True)
class Measure:
    """A figure of each group."""

    name: str
    annotation: Any
    description: str
    expression: Expression


def column_key(column: str, description: str, name: str | None = None) -> Callable[[Table], Key]:
    """Group by a column's value, shown as it is."""

    def make(table: Table) -> Key:
        found = table.c[column]
        return Key(name or column, optional(_scalar(found)), description, lambda own: own.c[column], load=_plain)

    return make


def related_key(
    name: str,
    column: str,
    entity: str,
    description: str,
    *,
    through: tuple[Table, str, str] | None = None,
) -> Callable[[Table], Key]:
    """Group by a row that a key column names.

    `through` is (table, its column, own column): the key column is that table's, whose row the own column leads to.
    """

    def make(_table: Table) -> Key:
        if through is None:
            return Key(name, optional(Named(entity)), description, lambda own: own.c[column], entity)
        other, far, near = through

        def join(own: Table) -> tuple[FromClause, ColumnElement[bool]]:
            return other, and_(other.c.tenant_id == own.c.tenant_id, other.c[far] == own.c[near])

        return Key(name, optional(Named(entity)), description, lambda _own: other.c[column], entity, join)

    return make


def through_key(name: str, other: Table, far: str, near: str, column: str, description: str) -> Callable[[Table], Key]:
    """Group by a column of the row that the own column `near` leads to by the other table's `far`."""

    def make(_table: Table) -> Key:
        def join(own: Table) -> tuple[FromClause, ColumnElement[bool]]:
            return other, and_(other.c.tenant_id == own.c.tenant_id, other.c[far] == own.c[near])

        return Key(
            name,
            optional(_scalar(other.c[column])),
            description,
            lambda _own: other.c[column],
            join=join,
            load=_plain,
        )

    return make


def count(description: str, name: str = "count", where: Expression | None = None) -> Measure:
    """How many rows, or how many of them meet a condition."""

    def expression(table: Table) -> ColumnElement[Any]:
        return func.count() if where is None else func.count().filter(where(table))

    return Measure(name, int, description, expression)


def total(name: str, column: str, description: str, annotation: Any = float) -> Measure:
    """A column added up; 0 where there is nothing to add."""
    return Measure(name, annotation, description, lambda table: func.coalesce(func.sum(table.c[column]), 0))


def computed_measure(name: str, annotation: Any, description: str, expression: Expression) -> Measure:
    """Any aggregate; null where it has nothing to look at."""
    return Measure(name, optional(annotation), description, expression)


def average(name: str, column: str, description: str) -> Measure:
    """The mean of a column; null where no row has a value."""
    return computed_measure(name, float, description, lambda table: func.avg(table.c[column]))


def percentile(name: str, column: str, fraction: float, description: str) -> Measure:
    """A percentile of a column; null where no row has a value."""
    return computed_measure(
        name, float, description, lambda table: func.percentile_cont(fraction).within_group(table.c[column])
    )


def share(name: str, part: Expression, whole: Expression, description: str) -> Measure:
    """Which share of the rows that meet `whole` meets `part` too, 0 to 1; null where none meets `whole`."""

    def expression(table: Table) -> ColumnElement[Any]:
        counted = func.count().filter(and_(whole(table), part(table)))
        return counted * 1.0 / func.nullif(func.count().filter(whole(table)), 0)

    return computed_measure(name, float, description, expression)


class StatsField(GraphField):
    """A field of figures. Its arguments are derived when the schema is built, when every type is known."""

    entity: EntityType
    key_enum: type[enum.Enum]
    time_enum: type[enum.Enum]
    time: str

    @property
    def arguments(self) -> list[StrawberryArgument]:
        """What every such field takes."""
        return [
            argument("filter", filter_type(self.entity), "Which rows, as for the list."),
            argument("group_by", optional(list_of(self.key_enum)), "One group for each combination of these."),
            argument("bucket", optional(TIME_BUCKET), "And one for each span of time of this length."),
            argument("bucket_by", self.time_enum, "Which time the spans go by.", self.time_enum[self.time.upper()]),
            argument("time_zone", str, "Where days begin and end: an IANA name such as `Europe/Berlin`.", "UTC"),
        ]

    @arguments.setter
    def arguments(self, value: list[StrawberryArgument]) -> None:
        """Nothing to keep: they follow from the entity."""


def stats(
    cls: type,
    name: str,
    description: str,
    *,
    keys: Sequence[Callable[[Table], Key]],
    measures: Sequence[Measure],
    times: Sequence[str],
    fixed: Expression | None = None,
) -> GraphField:
    """The root field of an entity's figures. `times` are the columns whose spans it can be grouped by, the usual one
    first; `fixed` a condition that always holds."""
    entity = ENTITIES[cls.__name__]
    made = {one.name: one for one in (make(entity.table) for make in keys)}
    type_name = f"{camel(name)[0].upper()}{camel(name)[1:]}"
    key_enum = _enumeration(
        f"{type_name}Key", f"What {camel(name)} can be grouped by.", made, lambda one: one.description
    )
    time_enum = _enumeration(
        f"{type_name}Time",
        f"Which time of a row {camel(name)} go by.",
        {column: entity.table.c[column] for column in times},
        lambda column: column.doc,
    )
    fields: list[StrawberryField] = [_key_field(one) for one in made.values()]
    fields.append(
        graph_field(
            _BUCKET,
            optional(datetime),
            "Beginning of the span of time; null where nothing is grouped by time.",
            lambda group, _info: group.get(_BUCKET),
        )
    )
    fields += [_measure_field(one) for one in measures]
    TYPES[type_name] = create_type(
        type_name,
        fields,
        description=f"Figures of one group of rows of type {entity.name}; a key that is not grouped by is null.",
    )

    async def resolve(_root: Any, info: Info, **given: Any) -> list[dict[str, Any]]:
        asked = [made[_member(key_enum, word)] for word in dict.fromkeys(given.get("groupBy") or ())]
        context = context_of(info)
        statement, labels = _statement(entity, asked, measures, times, fixed, given, context)
        found = await context.reading.rows(statement)
        if len(found) > MOST_GROUPS:
            raise BadUserInput(
                f"There are more than {MOST_GROUPS} groups. Narrow `filter`, or group by less or by longer spans.",
                "groupBy",
            )
        return [dict(zip(labels, row, strict=True)) for row in found]

    told = [
        description,
        f"One group of all rows if neither `groupBy` nor `bucket` is given; at most {MOST_GROUPS} groups.",
        *(
            [f"Looks at the last {entity.default_hours} hours where the filter names no time."]
            if entity.default_hours
            else []
        ),
        f"Needs `{READ_PERMISSION[entity.name]}`.",
    ]
    field = StatsField(python_name=name, description=" ".join(told), default=None)
    field.type = list_of(Named(type_name))
    field.resolve = resolve
    field.entity, field.key_enum, field.time_enum, field.time = entity, key_enum, time_enum, times[0]
    field.metadata = MappingProxyType({LIST_SIZE: USUAL_GROUPS})
    return field


def _statement(
    entity: EntityType,
    keys: Sequence[Key],
    measures: Sequence[Measure],
    times: Sequence[str],
    fixed: Expression | None,
    given: Mapping[str, Any],
    context: Any,
) -> tuple[Any, list[str]]:
    if not context.actor.may_read(entity.name):
        raise Forbidden(READ_PERMISSION[entity.name])
    page = context.reader.page(entity, {"filter": given.get("filter")}, is_root=True)
    table = entity.table
    source: FromClause = table
    joined: set[FromClause] = set()
    for key in keys:
        if key.join is not None:
            other, condition = key.join(table)
            if other not in joined:
                source = source.outerjoin(other, condition)
                joined.add(other)
    grouped: list[ColumnElement[Any]] = [key.column(table).label(key.name) for key in keys]
    if given.get("bucket") is not None:
        column = table.c[str(getattr(given.get("bucketBy"), "value", given.get("bucketBy") or times[0]))]
        unit = str(getattr(given["bucket"], "value", given["bucket"])).lower()
        grouped.append(func.date_trunc(unit, column, _zone(given.get("timeZone", "UTC"))).label(_BUCKET))
    figures = [one.expression(table).label(f"m_{one.name}") for one in measures]
    conditions = [*context.reader.visible(entity), *page.conditions, *([] if fixed is None else [fixed(table)])]
    statement = select(*grouped, *figures).select_from(source).where(*conditions)
    if grouped:
        # By time, then the largest group first; the keys themselves make the order total.
        order = [*(nulls_last(one) for one in grouped if one.name == _BUCKET), figures[0].desc()]
        order += [nulls_last(cast(one, SqlText)) for one in grouped if one.name != _BUCKET]
        statement = statement.group_by(*grouped).order_by(*order).limit(MOST_GROUPS + 1)
    return statement, [one.name for one in grouped] + [one.name for one in measures]


def _zone(name: str) -> str:
    """The name of a time zone that Python and Postgres both know."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"`timeZone` is {name[:60]!r}, which is no time zone. Give an IANA name such as `Europe/Berlin`."
        raise BadUserInput(message, "timeZone") from error
    return name


def _key_field(key: Key) -> GraphField:
    if key.entity is None:
        return graph_field(
            key.name, key.annotation, key.description, lambda group, _info: _shown(key, group.get(key.name))
        )
    entity = key.entity

    def resolve(group: Mapping[str, Any], info: Info) -> Any:
        row_id = group.get(key.name)
        return None if row_id is None else context_of(info).loaders.row(ENTITIES[entity]).load(row_id)

    return graph_field(key.name, key.annotation, key.description, resolve)


def _shown(key: Key, value: Any) -> Any:
    return None if value is None else key.load(value)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _measure_field(measure: Measure) -> GraphField:
    def resolve(group: Mapping[str, Any], _info: Info) -> Any:
        value = group[measure.name]
        return float(value) if isinstance(value, Decimal) else value

    return graph_field(measure.name, measure.annotation, measure.description, resolve)


def _scalar(column: Column[Any]) -> Any:
    return described_enum(column.type.enumeration) if isinstance(column.type, EnumText) else column.type.python_type


def _enumeration(
    name: str, description: str, members: Mapping[str, Any], describe: Callable[[Any], str | None]
) -> type[enum.Enum]:
    made: Any = enum.Enum(name, {one.upper(): one for one in members})  # type: ignore[misc]
    strawberry.enum(made, name=name, description=description)
    definition: Any = getattr(made, "__strawberry_definition__")  # noqa: B009
    for value in definition.values:
        value.description = describe(members[value.name.lower()])
    return made


def _member(enumeration: type[enum.Enum], word: Any) -> str:
    return str(word.value if isinstance(word, enum.Enum) else enumeration[word].value)
