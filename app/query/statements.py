"""Statements as text: the kit builds them once, and here they learn where their values come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Uuid, bindparam
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.types import TypeEngine

from app.auth.actor import Actor
from app.graph.paging import Reader, Source
from app.query.columns import as_it_is

CALLER: Final = bindparam("caller", type_=Uuid())
"""The caller's id, in what a statement computes."""
_DIALECT: Final = asyncpg.dialect()  # type: ignore[no-untyped-call]
_UUIDS: Final[Any] = ARRAY(Uuid())
_PARAMETER: Final = re.compile(r"\$(\d+)")
Value: TypeAlias = Callable[[Actor, Mapping[str, Any], Sequence[str]], Any]
"""(caller, arguments of the list, keys of the rows it hangs on) -> the value of a parameter."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a caller, of a list's arguments and of some rows' keys."""

    text: str
    values: tuple[Value, ...]
    """The values of $1, $2 …"""
    width: int
    """Columns of its records."""
    keys_at: int = -1
    """Which of the values are the rows' keys."""
    text_of_one: str | None = None
    """The same statement of a single key, which it takes in place of the keys; None where it has no such form."""

    def arguments(self, actor: Actor, given: Mapping[str, Any], keys: Sequence[str] = ()) -> list[Any]:
        """What $1, $2 … are. Raises BadUserInput where an argument of the list is wrong."""
        return [value(actor, given, keys) for value in self.values]

    def suit(self, arguments: list[Any]) -> str:
        """The text that takes these arguments. A single key is taken out of its list: an array costs the driver and
        Postgres more than its one element does."""
        if self.text_of_one is None or len(arguments[self.keys_at]) != 1:
            return self.text
        (arguments[self.keys_at],) = arguments[self.keys_at]
        return self.text_of_one


@lru_cache(maxsize=1_000)
def beside(statements: tuple[Statement, ...]) -> str:
    """One statement of several that find one row at most: a record with the columns of all, null where one found none.

    The parameters of each follow those of the one before.
    """
    text, taken = "SELECT * FROM (SELECT) AS one", 0
    for number, one in enumerate(statements):
        moved = _PARAMETER.sub(partial(_moved, taken), one.text)
        text += f" LEFT JOIN ({moved}) AS r{number} ON true"
        taken += len(one.values)
    return text


def _moved(by: int, found: re.Match[str]) -> str:
    return f"${int(found[1]) + by}"


def _of_one(text: str, number: int) -> str | None:
    several = f"${number}::UUID[]"
    one = text.replace(f" = any({several})", f" = ${number}::UUID")
    return None if several in one else one


class _AnyCaller:
    """A caller whose ids are parameters; what decides the shape of a statement is the actor's own."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self.tenant_id: Any = bindparam("tenant", type_=Uuid())
        self.id: Any = CALLER

    def can(self, permission: str) -> bool:
        """Whether the permission is held anywhere."""
        return self._actor.can(permission)

    def read_scope(self, type_name: str) -> Any:
        """Which rows of a type a list may show."""
        return self._actor.read_scope(type_name)


class Writer:
    """Writes one list's statements: its reader makes them, and remembers where each value comes from."""

    def __init__(self, actor: Actor) -> None:
        self._sources: dict[str, Value] = {
            "tenant": lambda caller, _given, _keys: caller.tenant_id,
            "caller": lambda caller, _given, _keys: caller.id,
            "keys": lambda _caller, _given, keys: keys,
        }
        self.keys: ColumnElement[list[UUID]] = bindparam("keys", type_=_UUIDS)
        self.reader = Reader(_AnyCaller(actor), self._bind)

    def _bind(self, source: Source, _value: Any, kind: TypeEngine[Any]) -> ColumnElement[Any]:
        name = f"value_{len(self._sources)}"
        self._sources[name] = lambda caller, given, _keys: source(caller, given)
        return bindparam(name, type_=kind)

    def statement(self, select: Select[Any]) -> Statement:
        """The statement's text, and the sources of its parameters in their order."""
        compiled = select.compile(dialect=_DIALECT)
        places = compiled.positiontup or []
        binds = [compiled.binds[name] for name in places]
        keys_at = next((place for place, one in enumerate(binds) if one.key == "keys"), -1)
        width = len(select.selected_columns)
        text_of_one = None if keys_at < 0 else _of_one(compiled.string, keys_at + 1)
        return Statement(compiled.string, tuple(map(self._value, binds)), width, keys_at, text_of_one)

    def _value(self, parameter: Any) -> Value:
        stored = parameter.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) or as_it_is
        source = self._sources.get(parameter.key)
        if source is None:  # a value of the code's own
            constant = stored(parameter.value)
            return lambda _caller, _given, _keys: constant
        if stored is as_it_is or parameter.key == "keys":  # they come as the driver takes them
            return source
        return lambda caller, given, keys: stored(source(caller, given, keys))
