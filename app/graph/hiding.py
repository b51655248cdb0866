"""Columns whose values a row hides from others than those whom they concern, by names that the row lists (PII-4).

What is hidden depends on the row, so it is the row's own statement that hides it in a compiled query: the planner reads
another expression in the place of the column. Resolvers look at the row that they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Table,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.auth.actor import Actor, ActorKind
from app.graph.context import Info, OperationContext, context_of
from app.graph.fields import GraphField, OfRow, Veil
from app.graph.loaders import Loader
from app.graph.registry import EntityType, camel
from app.redaction import REDACTED, is_hidden
from db.base import EnumText


@dataclass(frozen=True)
class Agents:
    """The agents whom a row concerns: an association's, by the row's column that it is about."""

    association: Table
    key: str
    near: str
    far: str


@dataclass(frozen=True)
class Hiding:
    """Which of a row's texts and JSON values are hidden, and from whom."""

    names: str
    """The column that lists the fields, by their names in the API."""
    permission: str
    """Whose holders see everything."""
    authors: tuple[str, ...]
    """Keys of which one names who sees the row as it is."""
    agents: Agents
    """Agents who see it as it is as well."""
    keys: tuple[str, ...] = ()
    """Texts that are no content, and never hidden."""
    safe: Mapping[str, str] = field(default_factory=dict)
    """Column -> the column with the text that others see in its place, where it has one; then it is always hidden."""

    def __hash__(self) -> int:
        return id(self)

    def may_hide(self, column: Column[Any]) -> bool:
        """Whether it is a column whose values may be hidden: a text, texts or JSON."""
        own = {self.names, *self.keys, *self.safe.values()}
        kind = column.type.item_type if isinstance(column.type, ARRAY) else column.type
        return column.name not in own and isinstance(kind, Text | JSONB) and not isinstance(kind, EnumText)

    def tells_apart(self, actor: Actor) -> bool:
        """Whether callers of the actor's kind and permissions may see one row differently."""
        has_persons = any(one.endswith("_operator_id") for one in self.authors)
        return not actor.can(self.permission) and (has_persons or actor.kind is ActorKind.INSTANCE)

    def listed(self, table: Any, name: str) -> ColumnElement[bool]:
        """Whether a row names this column among those that it hides."""
        return func.coalesce(literal(camel(name), Text()) == any_(table.c[self.names]), false())

    def named(self, table: Any, name: str) -> ColumnElement[bool]:
        """Whether a row hides this column's value from others."""
        listed, safe = self.listed(table, name), self.safe.get(name)
        return listed if safe is None else or_(listed, table.c[safe].is_not(None))

    def shown(self, table: Any, name: str, caller: Any) -> ColumnElement[Any]:
        """A column's value as the caller sees it who lacks the permission."""
        column, agents = table.c[name], self.agents
        concerned = exists().where(
            agents.association.c.tenant_id == table.c.tenant_id,
            agents.association.c[agents.near] == table.c[agents.key],
            agents.association.c[agents.far] == caller,
        )
        others = [table.c[one].is_distinct_from(caller) for one in self.authors]
        is_hidden_here = and_(column.is_not(None), self.named(table, name), *others, ~concerned.correlate(table))
        return type_coerce(case((is_hidden_here, self._instead(table, name)), else_=column), column.type)

    def _instead(self, table: Any, name: str) -> ColumnElement[Any]:
        match table.c[name].type:
            case JSONB():
                return null()
            case ARRAY():
                return literal([REDACTED], ARRAY(Text()))
        hidden = literal(REDACTED, Text())
        return func.coalesce(table.c[self.safe[name]], hidden) if name in self.safe else hidden

    # --- rows that are there ---------------------------------------------------------------------------------------

    def veils(self, row: Any, name: str, actor: Actor) -> bool:
        """Whether a row hides this column's value from the caller, unless it concerns the agent that they are."""
        hides = is_hidden(row, camel(name)) or (name in self.safe and getattr(row, self.safe[name]) is not None)
        if not hides or getattr(row, name) is None or actor.can(self.permission):
            return False
        return actor.id not in [getattr(row, author) for author in self.authors]

    def veiled(self, row: Any, column: Column[Any]) -> Any:
        """What others see of a value that is hidden."""
        match column.type:
            case JSONB():
                return None
            case ARRAY():
                return [REDACTED]
        return (getattr(row, self.safe[column.name]) if column.name in self.safe else None) or REDACTED

    async def concerns(self, row: Any, context: OperationContext) -> bool:
        """Whether the caller is one of the row's agents."""
        if context.actor.kind is not ActorKind.INSTANCE:
            return False
        loader = context.loaders.own(self.agents, lambda: _OwnLoader(context, self.agents))
        return await loader.load(getattr(row, self.agents.key))

    def put_on(self, made: GraphField, column: Column[Any]) -> None:
        """Have a field of this column hide what is hidden."""
        plain, name = made.resolve, column.name

        def resolve(row: Any, info: Info) -> Any:
            context = context_of(info)
            if not self.veils(row, name, context.actor):
                return plain(row, info)
            if context.actor.kind is not ActorKind.INSTANCE:
                return self.veiled(row, column)
            return self._of_agent(row, info, plain, column)

        made.resolve = resolve
        made.of_row = OfRow((name,), veil=Veil(self.permission, lambda table, caller: self.shown(table, name, caller)))

    async def _of_agent(self, row: Any, info: Info, plain: Any, column: Column[Any]) -> Any:
        return plain(row, info) if await self.concerns(row, context_of(info)) else self.veiled(row, column)


class _OwnLoader(Loader[UUID, bool]):
    """Which rows concern the agent that asks."""

    def __init__(self, context: OperationContext, agents: Agents) -> None:
        super().__init__()
        self._context, self._agents = context, agents

    async def batch_load_fn(self, keys: list[UUID]) -> list[bool]:
        """One statement for all rows."""
        table, context = self._agents.association, self._context
        near = table.c[self._agents.near]
        statement = (
            near.table.select()
            .with_only_columns(near)
            .where(
                context.reader.tenant(table),
                near == func.any(bindparam(None, keys, ARRAY(Uuid()))),
                table.c[self._agents.far] == context.actor.id,
            )
        )
        found = {row[0] for row in await context.reading.rows(statement)}
        return [key in found for key in keys]


async def as_seen(entity: EntityType, row: Any, context: OperationContext) -> Any:
    """A row with what others see in the place of what it hides from the caller."""
    hiding = entity.hiding
    assert hiding is not None  # noqa: S101 - asked of such entities alone
    hidden = [name for name in entity.hideable if hiding.veils(row, name, context.actor)]
    if not hidden or await hiding.concerns(row, context):
        return row
    values = {column.name: getattr(row, column.name) for column in entity.table.columns}
    return entity.row(**{**values, **{name: hiding.veiled(row, entity.table.c[name]) for name in hidden}})
