"""Inputs of mutations: what a class declares, and how what a client sent becomes a command's arguments.

    @input_type
    class AgentVersionTransitionInput:
        '''Which version goes where.'''
        version_id: str = given("The version to move.", id_of="AgentVersion")
        to: LifecycleState = given("The state to reach.")
        reason: str | None = given("Why, for the change record.", longest=2_000)

Global ids become UUIDs, enums members, nested inputs mappings with Python names. What is absent is left out, so that
a command's own defaults hold; an explicit null is None.
"""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.field import StrawberryField

from app.commands import Refusal, Refused
from app.graph.errors import BadUserInput
from app.graph.fields import Shape, base_type
from app.graph.ids import parse_global_id, parse_id_of
from app.graph.making import graph_class
from app.graph.registry import ENTITIES, PREFIXES, TYPES, camel

T = TypeVar("T")

LONGEST_TEXT: Final = 10_000
"""Characters of a text that says nothing else (ERR-3)."""
MOST_ITEMS: Final = 1_000
"""Entries of a list that says nothing else."""
_NOTES: Final = "metadata"


@dataclass(frozen=True)
class Given:
    """One field of an input."""

    description: str
    id_of: str | None
    longest: int
    most: int
    default: Any


EXPECTED_STATUS: Final = "The status that you believe it has; another one is a conflict."
"""Description of every `expectedStatus`."""


def given(
    description: str,
    *,
    id_of: str | None = None,
    longest: int = LONGEST_TEXT,
    most: int = MOST_ITEMS,
    default: Any = strawberry.UNSET,
) -> Any:
    """A field of an input. `id_of` names the type of a global id (`Node` for any); `longest` counts characters of a
    text, `most` entries of a list. `default` is what the client need not send."""
    return Given(description, id_of, longest, most, default)


@dataclass(frozen=True)
class InputField:
    """A declared field with the shape of its annotation; `nested` names the input type of an object."""

    name: str
    given: Given
    nested: str | None


INPUTS: Final[dict[str, tuple[InputField, ...]]] = {}
"""The fields of every input type by its name."""


def input_type(cls: type[T]) -> type[T]:
    """Make a class the input of a mutation, or an object inside one."""
    namespace = vars(sys.modules[cls.__module__])
    fields: list[InputField] = []
    body: dict[str, StrawberryField] = {}
    kinds: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(cls).items():
        declared: Given = cls.__dict__[name]
        shape = Shape.of(annotation, f"{cls.__name__}.{name}")
        nested = shape.name if shape.name in INPUTS else None
        if nested:
            base: Any = TYPES[nested]
        else:
            base = strawberry.ID if declared.id_of else base_type(shape.name, namespace)
        kind = shape.graphql(base)
        default = strawberry.UNSET if shape.optional and declared.default is strawberry.UNSET else declared.default
        kinds[name] = kind
        body[name] = StrawberryField(
            python_name=name,
            type_annotation=StrawberryAnnotation(kind),
            description=declared.description,
            **({} if default is strawberry.UNSET and not shape.optional else {"default": default}),
        )
        fields.append(InputField(name, declared, nested))
    INPUTS[cls.__name__] = tuple(fields)
    description = inspect.cleandoc(cls.__doc__ or "")
    bare = graph_class(cls.__name__, cls.__doc__, body, kinds, module=cls.__module__)
    made: type[T] = strawberry.input(bare, description=description)
    TYPES[cls.__name__] = made
    return made


class OverLong(Exception):
    """A text or a list of an input is longer than its field takes: a refusal of the domain."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


def arguments_of(input_name: str, value: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The command's arguments for what a client sent. Raises BadUserInput for an id or a text that is none, and
    OverLong."""
    return {
        one.name: _parsed(one, value[name], f"{path}{name}")
        for one in INPUTS[input_name]
        if (name := camel(one.name)) in value
    }


def _parsed(one: InputField, value: Any, path: str) -> Any:
    if value is None:
        return None
    if one.name == _NOTES and not isinstance(value, dict):
        raise BadUserInput(f"`{path}` holds open notes: a JSON object.", path)
    if isinstance(value, list):
        if len(value) > one.given.most:
            raise _too_long(path, f"has {len(value)} entries, at most {one.given.most} are taken")
        return [_parsed(one, item, f"{path}[{position}]") for position, item in enumerate(value)]
    if one.nested is not None:
        return arguments_of(one.nested, value, f"{path}.")
    if one.given.id_of == "Node":
        return _any_id(value, path)
    if one.given.id_of is not None:
        entity = ENTITIES[one.given.id_of]
        return parse_id_of(entity.prefix, entity.name, value, path)
    if isinstance(value, str) and type(value) is str:
        if "\0" in value:
            raise BadUserInput(f"`{path}` has a NUL character, which cannot be stored. Take it out.", path)
        if len(value) > one.given.longest:
            raise _too_long(path, f"has {len(value)} characters, at most {one.given.longest} are taken")
    if isinstance(value, dict) and _has_nul(value):
        raise BadUserInput(f"`{path}` has a NUL character inside, which cannot be stored. Take it out.", path)
    return value


def _has_nul(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object has a NUL character in any text or name, however deep."""
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if "\0" in value:
                return True
        elif isinstance(value, dict):
            pending += value.keys()
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return False


def _any_id(value: str, path: str) -> tuple[str, Any]:
    prefix, row_id = parse_global_id(value, path)
    if prefix not in PREFIXES:
        raise BadUserInput(f"`{path}` begins with `{prefix}_`, which no type of this API has.", path)
    return PREFIXES[prefix].name, row_id


def _too_long(path: str, what: str) -> OverLong:
    return OverLong(Refused(Refusal.VALIDATION_ERROR, f"`{path}` {what}.", path))
