"""A model's rows by their keys, read and changed by statements that are text: what the ORM does of itself, without it.

A row that was read this way is an instance like any other. It is detached, knows which of its attributes were changed,
and a session takes it over as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

from sqlalchemy import ARRAY, Column, Float, Numeric, func, inspect
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import instance_state

from db.base import Model
from db.texts import DIALECT

M = TypeVar("M", bound=Model)

_TEXTS: Final = 500
"""Statements that are remembered of a model: one for each set of attributes that change together."""
_NUMBERS: Final = ((Float, 701), (Numeric, 1700))
"""Postgres' numbers of types, by which SQLAlchemy sees what the driver makes of them."""


class ByKey(NamedTuple):
    """A statement of a tenant's rows by id, in the order of their ids; and of one row, without the array, which costs
    the driver and Postgres more than its one element does."""

    several: str
    one: str

    def of(self, ids: Sequence[UUID]) -> tuple[str, Any]:
        """The statement that takes these ids, and what it takes as $2."""
        return (self.one, ids[0]) if len(ids) == 1 else (self.several, ids)


class UpdateOfSeveral(NamedTuple):
    """The statements that store changes of several rows, of which each is given what it gets: `id`, the values `v0`,
    `v1` … and the `version` that it was read as; $1 is the tenant."""

    kinds: Sequence[str]
    """Postgres' types of those."""
    hold: str
    """Of what is `given` that whose row is still that version, and held by nobody else: nobody is waited for."""
    store: str
    """What is so `held` is stored."""


class KeyedRows(Generic[M]):
    """The statements of a model whose key is (tenant_id, id); made once, by `keyed`."""

    def __init__(self, model: type[M]) -> None:
        mapper: Mapper[M] = inspect(model)
        quote = DIALECT.identifier_preparer.quote
        attributes = {one.key: one.columns[0] for one in mapper.column_attrs if not one.deferred}
        self._new = mapper.class_manager.new_instance
        self._identity_key = mapper.identity_key_from_primary_key
        self._columns: Mapping[str, Column[Any]] = cast("Mapping[str, Column[Any]]", attributes)
        self._names = tuple(attributes)
        self.id_place: Final = self._names.index("id")
        """Where a record has its row's id."""
        self._made = [(key, made) for key, one in self._columns.items() if (made := _result_processor(one))]
        self._bound = {key: _bind_processor(one) for key, one in self._columns.items()}
        self._table = DIALECT.identifier_preparer.format_table(mapper.local_table)
        self._touched = [
            f"{quote(one.name)} = now()" for one in self._columns.values() if one.onupdate is not None and _is_now(one)
        ]
        self._lasting = [(key, str(one.name)) for key, one in self._columns.items() if one.onupdate is None]
        self.is_plain: Final = all(one.onupdate is None or _is_now(one) for one in self._columns.values())
        """Whether nothing is set along with a change but the time of it."""
        listed = ", ".join(quote(one.name) for one in self._columns.values())
        self.read: Final = self._by_key(listed)
        """Rows by a tenant and ids."""
        self.versioned: Final = self._by_key(f"{listed}, xmin")
        """The same with each row's version, at the end, which is another after each change."""
        self.lock: Final = self._by_key(listed, " FOR NO KEY UPDATE")
        """The rows, locked. Keys never change, so the lock lets others insert rows that refer to these."""
        self.update: Final = lru_cache(_TEXTS)(self._update)
        """(attributes, number) -> the statement that stores changes of these in the row of tenant $1. The number is the
        one of the parameter for its id, and those of the values follow."""
        self.update_of_several: Final = lru_cache(_TEXTS)(self._update_of_several)
        """(attributes) -> the statements that store changes of these in several rows; None where no array holds values
        of them as they are."""

    def make(self, record: Sequence[Any]) -> M:
        """The row of a record of `read` or `lock`."""
        row: M = self._new()
        values = row.__dict__
        values.update(zip(self._names, record, strict=True))
        for key, made in self._made:
            values[key] = made(values[key])
        # As `make_transient_to_detached`, for a row that lacks nothing but what is loaded when somebody looks at it.
        instance_state(row).key = self._identity_key((values["tenant_id"], values["id"]))
        return row

    def changes(self, row: M) -> dict[str, Any]:
        """The attributes that are not what they were when the row was read."""
        before: Mapping[str, Any] = instance_state(row).committed_state
        now = row.__dict__
        return {key: now[key] for key, value in before.items() if now[key] != value}

    def _by_key(self, listed: str, locking: str = "") -> ByKey:
        rows = f"SELECT {listed} FROM {self._table} WHERE tenant_id = $1 AND id ="
        return ByKey(f"{rows} ANY($2::uuid[]) ORDER BY id{locking}", f"{rows} $2{locking}")

    def _update_of_several(self, names: tuple[str, ...]) -> UpdateOfSeveral | None:
        columns = [self._columns[name] for name in names]
        if any(isinstance(one.type, ARRAY | JSONB) for one in columns):
            return None
        assigned = self._assigned(names, [f"held.v{number}" for number in range(len(names))])
        row = "stored.tenant_id = $1 AND stored.id"
        return UpdateOfSeveral(
            ("uuid", *(_kind(one) for one in columns), "xid"),
            f"SELECT given.* FROM given JOIN {self._table} AS stored"
            f" ON {row} = given.id AND stored.xmin = given.version"
            " FOR NO KEY UPDATE OF stored SKIP LOCKED",
            f"UPDATE {self._table} AS stored SET {assigned} FROM held WHERE {row} = held.id",
        )

    def _assigned(self, names: Sequence[str], values: Iterable[str]) -> str:
        """What follows SET: these attributes with their values, and what is set along with any change."""
        quote = DIALECT.identifier_preparer.quote
        columns = [quote(self._columns[name].name) for name in names]
        assigned = [f"{name} = {value}" for name, value in zip(columns, values, strict=True)]
        touched = [one for one in self._touched if one.partition(" ")[0] not in columns]
        return ", ".join([*assigned, *touched])

    def _update(self, names: tuple[str, ...], first: int) -> str:
        assigned = self._assigned(names, [f"${number}" for number in range(first + 1, first + 1 + len(names))])
        return f"UPDATE {self._table} SET {assigned} WHERE tenant_id = $1 AND id = ${first}"

    def known(self, row: M) -> dict[str, Any]:
        """The columns of a row whose changes were stored, but for those that the database has set along with them."""
        values = row.__dict__
        return {name: values[key] for key, name in self._lasting}

    def arguments(self, row: M, changes: Mapping[str, Any]) -> list[Any]:
        """The id and the values, as `update` takes them."""
        key: Any = row
        values = [value if (bound := self._bound[name]) is None else bound(value) for name, value in changes.items()]
        return [key.id, *values]


@cache
def keyed(model: type[M]) -> KeyedRows[M]:
    """The statements of a model."""
    return KeyedRows(model)


def _kind(column: Column[Any]) -> str:
    """Postgres' name of the column's type, without its collation."""
    return column.type.compile(DIALECT).partition(" COLLATE ")[0]


def _result_processor(column: Column[Any]) -> Any:
    coltype = next((number for kind, number in _NUMBERS if isinstance(column.type, kind)), None)
    return column.type.dialect_impl(DIALECT).result_processor(DIALECT, coltype)


def _bind_processor(column: Column[Any]) -> Any:
    return column.type.dialect_impl(DIALECT).bind_processor(DIALECT)


def _is_now(column: Column[Any]) -> bool:
    found: Any = column.onupdate
    return bool(found.is_clause_element) and str(found.arg) == str(func.now())
