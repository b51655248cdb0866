"""What a workflow's definition has to be (WF-1), whether it comes as YAML or as an input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import yaml

LONGEST_NAME: Final = 100
LONGEST_TEXT: Final = 10_000
"""Characters of a step's input, of a description, and of a file of a workspace."""
LONGEST_YAML: Final = 100_000
MOST_AGENTS: Final = 50
MOST_STEPS: Final = 100
MOST_FILES: Final = 50
MOST_RETRIES: Final = 100
MOST_MINUTES: Final = 60 * 24 * 30
"""Longest time of one try, in minutes: thirty days."""
_DEEPEST: Final = 20
"""Levels of nesting of a YAML text; a definition needs six."""

_TOP: Final = ("id", "name", "description", "agents", "steps")
_AGENT: Final = ("id", "persona", "workspace")
_STEP: Final = ("id", "agent", "input", "expects", "retryLimit", "timeoutMinutes")


class DefinitionFault(Exception):
    """What is wrong with a definition, and where: a path such as `steps[2].agent`."""

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


@dataclass(frozen=True)
class Definition:
    """A definition that is in order; roles and steps as they are stored."""

    key: str
    name: str
    description: str
    agents: list[dict[str, Any]]
    steps: list[dict[str, Any]]


def definition_of(document: Any) -> Definition:
    """WF-1. The definition in a document under the names of its YAML. Raises DefinitionFault for the first fault."""
    top = _object(document, "", "The definition", _TOP)
    key = _text(top, "id", "", "The definition", longest=LONGEST_NAME)
    name = _text(top, "name", "", "The definition", longest=LONGEST_NAME)
    description = _text(top, "description", "", "The definition", longest=LONGEST_TEXT, may_be_blank=True)
    agents = [_agent(one, at) for at, one in enumerate(_list(top, "agents", MOST_AGENTS, "role"))]
    _unique(agents, "agents", "role")
    roles = {one["id"] for one in agents}
    steps = [_step(one, at, roles) for at, one in enumerate(_list(top, "steps", MOST_STEPS, "step"))]
    _unique(steps, "steps", "step")
    return Definition(key, name, description, agents, steps)


def _agent(value: Any, at: int) -> dict[str, Any]:
    path = f"agents[{at}]"
    what = _named("role", value, at)
    given = _object(value, path, what, _AGENT)
    made: dict[str, Any] = {
        "id": _text(given, "id", path, what, longest=LONGEST_NAME),
        "persona": _text(given, "persona", path, what, longest=LONGEST_NAME),
    }
    if given.get("workspace") is not None:
        made["workspace"] = _workspace(given["workspace"], f"{path}.workspace", what)
    return made


def _workspace(value: Any, path: str, what: str) -> dict[str, Any]:
    given = _object(value, path, f"{what}: its workspace", ("files",))
    files = given.get("files")
    if files is None:
        return {}
    if not isinstance(files, Mapping) or len(files) > MOST_FILES:
        raise DefinitionFault(f"{what}: `files` is an object of at most {MOST_FILES} texts by name.", f"{path}.files")
    for name, text in files.items():
        is_good = _is_text(name) and 0 < len(name) <= LONGEST_NAME and _is_text(text) and len(text) <= LONGEST_TEXT
        if not is_good:
            message = f"{what}: each of its files is a text of at most {LONGEST_TEXT} characters under a name."
            raise DefinitionFault(message, f"{path}.files")
    return {"files": dict(files)}


def _step(value: Any, at: int, roles: set[str]) -> dict[str, Any]:
    path = f"steps[{at}]"
    what = _named("step", value, at)
    given = _object(value, path, what, _STEP)
    made: dict[str, Any] = {
        "id": _text(given, "id", path, what, longest=LONGEST_NAME),
        "agent": _text(given, "agent", path, what, longest=LONGEST_NAME),
        "input": _text(given, "input", path, what, longest=LONGEST_TEXT),
        "expects": _text(given, "expects", path, what, longest=LONGEST_TEXT, may_be_blank=True),
    }
    if made["agent"] not in roles:
        known = ", ".join(sorted(roles)) or "none"
        message = f"{what} is for the role {made['agent']!r}, which is not among the agents: {known}."
        raise DefinitionFault(message, f"{path}.agent")
    retries: Any = given.get("retryLimit")
    minutes: Any = given.get("timeoutMinutes")
    if type(retries) is not int or not 0 <= retries <= MOST_RETRIES:
        message = f"{what}: `retryLimit` is a whole number from 0 to {MOST_RETRIES}."
        raise DefinitionFault(message, f"{path}.retryLimit")
    if type(minutes) not in (int, float) or not math.isfinite(minutes) or not 0 < minutes <= MOST_MINUTES:
        message = f"{what}: `timeoutMinutes` is a number above 0, and at most {MOST_MINUTES}."
        raise DefinitionFault(message, f"{path}.timeoutMinutes")
    return {**made, "retryLimit": retries, "timeoutMinutes": minutes}


def _named(kind: str, value: Any, at: int) -> str:
    """How a message calls a role or a step: by its id where it has one."""
    name = value.get("id") if isinstance(value, Mapping) else None
    return f"The {kind} {name!r}" if _is_text(name) and name.strip() else f"The {kind} number {at + 1}"


def _object(value: Any, path: str, what: str, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DefinitionFault(f"{what} is an object with {', '.join(keys)}.", path or None)
    for key in value:
        if key not in keys:
            message = f"{what} has {key!r}; its keys are {', '.join(keys)}."
            raise DefinitionFault(message, path or None)
    return value


def _list(top: Mapping[str, Any], key: str, most: int, kind: str) -> Sequence[Any]:
    value = top.get(key)
    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise DefinitionFault(f"A definition has a list `{key}` with 1 to {most} entries, a {kind} each.", key)
    return value


def _is_text(value: Any) -> TypeGuard[str]:
    """Whether it is a text that can be stored: no NUL, and no half of a surrogate pair."""
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= one <= "\udfff" for one in value)


def _text(given: Mapping[str, Any], key: str, path: str, what: str, *, longest: int, may_be_blank: bool = False) -> str:
    value = given.get(key, "" if may_be_blank else None)
    where = f"{path}.{key}" if path else key
    if not _is_text(value):
        raise DefinitionFault(f"{what}: `{key}` is a text. Put it in quotes if it looks like something else.", where)
    text: str = value
    if not may_be_blank and not text.strip():
        raise DefinitionFault(f"{what}: `{key}` may not be blank.", where)
    if len(text) > longest:
        raise DefinitionFault(f"{what}: `{key}` has at most {longest} characters.", where)
    return text


def _unique(rows: Sequence[dict[str, Any]], path: str, kind: str) -> None:
    seen: set[str] = set()
    for at, one in enumerate(rows):
        if one["id"] in seen:
            raise DefinitionFault(
                f"Two are called {one['id']!r}; each {kind} has a name of its own.", f"{path}[{at}].id"
            )
        seen.add(one["id"])


# --- YAML -------------------------------------------------------------------------------------------------------------


_SafeLoader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Plain values alone, and no key twice: the second one would win without a word."""

    construct_object: Callable[..., Any]

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """The mapping. Raises DefinitionFault where a key stands twice."""
        seen = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)
            if not isinstance(key, str) or key in seen:
                where = name.start_mark.line + 1
                raise DefinitionFault(f"Line {where}: {str(key)[:100]!r} is no text, or stands twice in one object.")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """The document in a YAML text: plain values, no anchors and aliases, one document. Raises DefinitionFault.

    Aliases are refused as they are read, before anything is built: a few lines of them stand for billions of values.
    """
    if len(text) > LONGEST_YAML:
        raise DefinitionFault(f"A definition has at most {LONGEST_YAML} characters.")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise DefinitionFault(f"Line {_line(event)}: aliases are not taken. Write the value out.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise DefinitionFault(f"Line {_line(event)}: it is nested more than {_DEEPEST} levels deep.")
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # a safe loader, with less
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"Line {mark.line + 1}: "
        raise DefinitionFault(f"{where}this is no YAML: {getattr(error, 'problem', None) or 'unreadable'}.") from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise DefinitionFault("A value in it cannot be read. Put it in quotes.") from error


def _line(event: yaml.Event) -> int:
    """The line that an event of the text begins in, from 1."""
    return 1 if event.start_mark is None else event.start_mark.line + 1
