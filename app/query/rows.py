"""What one statement reads of each of its rows, and the expression that writes such a row.

Writing is generated code: an expression over the driver's record `r`, made once a plan, such as

    [dumps({"cursor": k(r), "node": {"id": "run_" + r[1].hex(), "state": r[2], "version": c0.get(r[5])}}) for r in rows]

since a function call a field would cost more than the field. Each row of a page becomes text before the next one is
looked at: what a row is made of is then still in the processor's cache, and most of the memory it takes is used again
for the next. Nothing of a client's stands in it but the response keys, which are GraphQL names, quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
from sqlalchemy import Column, ColumnElement, FromClause, Table, and_

from app.graph.registry import EntityType
from app.query.columns import Differently, as_stored, from_row, is_too_deep, read
from app.query.statements import Writer

if TYPE_CHECKING:
    from app.query.levels import Child

Source: TypeAlias = tuple[str, Callable[[Any], Any]]
"""A column's name, and what makes of the row's attribute what a statement reads of the column."""
_STORED: Final = "stored"
MOST_JOINS: Final = 8
"""Tables that are joined to one list; beyond this Postgres no longer looks at every order of them."""


@dataclass
class Join:
    """A to-one relation's table under a name of its own, joined by the key that leads to it."""

    entity: EntityType
    table: Any
    key: Column[Any]


@dataclass
class Rows:
    """The rows of one statement while their selection is being looked at."""

    entity: EntityType
    leading: int
    """Columns in front of those that are read here: the parent's key, where there is one."""
    may_join: bool
    """Whether to-one relations are read along with the row (see `selection`)."""
    columns: list[ColumnElement[Any]] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    _places: dict[Any, int] = field(default_factory=dict)
    _given: dict[str, Any] = field(default_factory=dict)
    _shared: int = 0

    @property
    def table(self) -> Table:
        """The entity's table."""
        return self.entity.table

    def place(self, key: Any, element: ColumnElement[Any]) -> int:
        """Where a record has the element; `key` tells it from others."""
        if key not in self._places:
            self._places[key] = self.leading + len(self.columns)
            self.columns.append(element.label(f"c{len(self.columns)}"))
        return self._places[key]

    def column(self, table: Any, name: str) -> int:
        """Where a record has a column as it is read for an answer."""
        return self.place((table.name, name), read(table.c[name]))

    def place_of(self, column: Column[Any]) -> int | None:
        """Where a record has one of the table's own columns as it is read for an answer, if it does."""
        return self._places.get((column.table.name, column.name))

    def raw(self, table: Any, name: str) -> int:
        """Where a record has a column as it is stored."""
        return self.place((table.name, name, _STORED), as_stored(table.c[name]))

    def join(self, entity: EntityType, key: Column[Any]) -> Any:
        """The table of a to-one relation, joined; there is one more for each call."""
        table = entity.table.alias(f"j{len(self.joins)}")
        self.joins.append(Join(entity, table, key))
        return table

    def child(self, child: Child) -> str:
        """The name under which the expression finds a child's results."""
        self.children.append(child)
        return f"c{len(self.children) - 1}"

    def give(self, value: Any) -> str:
        """The name under which the expression finds a value of the code's."""
        name = f"g{len(self._given)}"
        self._given[name] = value
        return name

    def once(self, key: str, written: str) -> str:
        """An expression that writes an object of `written` once for each value that `key` has among the records."""
        name = f"m{self._shared}"
        self._shared += 1
        return f"{name}.get({key}) or {name}.setdefault({key}, {written})"

    def sources(self) -> Sequence[Source] | None:
        """Where each value of a record comes from, if all of them are columns of the row as they are, which whoever has
        the row can make of it; None where Postgres has to be asked."""
        if self.leading or self.joins or self.children or self.entity.private is not None:
            return None
        found = []
        for table, name, *how in self._places:  # a dictionary, in the order of their places
            column = self.table.c.get(name) if table == self.table.name and how in ([], [_STORED]) else None
            made = None if column is None else from_row(column, is_stored=bool(how))
            if made is None:
                return None
            found.append((name, made))
        return found

    def joined(self, writer: Writer) -> FromClause | None:
        """The table with the others joined to it; None where there are none."""
        rows: FromClause = self.table
        for one in self.joins:
            condition = and_(*writer.reader.known(one.entity, one.table), one.table.c.id == one.key)
            rows = rows.outerjoin(one.table, condition)
        return rows if self.joins else None

    def writing(self, expression: str, *, as_text: bool = False) -> Callable[..., list[Any]]:
        """The function (records, actor, cursor function, children's results) -> values of this expression, or the JSON
        of each (`as_text`)."""
        if as_text:
            expression = f"dumps({expression})"
        names = ", ".join(["rows", "a", "k", *(f"c{number}" for number in range(len(self.children)))])
        shared = "".join(f" for m{number} in ({{}},)" for number in range(self._shared))
        source = f"lambda {names}: [{expression}{shared} for r in rows]"
        known = {"__builtins__": {}, "fail": _fail, "dumps": orjson.dumps, **self._given}
        made: Callable[..., list[Any]] = eval(source, known)  # noqa: S307 - see above

        def write(*given: Any) -> list[Any]:
            try:
                return made(*given)
            except TypeError as error:
                if is_too_deep(error):
                    raise Differently("JSON that is nested too deeply") from None
                raise

        return write if as_text else made


def _fail() -> Any:
    raise Differently("a null where the type allows none")


def records_by(found: Sequence[Any]) -> dict[bytes, list[Any]]:
    """Records by the parent's key that each begins with, in their order."""
    groups: dict[bytes, list[Any]] = {}
    for record in found:
        key = record[0].bytes
        group = groups.get(key)
        if group is None:
            groups[key] = [record]
        else:
            group.append(record)
    return groups
