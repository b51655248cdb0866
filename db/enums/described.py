"""The base of every enum."""

import enum
from typing import Self


class Described(enum.StrEnum):
    """An enum whose values carry a description: `DRAFT = "DRAFT", "What it means."`

    The docstring and the values' descriptions are the GraphQL schema's. Order is lifecycle order.
    """

    description: str

    def __new__(cls, value: str, description: str = "") -> Self:
        """The member, a str equal to its value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member
