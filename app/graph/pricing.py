"""Sums with page sizes that only the request knows: what an operation costs, written down once for a document.

A document's cost is known when it is parsed, but for the variables that stand where page sizes do. `Prices` keeps it as
a list of small sums, each made of earlier ones, so that a fragment which is spread many times is one sum that many
others refer to: writing them down and evaluating them are both linear in the document. A sum without variables is a
plain number at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from graphql import FieldNode, IntValueNode, ListValueNode, NullValueNode, VariableNode

CEILING: Final = 10**15
"""Where counting stops: nested pages would otherwise make numbers of thousands of digits."""
LIST_SIZE: Final = "list_size"
"""Key of a field's metadata: how long its list may get, where `Limits.default_list` would be far from it."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows a page holds: the largest of what the client says, or `default` where they say nothing."""

    default: int
    literal: int | None = None
    variables: tuple[str, ...] = ()

    def of(self, variables: Mapping[str, Any]) -> int:
        """The size with these (coerced) variables; a list counts its items. Never below 0."""
        sizes = [] if self.literal is None else [self.literal]
        for name in self.variables:
            value = variables.get(name)
            if isinstance(value, list):
                sizes.append(len(value))
            elif isinstance(value, int):
                sizes.append(value)
        return min(max(0, *sizes), CEILING) if sizes else self.default


def size_of(node: FieldNode, arguments: Collection[str], default: int) -> Size:
    """The size that a field's arguments ask for, looking at the `arguments` of these names."""
    literals: list[int] = []
    variables: list[str] = []
    for argument in node.arguments or ():
        if argument.name.value not in arguments:
            continue
        value = argument.value
        if isinstance(value, VariableNode):
            variables.append(value.name.value)
        elif isinstance(value, ListValueNode):
            literals.append(len(value.values))
        elif isinstance(value, IntValueNode):
            # A literal of thousands of digits is more than `int` takes, and more than validation lets pass.
            literals.append(int(value.value) if len(value.value) < 16 else CEILING)
        elif not isinstance(value, NullValueNode):
            literals.append(1)  # a list argument may be given as its single item
    return Size(default, max(literals, default=None), tuple(variables))


@dataclass(frozen=True, slots=True)
class Term:
    """A sum that depends on variables, by its place in `Prices`."""

    index: int


Cost: TypeAlias = int | Term


class Prices:
    """The sums of one document."""

    def __init__(self) -> None:
        self._sums: list[tuple[int, tuple[tuple[Size, Cost], ...], tuple[Cost, ...]]] = []

    def sum(self) -> Sum:
        """A new sum to add to."""
        return Sum(self)

    def add(self, constant: int, products: Sequence[tuple[Size, Cost]], choices: Sequence[Cost]) -> Term:
        """Keep a sum: a constant, sizes times costs, and the dearest of some choices."""
        self._sums.append((constant, tuple(products), tuple(choices)))
        return Term(len(self._sums) - 1)

    def evaluate(self, cost: Cost, variables: Mapping[str, Any]) -> int:
        """What `cost` comes to with these coerced variables; at most `CEILING`."""
        if isinstance(cost, int):
            return cost
        values: list[int] = []

        def value(part: Cost) -> int:
            return part if isinstance(part, int) else values[part.index]

        for constant, products, choices in self._sums[: cost.index + 1]:
            total = constant + sum(size.of(variables) * value(part) for size, part in products)
            values.append(min(total + max(map(value, choices), default=0), CEILING))
        return values[cost.index]


_ONE: Final = Size(1)


class Sum:
    """A sum that is being written down."""

    __slots__ = ("_choices", "_constant", "_prices", "_products")

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._constant = 0
        self._products: list[tuple[Size, Cost]] = []
        self._choices: list[Cost] = []

    def add(self, cost: Cost, times: Size = _ONE) -> None:
        """Add a cost, as often as `times` says."""
        if isinstance(cost, int) and not times.variables:
            self._constant = min(self._constant + cost * times.of({}), CEILING)
        elif cost != 0:
            self._products.append((times, cost))

    def add_dearest(self, costs: Sequence[Cost]) -> None:
        """Add the dearest of costs that exclude each other. Once a sum."""
        numbers = [cost for cost in costs if isinstance(cost, int)]
        terms: list[Cost] = [cost for cost in costs if not isinstance(cost, int)]
        if terms:
            self._choices = terms + ([max(numbers)] if numbers else [])
        elif numbers:
            self._constant = min(self._constant + max(numbers), CEILING)

    def close(self) -> Cost:
        """The sum as a cost that others can be made of."""
        if not self._products and not self._choices:
            return self._constant
        return self._prices.add(self._constant, self._products, self._choices)
