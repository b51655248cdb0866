"""One page of a list: its arguments, and the statements that fetch and count it."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Uuid,
    and_,
    bindparam,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.types import TypeEngine

from app.auth.scope import TENANT_WIDE, Reach, Scope
from app.graph.errors import BadUserInput, Forbidden
from app.graph.filtering import Condition, Filter, Parse, Spot, shape
from app.graph.ordering import Keyset, keyset, nulls_of
from app.graph.registry import EntityType, Through, ToMany
from db.ids import first_id_at
from db.session import Caller, within_tenant

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 200
MAX_LOG_PAGE: Final = 1_000
"""Most rows of one page, and of one page of op events."""


Source: TypeAlias = Callable[[Caller, Mapping[str, Any]], Any]
"""Where a bound value comes from: the caller, and the arguments of the list."""
Binder: TypeAlias = Callable[[Source, Any, TypeEngine[Any]], ColumnElement[Any]]
"""Makes a parameter of a source, of what it gives now, and of its type."""
Columns: TypeAlias = Sequence[ColumnElement[Any]] | None
"""What to read of each row; None for every column of its table."""
Keys: TypeAlias = Sequence[UUID] | ColumnElement[Any]
"""Keys of rows, or the parameter that will hold them."""


@dataclass(frozen=True)
class Page:
    """What a list's arguments ask for, checked."""

    entity: EntityType
    order: Keyset
    size: int
    backward: bool
    after: Sequence[ColumnElement[Any] | None] | None
    before: Sequence[ColumnElement[Any] | None] | None
    """The values of the cursors, bound; None for a null among them."""
    conditions: Sequence[Condition]

    def select(self, *conditions: Condition, columns: Columns = None, rows: FromClause | None = None) -> Select[Any]:
        """One row more than the page, so that it is known whether there are more.

        `rows` is the entity's table with others joined to it that leave its rows as they are.
        """
        bounds = []
        if self.after is not None:
            bounds.append(self.order.beyond(self.after, backward=False))
        if self.before is not None:
            bounds.append(self.order.beyond(self.before, backward=True))
        return (
            _select(self.entity.table, columns, rows)
            .where(*conditions, *self.conditions, *bounds)
            .order_by(*self.order.columns(self.backward))
            # In the text, not as a parameter: Postgres plans a prepared statement for the size that it knows.
            .limit(literal_column(str(self.size + 1)))
        )


def page_shape(arguments: Mapping[str, Any]) -> Hashable:
    """What of a list's arguments decides its statement; the rest are values that it binds."""
    after, before = arguments.get("after"), arguments.get("before")
    return (
        arguments.get("first"),
        arguments.get("last"),
        None if after is None else nulls_of(after),
        None if before is None else nulls_of(before),
        tuple((one["field"].value, one.get("direction")) for one in arguments.get("orderBy") or ()),
        shape(arguments.get("filter")),
    )


def _bind_now(_source: Source, value: Any, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    return bindparam(None, value, kind)


class Reader:
    """Turns arguments into statements for one caller: every condition that keeps rows apart is put on here.

    `bind` makes the parameters; its default gives each the value that it has now.
    """

    def __init__(self, caller: Caller, bind: Binder = _bind_now) -> None:
        self._caller = caller
        self._bind = bind

    def page(
        self, entity: EntityType, arguments: Mapping[str, Any], max_page: int = MAX_PAGE, is_root: bool = False
    ) -> Page:
        """Check a list's arguments; BAD_USER_INPUT names the wrong one."""
        first: int | None = arguments.get("first")
        last: int | None = arguments.get("last")
        if first is not None and last is not None:
            raise BadUserInput("Give `first` or `last`, not both.", "last")
        backward = last is not None
        size = last if last is not None else DEFAULT_PAGE if first is None else first
        name = "last" if backward else "first"
        if not 0 <= size <= max_page:
            raise BadUserInput(f"`{name}` is {size}; a page has 0 to {max_page} rows.", name)
        order = keyset(entity, arguments.get("orderBy"))
        if entity.hiding is not None and any(term.column.name in entity.hideable for term in order.terms):
            self.need(entity.hiding.permission)  # an order, and a cursor, tell what stands there

        def bind(spot: Spot, parse: Parse, kind: TypeEngine[Any]) -> ColumnElement[Any]:
            return self._bound(lambda _caller, given: parse(spot.of(given)), arguments, kind)

        finder = Filter(self.known, self._caller.can, self.need, bind)
        conditions = finder.conditions(entity, arguments.get("filter"))
        if is_root and entity.default_hours is not None and not finder.names_clock:
            back = timedelta(hours=entity.default_hours)
            since = self._bound(lambda *_: first_id_at(datetime.now(UTC) - back), arguments, entity.table.c.id.type)
            conditions.append(entity.table.c.id >= since)
        after, before = (self._cursor(order, name, arguments) for name in ("after", "before"))
        return Page(entity, order, size, backward, after, before, conditions)

    def _bound(self, source: Source, arguments: Mapping[str, Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
        return self._bind(source, source(self._caller, arguments), kind)

    def _cursor(
        self, order: Keyset, name: str, arguments: Mapping[str, Any]
    ) -> Sequence[ColumnElement[Any] | None] | None:
        """The bound values of the cursor that is the argument of this name; None where there is none."""
        if arguments.get(name) is None:
            return None

        def bound(position: int) -> ColumnElement[Any]:
            kind = order.terms[position].column.type
            return self._bound(lambda _caller, given: order.parse(given[name], name)[position], arguments, kind)

        values = order.parse(arguments[name], name)
        return [None if value is None else bound(position) for position, value in enumerate(values)]

    def need(self, permission: str) -> None:
        """Raise FORBIDDEN where the caller lacks the permission."""
        if not self._caller.can(permission):
            raise Forbidden(permission)

    def tenant(self, table: Table) -> Condition:
        """The condition that keeps a table inside the caller's tenant."""
        return within_tenant(table, self._caller)

    def known(self, entity: EntityType, table: Any = None) -> list[Condition]:
        """Which rows any way of reading may give to the caller: the tenant's, and of private ones the caller's own.

        `table` is the entity's own if it is not given, or an alias of it.
        """
        table = entity.table if table is None else table
        conditions = [self.tenant(table)]
        if entity.private is not None:
            own = [table.c[name] == self._caller.id for name in entity.private.owners]
            shared = [] if entity.private.shared is None else [table.c[entity.private.shared]]
            conditions.append(or_(*own, *shared))
        return conditions

    def visible(self, entity: EntityType) -> list[Condition]:
        """Which rows a list may show to the caller: those that may be known, within the scope of the grant (decision
        29). What nobody but its owner sees lies in no place, so a grant for any place will do."""
        if entity.private is not None and entity.private.shared is None:
            return self.known(entity)
        return [*self.known(entity), *self._within(entity, self._caller.read_scope(entity.name))]

    def _within(self, entity: EntityType, reach: Reach) -> list[Condition]:
        """The rows inside of a grant's scope. Which kinds of place the scope names decides the condition."""
        if reach is TENANT_WIDE:
            return []
        table = entity.table
        project = table.c[entity.project] if entity.project else None
        environment = table.c[entity.environment] if entity.environment else None
        parts: list[Condition] = []

        def ids(of: Callable[[Scope], Iterable[UUID]]) -> ColumnElement[Any]:
            return self._bound(lambda caller, _: sorted(of(caller.read_scope(entity.name))), {}, ARRAY(Uuid()))

        if reach.projects and project is not None:
            parts.append(project == func.any(ids(lambda scope: scope.projects)))
        if reach.environments and environment is not None:
            parts.append(environment == func.any(ids(lambda scope: scope.environments)))
        if reach.pairs and project is not None and environment is not None:
            parts.append(
                tuple_(project, environment).in_(_pairs(self._pair_places(entity, 0), self._pair_places(entity, 1)))
            )
        if reach.instances and entity.own:
            parts.append(table.c[entity.own] == func.any(ids(lambda scope: scope.instances)))
        return [or_(false(), *parts)]

    def _pair_places(self, entity: EntityType, place: int) -> ColumnElement[Any]:
        def of(caller: Caller, _arguments: Mapping[str, Any]) -> list[UUID]:
            return [pair[place] for pair in sorted(caller.read_scope(entity.name).pairs)]

        return self._bound(of, {}, ARRAY(Uuid()))

    def root_page(self, page: Page, columns: Columns = None, rows: FromClause | None = None) -> Select[Any]:
        """The page of a root list."""
        return page.select(*self.visible(page.entity), columns=columns, rows=rows)

    def root_count(self, page: Page) -> Select[Any]:
        """How many rows the list has in all."""
        table = page.entity.table
        return select(func.count()).select_from(table).where(*self.visible(page.entity), *page.conditions)

    def rows(
        self,
        entity: EntityType,
        column: Column[Any],
        keys: Keys,
        scoped: bool,
        columns: Columns = None,
        rows: FromClause | None = None,
    ) -> Select[Any]:
        """The rows of these keys; only a look-up from outside (`scoped`) is narrowed to the caller's grants."""
        conditions = self.visible(entity) if scoped else self.known(entity)
        return _select(entity.table, columns, rows).where(*conditions, column == func.any(_array(keys)))

    def chain(self, entity: EntityType, column: Column[Any], keys: Sequence[UUID], most: int) -> Select[Any]:
        """The rows of these keys, the rows that `column` leads to from them, and so on for at most `most` rows each.

        `column` is a key of the same table. A chain that closes upon itself is as long as any other can be, no longer.
        """
        table = entity.table
        first = select(table.c.id, column.label("next"), literal(1).label("length"))
        chain = first.where(*self.known(entity), table.c.id == func.any(_array(keys))).cte("chain", recursive=True)
        following = select(table.c.id, column, chain.c.length + 1).join(chain, chain.c.next == table.c.id)
        chain = chain.union(following.where(*self.known(entity), chain.c.length < most))
        return select(*table.columns).where(self.tenant(table), table.c.id.in_(select(chain.c.id)))

    def children_pages(
        self, relation: ToMany | Through, page: Page, parents: Keys, columns: Columns = None
    ) -> Select[Any]:
        """The pages of all parents in one statement, each row behind its parent's key.

        LATERAL with a limit runs once a parent along an index, however many rows the others have.
        """
        keys = select(func.unnest(_array(parents)).label("key")).subquery("parents")
        rows = page.select(*self.visible(page.entity), columns=columns)
        lateral = self._children(relation, page, rows, keys.c.key).lateral("child")
        return select(keys.c.key, *lateral.columns).select_from(keys.join(lateral, true()))

    def children_counts(self, relation: ToMany | Through, page: Page, parents: Keys) -> Select[Any]:
        """How many rows each parent has; a parent without rows is left out."""
        table = page.entity.table
        key = relation.association.c[relation.near] if isinstance(relation, Through) else table.c[relation.key]
        statement = select(key, func.count()).select_from(table).where(*self.visible(page.entity), *page.conditions)
        return self._children(relation, page, statement, func.any(_array(parents))).group_by(key)

    def listed(self, relation: Through, entity: EntityType, parents: Keys, columns: Columns = None) -> Select[Any]:
        """All rows of a short list, each behind its parent's key, in the list's order."""
        link, far = relation.association, entity.table
        return (
            select(link.c[relation.near], *(entity.table.columns if columns is None else columns))
            .select_from(link)
            .join(far, and_(far.c.tenant_id == link.c.tenant_id, far.c.id == link.c[relation.far]))
            .where(self.tenant(link), *self.known(entity), link.c[relation.near] == func.any(_array(parents)))
            .order_by(link.c[relation.near], link.c.position, link.c[relation.far])
        )

    def _children(
        self, relation: ToMany | Through, page: Page, statement: Select[Any], parent: ColumnElement[Any]
    ) -> Select[Any]:
        table = page.entity.table
        if isinstance(relation, ToMany):
            fixed = (table.c[name] == value for name, value in relation.fixed)
            return statement.where(table.c[relation.key] == parent, *fixed)
        link = relation.association
        return statement.join(
            link, and_(link.c.tenant_id == table.c.tenant_id, link.c[relation.far] == table.c.id)
        ).where(self.tenant(link), link.c[relation.near] == parent)


def _select(table: Table, columns: Columns, rows: FromClause | None) -> Select[Any]:
    return select(*(table.columns if columns is None else columns)).select_from(table if rows is None else rows)


def _array(keys: Keys) -> ColumnElement[Any]:
    return keys if isinstance(keys, ColumnElement) else bindparam(None, list(keys), ARRAY(Uuid()))


def _pairs(projects: ColumnElement[Any], environments: ColumnElement[Any]) -> Select[Any]:
    rows = func.unnest(projects, environments).table_valued("project", "environment", name="pair").render_derived()
    return select(rows.c.project, rows.c.environment)
