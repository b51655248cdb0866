"""Payloads: what a mutation shows of its outcome, read after the commit as a query would read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

from graphql import FieldNode, GraphQLField
from graphql.execution.values import VariableValues, get_argument_values

from app.commands import Done, Refused
from app.graph.context import OperationContext
from app.graph.fields import OfOutcome
from app.query.columns import Differently
from app.query.json_values import JsonValue
from app.query.levels import Run
from app.query.lookups import Single, found_of
from app.query.statements import beside

Outcome: TypeAlias = "Done | Refused"
Perform: TypeAlias = Callable[[OperationContext, Mapping[str, Any]], Awaitable[Outcome]]


@dataclass(frozen=True)
class RowsPart:
    """Rows that an outcome names."""

    single: Single
    shown: OfOutcome

    @property
    def singles(self) -> Sequence[Single]:
        """What is read for it."""
        return (self.single,)

    @property
    def is_lasting(self) -> bool:
        """Whether what is read never changes."""
        return self.shown.lasting

    def only_id(self, outcome: Done) -> UUID | None:
        """The id of the one row that this shows, where there is one and it is all that is read."""
        found = None if self.single.rows.children else self.shown.ids(outcome)
        return found if isinstance(found, UUID) else None

    def known(self, run: Run, outcome: Done) -> Any:
        """The row as the command left it; None where it has to be read."""
        row_id = self.only_id(outcome)
        columns = outcome.left.get((self.single.entity.name, row_id)) if row_id is not None else None
        return None if columns is None else self.single.known(run, columns)

    async def value(self, run: Run, outcome: Done) -> Any:
        """The row, or the list of them; None where the outcome names none."""
        found = self.shown.ids(outcome)
        if found is None:
            return None
        keys = [one.bytes for one in found] if isinstance(found, list) else [found.bytes]
        run.observe(self.single.entity.name, len(keys))
        rows = await self.single.load(run, keys) if keys else {}
        if not isinstance(found, list):
            return rows.get(keys[0])
        if len(rows) < len(set(keys)):
            raise Differently("a row of the list is gone")
        return [rows[key] for key in keys]


@dataclass(frozen=True)
class ValuePart:
    """JSON that an outcome has, and the rows that it names."""

    json: JsonValue
    singles: Sequence[Single]
    """The rows of each place that shows some."""
    value_of: Callable[[Done], Any]
    is_lasting: ClassVar[bool] = False

    async def value(self, run: Run, outcome: Done) -> Any:
        """The value, as the selection takes it."""
        value = self.value_of(outcome)
        if not self.singles:
            return self.json.show(value)
        named = self.json.keys_of(value, len(self.singles))
        return self.json.show(value, await found_of(self.singles, run, named))


@dataclass(frozen=True)
class NoErrors:
    """The refusals of what was done: none."""

    async def value(self, _run: Run, _outcome: Done) -> Any:
        """The empty list."""
        return []


@dataclass(frozen=True)
class Constant:
    """`__typename`."""

    text: str

    async def value(self, _run: Run, _outcome: Done) -> Any:
        """The name."""
        return self.text


PayloadPart: TypeAlias = "RowsPart | ValuePart | NoErrors | Constant"


@dataclass(eq=False)
class Payload:
    """A mutation with one root field: the command that it runs, and what its answer shows of it."""

    key: str
    """Under which the answer has it."""
    perform: Perform
    definition: GraphQLField
    node: FieldNode
    parts: Mapping[str, PayloadPart]

    def given(self, variables: VariableValues) -> Mapping[str, Any]:
        """The command's input. Raises GraphQLError where it is not as the schema has it."""
        given: Mapping[str, Any] = get_argument_values(self.definition, self.node, variables)["input"]
        return given

    def known(self, run: Run, outcome: Done) -> dict[str, Any]:
        """The parts that are rows which the command itself has left, and so need not be read."""
        values = {}
        for key, part in self.parts.items():
            if isinstance(part, RowsPart) and (value := part.known(run, outcome)) is not None:
                run.observe(part.single.entity.name, 1)
                values[key] = value
        return values

    def reads(self, known: Collection[str]) -> bool:
        """Whether the answer shows rows besides those."""
        return any(part.singles for key, part in self._of_rows.items() if key not in known)

    @cached_property
    def needs_snapshot(self) -> bool:
        """Whether several statements are needed that must see the same rows; one that never changes is no matter."""
        found = self._of_rows.values()
        if any(single.rows.children for part in found for single in part.singles):
            return True
        return sum(len(part.singles) for part in found if not part.is_lasting) > 1

    @cached_property
    def _of_rows(self) -> Mapping[str, RowsPart | ValuePart]:
        return {key: part for key, part in self.parts.items() if isinstance(part, RowsPart | ValuePart)}

    async def data(self, run: Run, outcome: Done, known: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's data, of which these parts are `known`."""
        made = {**known, **await self._together(run, outcome, known)}
        return {
            self.key: {
                key: made[key] if key in made else await part.value(run, outcome) for key, part in self.parts.items()
            }
        }

    async def _together(self, run: Run, outcome: Done, known: Collection[str]) -> Mapping[str, Any]:
        """The parts that are one row each, by one statement: the row that was changed, and its change record."""
        found = [
            (key, part.single, row_id)
            for key, part in self.parts.items()
            if key not in known and isinstance(part, RowsPart) and (row_id := part.only_id(outcome)) is not None
        ]
        if len(found) < 2:
            return {}
        statements = tuple(single.statement(run) for _, single, _ in found)
        arguments: list[Any] = []
        for statement, (_, single, row_id) in zip(statements, found, strict=True):
            run.observe(single.entity.name, 1)
            arguments += statement.arguments(run.actor, {}, [row_id.hex])
        (record,) = await run.fetch(beside(statements), arguments)
        values: dict[str, Any] = {}
        first = 0
        for statement, (key, single, _) in zip(statements, found, strict=True):
            own = record[first : first + statement.width]
            first += statement.width
            written = single.written(run, [own]) if own[single.id_place] is not None else {}
            values[key] = next(iter(written.values()), None)
        return values
