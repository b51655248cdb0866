"""Mutations: parse the input, run one command, map its outcome to a payload.

    FIELDS = (
        mutation("agent_version_transition", commands.transition_version, AgentVersionTransitionInput, AgentVersion),
    )

Permission, journal and description are the command's. A payload has the entity, its change record where the journal is
the change log, and `userErrors`; what a payload shows of an entity is read anew, after the commit, by the kit's own
loaders, so a nested selection costs what the same query would.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import strawberry
from strawberry.types.field import StrawberryField

from app.commands import COMMANDS, Body, Done, Refusal, Refused
from app.graph.context import Info, OperationContext, context_of
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import GraphField, OfOutcome, argument, described_enum, graph_field, list_of, optional
from app.graph.ids import global_id
from app.graph.inputs import INPUTS, InputField, OverLong, arguments_of, given
from app.graph.making import create_type
from app.graph.registry import ENTITIES, TYPES, Named, camel
from app.idempotency import LONGEST_KEY, Key
from app.running import run
from app.unit_of_work import PermissionDenied
from db.enums import ChangeRecordType

_CODES: Final[Mapping[Refusal, str]] = {
    Refusal.NOT_FOUND: "The tenant has no such row.",
    Refusal.CONFLICT: "The row is not as the input expects it, or the idempotency key was used for something else.",
    Refusal.DUPLICATE_RESOURCE: "Something that must be unique exists already.",
    Refusal.INVALID_STATE_TRANSITION: "There is no such step from here; `allowedTransitions` has those that there are.",
    Refusal.DEPENDENCY_NOT_MET: "Something else must be so first; the message names it.",
    Refusal.INTEGRITY_VIOLATION: "A hash does not fit what it vouches for.",
    Refusal.VALIDATION_ERROR: "A value breaks a rule of the domain; `field` names it.",
}
Refusal.__doc__ = "What the domain refuses, as a code to switch on."
USER_ERROR_CODE: Final = described_enum(Refusal)
USER_ERROR_CODE.__strawberry_definition__.name = "UserErrorCode"  # type: ignore[attr-defined]
for _value in USER_ERROR_CODE.__strawberry_definition__.values:  # type: ignore[attr-defined]
    _value.description = _CODES[Refusal[_value.name]]

MUTATION_OF: Final[dict[str, str]] = {}
"""Command -> the field that gives it, as the schema names it; a command of a job has none."""

TYPES["UserError"] = create_type(
    "UserError",
    [
        graph_field("code", USER_ERROR_CODE, "What kind of refusal it is.", lambda e, _i: e.code.value),
        graph_field("message", str, "What is wrong and what would be right, for a person.", lambda e, _i: e.message),
        graph_field(
            "field",
            optional(list_of(str)),
            'Path of the input field to blame, such as `["input", "reason"]`; null where no single one is.',
            lambda e, _i: None if e.field is None else ["input", *_path(e.field)],
        ),
        graph_field(
            "allowed_transitions",
            optional(list_of(str)),
            "For a refused transition: the states that this caller may go to from here (SM-2).",
            lambda e, _i: None if e.allowed is None else list(e.allowed),
        ),
    ],
    description="A refusal of the domain: nothing was changed.",
)


def _path(field: str) -> list[str]:
    return [camel(part) for part in field.replace("[", ".").replace("]", "").split(".")]


@dataclass(frozen=True)
class Shown:
    """A further field of a payload: a value of `Done.extras`.

    `of` names the entity whose id (or ids) it holds. `make` makes the value of all extras instead, for what must not be
    kept with an idempotency key, such as a token. `tell` makes it of the outcome, for what a replay tells otherwise.
    """

    name: str
    annotation: Any
    description: str
    of: str | None = None
    make: Callable[[Mapping[str, Any], Info], Any] | None = None
    tell: Callable[[Done], Any] | None = None


def shown_id(name: str, entity: str, description: str) -> Shown:
    """A further field with the global id of a row that the caller cannot read, or that is gone: `Done.extras` has its
    UUID as text, or a list of them."""
    prefix = ENTITIES[entity].prefix

    def make(extras: Mapping[str, Any], _info: Info) -> Any:
        value = extras.get(name)
        if isinstance(value, list):
            return [global_id(prefix, UUID(one)) for one in value]
        return None if value is None else global_id(prefix, UUID(value))

    return Shown(name, strawberry.ID, description, make=make)


def mutation(name: str, body: Body, input_cls: type, result: type | None, *, shows: Sequence[Shown] = ()) -> GraphField:
    """The field of a command. `result` is the entity that the payload carries, under its own name."""
    command = COMMANDS[body.__name__]
    MUTATION_OF[command.name] = camel(name)
    input_name = input_cls.__name__
    _take_key(input_cls)
    payload = f"{camel(name)[0].upper()}{camel(name)[1:]}Payload"
    entity = None if result is None else ENTITIES[result.__name__]
    fields: list[StrawberryField] = [] if entity is None else [_entity_field(entity.name)]
    fields += [_shown_field(one) for one in shows]
    if isinstance(command.journal, ChangeRecordType):
        fields.append(_change_field())
    fields.append(_errors_field())
    TYPES[payload] = create_type(payload, fields, description=f"What came of `{camel(name)}`.")
    needs = " or ".join(f"`{one}`" for one in command.permissions) + (", save for oneself" if command.own else "")
    description = f"{command.summary}\n\nNeeds {needs}. Journal: {_journal(command.journal)}."

    async def perform(context: OperationContext, input: Mapping[str, Any]) -> Done | Refused:
        given_input = dict(input)
        text = given_input.pop("idempotencyKey", None)
        if text is not None and not 0 < len(text) <= LONGEST_KEY:
            raise BadUserInput(f"`idempotencyKey` has 1 to {LONGEST_KEY} characters.", "idempotencyKey")
        if text is not None and "\0" in text:
            raise BadUserInput("`idempotencyKey` has a NUL character, which cannot be stored.", "idempotencyKey")
        try:
            arguments = arguments_of(input_name, given_input)
        except OverLong as error:
            return error.refused
        key = None if text is None else Key.of(camel(name), text, given_input)
        try:
            return await run(context.database, context.actor, command.name, arguments, key, context.seal)
        except PermissionDenied as denied:
            raise Forbidden(denied.permission) from None
        finally:
            await context.renew()

    async def resolve(_root: Any, info: Info, input: Mapping[str, Any]) -> Done | Refused:
        context = context_of(info)
        outcome = context.performed.pop(str(info.path.key), None)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or await perform(context, input)

    takes = [argument("input", TYPES[input_name], "What to do, and to what.")]
    field = graph_field(name, Named(payload), description, resolve, takes)
    field.perform = perform
    return field


def _take_key(input_cls: type) -> None:
    """Every mutation takes an idempotency key (api.md)."""
    definition = input_cls.__strawberry_definition__  # type: ignore[attr-defined]
    if any(one.python_name == "idempotency_key" for one in definition.fields):
        return
    declared = given(
        "Any text of the client's: the same key with the same input gives the first result again, for 24 hours.",
        longest=LONGEST_KEY,
    )
    made = strawberry.field(default=strawberry.UNSET, description=declared.description)
    made.python_name, made.type = "idempotency_key", optional(str)
    definition.fields.append(made)
    INPUTS[input_cls.__name__] += (InputField("idempotency_key", declared, None),)


def _errors_field() -> GraphField:
    field = graph_field(
        "user_errors",
        list_of(Named("UserError")),
        "Why it was refused; empty if it was done.",
        lambda outcome, _i: [outcome] if isinstance(outcome, Refused) else outcome.refused,
    )
    field.of_outcome = OfOutcome()
    return field


def _rows_field(name: str, annotation: Any, description: str, shown: OfOutcome) -> GraphField:
    """A field of rows that are read anew, by the ids that the outcome has of them."""

    def resolve(outcome: Done | Refused, info: Info) -> Any:
        found = None if isinstance(outcome, Refused) else shown.ids(outcome)
        if found is None:
            return None
        loader = context_of(info).loaders.row(ENTITIES[str(shown.entity)])
        return loader.load_many(found) if isinstance(found, list) else loader.load(found)

    field = graph_field(name, optional(annotation), description, resolve)
    field.of_outcome = shown
    return field


def _entity_field(name: str) -> GraphField:
    def row_id(outcome: Done) -> UUID | None:
        row: Any = outcome.row
        return outcome.row_id if row is None else row.id

    description = f"The {name} as it is now; null if refused."
    return _rows_field(name[0].lower() + name[1:], Named(name), description, OfOutcome(name, row_id))


def _shown_field(shown: Shown) -> GraphField:
    def value_of(outcome: Done) -> Any:
        return outcome.extras.get(shown.name, outcome.unkept.get(shown.name))

    def ids(outcome: Done) -> Any:
        value = value_of(outcome)
        if value is None or isinstance(value, list):
            return None if value is None else _uuids(value)
        return _uuids([value])[0]

    is_plain = shown.tell is None and shown.make is None
    if shown.of is not None and is_plain:
        return _rows_field(shown.name, shown.annotation, shown.description, OfOutcome(shown.of, ids))

    def resolve(outcome: Done | Refused, info: Info) -> Any:
        if isinstance(outcome, Refused):
            return None
        if shown.tell is not None:
            return shown.tell(outcome)
        if shown.make is not None:
            return shown.make(outcome.extras, info)
        return value_of(outcome)

    field = graph_field(shown.name, optional(shown.annotation), shown.description, resolve)
    if is_plain:
        field.of_outcome = OfOutcome(value=value_of)
    return field


def _uuids(texts: Sequence[Any]) -> list[Any]:
    return [text if isinstance(text, UUID) else UUID(text) for text in texts]


def _change_field() -> GraphField:
    return _rows_field(
        "change_record",
        Named("ChangeRecord"),
        "The command's own record in the change log; null if refused, or if nothing changed.",
        OfOutcome("ChangeRecord", lambda outcome: outcome.change_id, lasting=True),
    )


def _journal(journal: Any) -> str:
    kind = "change record" if isinstance(journal, ChangeRecordType) else "audit log or op event"
    return f"{kind} `{getattr(journal, 'value', journal)}`"
