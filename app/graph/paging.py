"""One page of a list: its arguments, and the statements that fetch and count it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Select,
    Table,
    Uuid,
    and_,
    bindparam,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)

from app.auth.scope import TENANT_WIDE, Reach
from app.graph.errors import BadUserInput, Forbidden
from app.graph.filtering import Condition, Filter
from app.graph.ordering import Keyset, keyset
from app.graph.registry import EntityType, Through, ToMany
from db.ids import first_id_at
from db.session import Caller, within_tenant

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 200
MAX_LOG_PAGE: Final = 1_000
"""Most rows of one page, and of one page of op events."""


@dataclass(frozen=True)
class Page:
    """What a list's arguments ask for, checked."""

    entity: EntityType
    order: Keyset
    size: int
    backward: bool
    after: Sequence[Any] | None
    before: Sequence[Any] | None
    conditions: Sequence[Condition]

    def select(self, *conditions: Condition) -> Select[Any]:
        """One row more than the page, so that it is known whether there are more."""
        bounds = []
        if self.after is not None:
            bounds.append(self.order.beyond(self.after, backward=False))
        if self.before is not None:
            bounds.append(self.order.beyond(self.before, backward=True))
        return (
            select(*self.entity.table.columns)
            .where(*conditions, *self.conditions, *bounds)
            .order_by(*self.order.columns(self.backward))
            .limit(self.size + 1)
        )


class Reader:
    """Turns arguments into statements for one caller: every condition that keeps rows apart is put on here."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

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
        after, before = arguments.get("after"), arguments.get("before")
        finder = Filter(self.tenant, self.need)
        conditions = finder.conditions(entity, arguments.get("filter"))
        if is_root and entity.default_hours is not None and not finder.names_clock:
            since = datetime.now(UTC) - timedelta(hours=entity.default_hours)
            conditions.append(entity.table.c.id >= first_id_at(since))
        return Page(
            entity,
            order,
            size,
            backward,
            None if after is None else order.parse(after, "after"),
            None if before is None else order.parse(before, "before"),
            conditions,
        )

    def need(self, permission: str) -> None:
        """Raise FORBIDDEN where the caller lacks the permission."""
        if not self._caller.can(permission):
            raise Forbidden(permission)

    def tenant(self, table: Table) -> Condition:
        """The condition that keeps a table inside the caller's tenant."""
        return within_tenant(table, self._caller)

    def visible(self, entity: EntityType) -> list[Condition]:
        """Which rows a list may show to the caller: the tenant's, within the scope of the grant (decision 29), and
        of private ones the caller's own."""
        conditions = [self.tenant(entity.table), *_within(entity, self._caller.read_scope(entity.name))]
        if entity.private is not None:
            owner, is_shared = (entity.table.c[name] for name in entity.private)
            conditions.append(or_(owner == self._caller.id, is_shared))
        return conditions

    def root_page(self, page: Page) -> Select[Any]:
        """The page of a root list."""
        return page.select(*self.visible(page.entity))

    def root_count(self, page: Page) -> Select[Any]:
        """How many rows the list has in all."""
        table = page.entity.table
        return select(func.count()).select_from(table).where(*self.visible(page.entity), *page.conditions)

    def rows(self, entity: EntityType, column: Column[Any], keys: Sequence[UUID], scoped: bool) -> Select[Any]:
        """The rows of these keys; only a look-up from outside (`scoped`) is narrowed to the caller's grants."""
        conditions = self.visible(entity) if scoped else [self.tenant(entity.table)]
        return select(*entity.table.columns).where(*conditions, column == func.any(_array(keys)))

    def chain(self, entity: EntityType, column: Column[Any], keys: Sequence[UUID], most: int) -> Select[Any]:
        """The rows of these keys, the rows that `column` leads to from them, and so on for at most `most` rows each.

        `column` is a key of the same table. A chain that closes upon itself is as long as any other can be, no longer.
        """
        table = entity.table
        first = select(table.c.id, column.label("next"), literal(1).label("length"))
        chain = first.where(self.tenant(table), table.c.id == func.any(_array(keys))).cte("chain", recursive=True)
        following = select(table.c.id, column, chain.c.length + 1).join(chain, chain.c.next == table.c.id)
        chain = chain.union(following.where(self.tenant(table), chain.c.length < most))
        return select(*table.columns).where(self.tenant(table), table.c.id.in_(select(chain.c.id)))

    def children_pages(self, relation: ToMany | Through, page: Page, parents: Sequence[UUID]) -> Select[Any]:
        """The pages of all parents in one statement, each row behind its parent's key.

        LATERAL with a limit runs once a parent along an index, however many rows the others have.
        """
        keys = select(func.unnest(_array(parents)).label("key")).subquery("parents")
        child = self._children(relation, page, page.select(*self.visible(page.entity)), keys.c.key)
        lateral = child.lateral("child")
        return select(keys.c.key, *lateral.columns).select_from(keys.join(lateral, true()))

    def children_counts(self, relation: ToMany | Through, page: Page, parents: Sequence[UUID]) -> Select[Any]:
        """How many rows each parent has; a parent without rows is left out."""
        table = page.entity.table
        key = relation.association.c[relation.near] if isinstance(relation, Through) else table.c[relation.key]
        statement = select(key, func.count()).select_from(table).where(*self.visible(page.entity), *page.conditions)
        return self._children(relation, page, statement, func.any(_array(parents))).group_by(key)

    def listed(self, relation: Through, entity: EntityType, parents: Sequence[UUID]) -> Select[Any]:
        """All rows of a short list, each behind its parent's key, in the list's order."""
        link, far = relation.association, entity.table
        return (
            select(link.c[relation.near], *entity.table.columns)
            .join(far, and_(far.c.tenant_id == link.c.tenant_id, far.c.id == link.c[relation.far]))
            .where(self.tenant(link), self.tenant(entity.table), link.c[relation.near] == func.any(_array(parents)))
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


def _array(keys: Sequence[UUID]) -> ColumnElement[Any]:
    return bindparam(None, list(keys), ARRAY(Uuid()))


def _within(entity: EntityType, reach: Reach) -> list[Condition]:
    if reach is TENANT_WIDE:
        return []
    table = entity.table
    project = table.c[entity.project] if entity.project else None
    environment = table.c[entity.environment] if entity.environment else None
    parts: list[Condition] = []
    if reach.projects and project is not None:
        parts.append(project == func.any(_array(sorted(reach.projects))))
    if reach.environments and environment is not None:
        parts.append(environment == func.any(_array(sorted(reach.environments))))
    if reach.pairs and project is not None and environment is not None:
        parts.append(tuple_(project, environment).in_(sorted(reach.pairs)))
    if reach.instances and entity.own:
        parts.append(table.c[entity.own] == func.any(_array(sorted(reach.instances))))
    return [or_(false(), *parts)]
