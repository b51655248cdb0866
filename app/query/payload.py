"""Payloads: what a mutation shows of its outcome, read after the commit as a query would read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import FieldNode, GraphQLField
from graphql.execution.values import VariableValues, get_argument_values

from app.commands import Done, Refused
from app.graph.context import OperationContext
from app.graph.fields import OfOutcome
from app.query.columns import Differently
from app.query.plan import Run, Single

Outcome: TypeAlias = "Done | Refused"
Perform: TypeAlias = Callable[[OperationContext, Mapping[str, Any]], Awaitable[Outcome]]


@dataclass(frozen=True)
class RowsPart:
    """Rows that an outcome names."""

    single: Single
    shown: OfOutcome

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


PayloadPart: TypeAlias = "RowsPart | NoErrors | Constant"


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

    @property
    def needs_snapshot(self) -> bool:
        """Whether several statements are needed that must see the same rows; one that never changes is no matter."""
        rows = [part for part in self.parts.values() if isinstance(part, RowsPart)]
        return any(part.single.rows.children for part in rows) or sum(not part.shown.lasting for part in rows) > 1

    async def data(self, run: Run, outcome: Done) -> dict[str, Any]:
        """The answer's data."""
        return {self.key: {key: await part.value(run, outcome) for key, part in self.parts.items()}}
