"""Settings as a msgspec Struct, read from the environment.

    class Settings(Struct, frozen=True, kw_only=True, rename=lambda name: "FLEETGRAPH_" + name.upper()):
        port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on.")] = 8000

Types, conversions and bounds are msgspec's. Here is what it leaves open: an empty variable is unset, a list is written
with commas, and all that is wrong is told at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct, ValidationError, convert, inspect, structs

S = TypeVar("S", bound=Struct)


class SettingsError(ValueError):
    """A setting cannot be used. Each line of the message names a variable and what is wrong with it."""


class Secret:
    """A text that is not shown by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"


def from_environment(kind: type[S], environment: Mapping[str, str]) -> S:
    """The settings of these variables. Raises SettingsError, naming each variable that cannot be used and why."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for field in structs.fields(kind):
        if text := environment.get(field.encode_name):
            parts = [part.strip() for part in text.split(",") if part.strip()]
            given = parts if isinstance(field.default, tuple) else text
            try:
                values[field.name] = convert(given, field.type, strict=False, dec_hook=lambda custom, of: custom(of))
            except ValidationError as error:
                bound = re.search(r" [<>]=? \S+$", str(error))
                taken = in_words(inspect.type_info(field.type)) + (bound[0] if bound else "")
                wrong.append(f"{field.encode_name}: expected {taken}, not {text!r}")
    try:
        # What was refused has its default here, so that the rest is told of as well.
        settings = kind(**values)
    except SettingsError as error:
        wrong.append(str(error))
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


_WORDS: Final = {
    inspect.BoolType: "`true` or `false`",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.StrType: "text",
}


def in_words(kind: inspect.Type) -> str:
    """What a field of this type takes."""
    match kind:
        case inspect.Metadata(type=inner):
            return in_words(inner)
        case inspect.UnionType(types=types):
            return " or ".join(in_words(one) for one in types if not isinstance(one, inspect.NoneType))
        case inspect.EnumType(cls=cls):
            return in_words(inspect.LiteralType(tuple(cls)))
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f"`{value}`" for value in values)
        case inspect.VarTupleType(item_type=inspect.StrType()):
            return "list"
        case inspect.VarTupleType(item_type=item):
            return "list, each " + in_words(item)
        case inspect.CustomType(cls=cls):
            return cls.__name__.lower()
        case _:
            return _WORDS[type(kind)]
