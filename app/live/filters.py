"""Small filters of subscriptions: conditions on single columns, asked of rows in memory and of the database alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.auth.actor import Actor
from app.auth.scope import TENANT_WIDE
from app.graph.errors import BadUserInput
from app.graph.filtering import Condition
from app.graph.inputs import OverLong, arguments_of
from app.graph.paging import Reader
from app.graph.registry import EntityType

Matches = Callable[[Any], bool]


def chosen(
    entity: EntityType, actor: Actor, columns: Mapping[str, str], input_name: str, given: Mapping[str, Any] | None
) -> tuple[Matches, list[Condition]]:
    """What a filter and a grant let through: as a function of a row, and as conditions for the database.

    `columns` maps the fields of the input to columns; a row must have one of the values given for each. Raises
    BadUserInput.
    """
    try:
        values = arguments_of(input_name, given or {}, "filter.")
    except OverLong as error:
        raise BadUserInput(error.refused.message, error.refused.field) from None
    wanted = [
        (columns[name], frozenset(getattr(one, "value", one) for one in found))
        for name, found in values.items()
        if found is not None
    ]
    conditions: list[Condition] = [entity.table.c[column].in_(found) for column, found in wanted]
    may_see = _may_see(entity, actor)
    return _all_of(may_see, wanted), [*Reader(actor).visible(entity), *conditions]


def _all_of(may_see: Matches | None, wanted: Sequence[tuple[str, frozenset[Any]]]) -> Matches:
    def matches(row: Any) -> bool:
        return all(getattr(row, column) in values for column, values in wanted) and (may_see is None or may_see(row))

    return matches


def _may_see(entity: EntityType, actor: Actor) -> Matches | None:
    """The same as `Reader.visible`, for a row that is there already. Only logs are asked, which are nobody's own."""
    if entity.private is not None:
        raise TypeError(f"{entity.name} is somebody's own and cannot be told by its log.")
    reach = actor.read_scope(entity.name)
    if reach is TENANT_WIDE:
        return None
    project, environment, own = entity.project, entity.environment, entity.own

    def may_see(row: Any) -> bool:
        return reach.covers(
            getattr(row, project) if project else None,
            getattr(row, environment) if environment else None,
            getattr(row, own) if own else None,
        )

    return may_see
