"""Every mutation of the schema, held against the rules for all of them (architecture 9, decisions 32 and 33).

The list is the schema's own; what a mutation needs stands in `mutation_stage.INPUTS`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNonNull,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_required_input_field,
)
from sqlalchemy import text

from app.auth.actor import ActorKind, platform_actor
from app.commands import COMMANDS, GIVEN_EVENTS, Command
from app.graph.ids import global_id
from app.graph.inputs import INPUTS as DECLARED
from app.graph.registry import camel
from app.idempotency import LONGEST_KEY
from app.schema import schema
from db.enums import ChangeRecordType, OpEventType
from db.ids import new_id
from db.session import Database
from tests.app.mutation_stage import INPUTS, Stage, make_stage
from tests.asking import ask
from tests.conftest import TenantUnderTest, make_tenant
from tests.fingerprint import fingerprint
from tests.serving import Served

Way = tuple[str | int, ...]


@dataclass(frozen=True)
class Leaf:
    """One field of an input, however deep, and what it takes."""

    path: Way
    kind: str
    is_list: bool
    id_of: str | None
    longest: int

    @property
    def argument(self) -> str:
        """As an error names it."""
        shown = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return shown[1:] + ("[0]" if self.is_list else "")

    @property
    def field(self) -> list[str]:
        """As a refusal names it."""
        return ["input", *(str(step) for step in self.path), *(["0"] if self.is_list else [])]


MUTATIONS: Final = schema()._schema.mutation_type.fields  # type: ignore[union-attr]
NAMES: Final = sorted(MUTATIONS)


def input_of(name: str) -> GraphQLInputObjectType:
    """The input type of a mutation."""
    found = get_named_type(MUTATIONS[name].args["input"].type)
    assert isinstance(found, GraphQLInputObjectType)
    return found


@cache
def command_of(name: str) -> Command:
    """The command behind a mutation: the one whose words its description begins with."""
    described = MUTATIONS[name].description or ""
    (found,) = [one for one in COMMANDS.values() if one.summary and described.startswith(f"{one.summary}\n\nNeeds ")]
    return found


def leaves(kind: GraphQLInputObjectType, before: Way = ()) -> Iterator[Leaf]:
    """Every field of an input that is a plain value, and of the inputs inside it."""
    declared = {camel(one.name): one.given for one in DECLARED[kind.name]}
    for name, field in kind.fields.items():
        named = get_named_type(field.type)
        is_list = is_list_type(get_nullable_type(field.type))
        if isinstance(named, GraphQLInputObjectType):
            yield from leaves(named, (*before, name, *([0] if is_list else [])))
        else:
            yield Leaf((*before, name), named.name, is_list, declared[name].id_of, declared[name].longest)


def own_leaves(name: str, wanted: Callable[[Leaf], bool]) -> list[Leaf]:
    """The fields of a mutation's input, the idempotency key apart."""
    return [one for one in leaves(input_of(name)) if one.path != ("idempotencyKey",) and wanted(one)]


def good(name: str, stage: Stage) -> dict[str, Any]:
    """A minimal good input: the case's values, and ids of the stage's rows."""
    case = INPUTS[name]
    made = copy.deepcopy(dict(case.values))
    kind = input_of(name)
    ids = {camel(one.name): one.given.id_of for one in DECLARED[kind.name] if one.given.id_of}
    for field, of in ids.items():
        if field in case.rows or is_required_input_field(kind.fields[field]):
            made[field] = stage.id_of(str(of), case.rows.get(field))
    if name == "tenantBootstrap":
        made["slug"] = f"b-{new_id().hex[-12:]}"
    if name == "permissionsRefresh":
        made["tenantSlug"] = stage.tenant.slug
    return made


def with_value(made: dict[str, Any], leaf: Leaf, value: Any) -> dict[str, Any]:
    """The input with another value in one place; what is on the way there is filled in."""
    changed = copy.deepcopy(made)
    spot: Any = changed
    for step, then in zip(leaf.path, leaf.path[1:], strict=False):
        if isinstance(step, str):
            spot = spot.setdefault(step, [_first(leaf)] if isinstance(then, int) else {})
        else:
            spot = spot[step]
    spot[leaf.path[-1]] = [value] if leaf.is_list else value
    return changed


def _first(leaf: Leaf) -> dict[str, Any]:
    """A good entry of a list of inputs."""
    entries: dict[str, dict[str, Any]] = {
        "testCases": {"id": "answers", "name": "Answers", "input": {}},
        "testResults": {"testCaseId": "answers", "passed": True},
        "operators": {"name": "Ada", "email": "ada@acme.example"},
        "events": {"type": "RUN_STEP"},
        "agents": {"id": "writer", "persona": "Scout"},
        "steps": {"id": "draft", "agent": "writer", "input": "x", "expects": "", "retryLimit": 0, "timeoutMinutes": 1},
        "variants": {"id": "a", "name": "A", "weight": 50},
        "participants": {"instanceId": global_id("ins", new_id())},
        "actionItems": {"description": "Do it"},
    }
    return dict(entries[str(leaf.path[0])])


def document(name: str, selection: str = "") -> str:
    """The mutation, its refusals selected."""
    kind = input_of(name).name
    return (
        f"mutation($input: {kind}!) {{ {name}(input: $input)"
        f" {{ {selection} userErrors {{ code message field allowedTransitions }} }} }}"
    )


@pytest.fixture
async def stage(tenant: TenantUnderTest) -> Stage:
    """The rows that inputs name."""
    return await make_stage(tenant)


async def problem(stage: Stage, actor: Any, name: str, made: dict[str, Any]) -> dict[str, Any]:
    """What is said against an input: the first error, or the first refusal; empty if it was done."""
    answer = await ask(stage.tenant.database, actor, document(name), input=made)
    if answer.errors:
        return {**answer.errors[0]["extensions"], "message": answer.errors[0]["message"], "top": True}
    refusals = answer.data[name]["userErrors"]
    return {**refusals[0], "top": False} if refusals else {}


def listed(wrong: dict[str, Any]) -> str:
    """What is wrong, a line each."""
    return "\n".join(f"{name}: {what}" for name, what in wrong.items())


def test_every_mutation_has_an_input_here() -> None:
    """A new mutation is under these tests from the day it is in the schema."""
    assert sorted(INPUTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_declares_a_permission_a_description_and_a_journal(name: str) -> None:
    """Architecture 9, api.md: and every mutation takes an idempotency key."""
    command = command_of(name)
    described = MUTATIONS[name].description or ""
    assert len(command.summary) > 20
    assert re.match(r"[A-Z]+-\d+|Decision \d+|Adapts", command.summary) or command.summary[0].isupper()
    for permission in command.permissions:
        assert re.fullmatch(r"[a-z]+:[a-z-]+", permission)
        assert f"`{permission}`" in described
    assert f"`{command.journal}`" in described
    assert isinstance(command.journal, ChangeRecordType | OpEventType) or re.fullmatch(r"[A-Z_]+", command.journal)
    key = input_of(name).fields["idempotencyKey"]
    assert get_named_type(key.type).name == "String"
    assert not isinstance(key.type, GraphQLNonNull)
    for field in input_of(name).fields.values():
        assert field.description


async def test_without_a_token_nothing_is_done(served: Served) -> None:
    """UNAUTHENTICATED, whatever the mutation."""
    stage = await make_stage(served.tenant)
    before = await fingerprint(served.tenant.database, served.tenant.id)
    wrong = {}
    for name in NAMES:
        body = {"query": document(name), "variables": {"input": good(name, stage)}}
        response = await served.client.post("/graphql", json=body)
        said = response.json()["errors"][0]["extensions"]["code"]
        if (response.status_code, said) != (401, "UNAUTHENTICATED"):
            wrong[name] = (response.status_code, said)
    assert not wrong, listed(wrong)
    assert await fingerprint(served.tenant.database, served.tenant.id) == before


async def denials(stage: Stage) -> list[tuple[str | None, Any]]:
    """What the security journal has about denied access, oldest first."""
    async with stage.tenant.database.platform() as connection:
        found = await connection.execute(
            text(
                "SELECT resource, actor_id FROM audit_logs WHERE tenant_id = :tenant AND action = 'ACCESS_DENIED'"
                " ORDER BY id"
            ),
            {"tenant": stage.tenant.id},
        )
        return [(row.resource, row.actor_id) for row in found]


@pytest.mark.parametrize("where", ["nowhere", "in another project only"])
async def test_without_the_permission_nothing_is_done_and_the_attempt_is_noted(stage: Stage, where: str) -> None:
    """RBAC-7, AUD-1: FORBIDDEN names the permission that the command declares, and the denial is in the audit log."""
    before = await fingerprint(stage.tenant.database, stage.tenant.id)
    wrong: dict[str, Any] = {}
    for name in NAMES:
        if INPUTS[name].is_own and where != "nowhere":
            continue
        command = command_of(name)
        actor = stage.without(*command.permissions) if where == "nowhere" else stage.elsewhere()
        noted = len(await denials(stage))
        said = await problem(stage, actor, name, good(name, stage))
        notes = (await denials(stage))[noted:]
        if said.get("code") != "FORBIDDEN" or said.get("permission") not in command.permissions:
            wrong[name] = said
        elif notes != [(said["permission"], actor.id)]:
            wrong[name] = notes
    assert not wrong, listed(wrong)
    after = await fingerprint(stage.tenant.database, stage.tenant.id)
    assert {table for table in after if after[table] != before[table]} == {"audit_logs"}


async def test_an_id_of_another_tenant_is_not_found(stage: Stage, other_tenant: TenantUnderTest) -> None:
    """Decision 24: whichever id of the input it is, NOT_FOUND names its field, and neither tenant has a new row."""
    other = await make_stage(other_tenant)
    both = (stage.tenant.id, other_tenant.id)
    before = await fingerprint(stage.tenant.database, *both)
    wrong: dict[str, Any] = {}
    for name in NAMES:
        for leaf in own_leaves(name, lambda one: one.id_of is not None):
            case, field = INPUTS[name], str(leaf.path[-1])
            kind = "AgentVersion" if leaf.id_of == "Node" else str(leaf.id_of)
            made = with_value(good(name, stage), leaf, other.id_of(kind, case.rows.get(field)))
            for rival in case.one_of - {field} if field in case.one_of else ():
                made.pop(rival, None)
            said = await problem(stage, stage.admin, name, made)
            if (said.get("code"), said.get("field")) != ("NOT_FOUND", leaf.field):
                wrong[f"{name}.{leaf.argument}"] = said
    assert not wrong, listed(wrong)
    assert await fingerprint(stage.tenant.database, *both) == before


async def test_an_id_of_the_wrong_type_names_the_argument(stage: Stage) -> None:
    """Decision 32: BAD_USER_INPUT with the argument, before anything is looked up."""
    wrong: dict[str, Any] = {}
    for name in NAMES:
        for leaf in own_leaves(name, lambda one: one.id_of is not None):
            other = (
                "zzz_" + "0" * 32
                if leaf.id_of == "Node"
                else stage.id_of("Project" if leaf.id_of != "Project" else "Environment")
            )
            for value in (other, "no id"):
                said = await problem(stage, stage.admin, name, with_value(good(name, stage), leaf, value))
                if (said.get("code"), said.get("argument")) != ("BAD_USER_INPUT", leaf.argument):
                    wrong[f"{name}.{leaf.argument} {value}"] = said
    assert not wrong, listed(wrong)


async def test_an_over_long_text_is_refused_with_its_field(stage: Stage) -> None:
    """ERR-3: VALIDATION_ERROR, and nothing is written."""
    before = await fingerprint(stage.tenant.database, stage.tenant.id)
    wrong: dict[str, Any] = {}
    for name in NAMES:
        for leaf in own_leaves(name, lambda one: one.kind == "String"):
            made = with_value(good(name, stage), leaf, "x" * (leaf.longest + 1))
            said = await problem(stage, stage.admin, name, made)
            if (said.get("code"), said.get("field")) != ("VALIDATION_ERROR", leaf.field):
                wrong[f"{name}.{leaf.argument}"] = said
    assert not wrong, listed(wrong)
    assert await fingerprint(stage.tenant.database, stage.tenant.id) == before


async def test_a_text_with_nul_names_the_argument(stage: Stage) -> None:
    """Trap: Postgres has no text with NUL, so it is BAD_USER_INPUT, in the key and inside JSON too."""
    before = await fingerprint(stage.tenant.database, stage.tenant.id)
    wrong: dict[str, Any] = {}
    for name in NAMES:
        for leaf in own_leaves(name, lambda one: one.kind in ("String", "JSON")):
            value: Any = "a\0b" if leaf.kind == "String" else {"note": ["a\0b"]}
            said = await problem(stage, stage.admin, name, with_value(good(name, stage), leaf, value))
            if (said.get("code"), said.get("argument")) != ("BAD_USER_INPUT", leaf.argument):
                wrong[f"{name}.{leaf.argument}"] = said
        said = await problem(stage, stage.admin, name, {**good(name, stage), "idempotencyKey": "a\0b"})
        if (said.get("code"), said.get("argument")) != ("BAD_USER_INPUT", "idempotencyKey"):
            wrong[f"{name}.idempotencyKey"] = said
    assert not wrong, listed(wrong)
    assert await fingerprint(stage.tenant.database, stage.tenant.id) == before


@pytest.mark.parametrize("length", [0, LONGEST_KEY + 1])
async def test_an_idempotency_key_has_a_length(stage: Stage, length: int) -> None:
    """api.md: 1 to 200 characters."""
    for name in NAMES:
        said = await problem(stage, stage.admin, name, {**good(name, stage), "idempotencyKey": "k" * length})
        assert (said.get("code"), said.get("argument")) == ("BAD_USER_INPUT", "idempotencyKey"), name


async def test_a_stale_state_is_a_conflict(stage: Stage) -> None:
    """Whoever says what state they believe in is refused where it is another one."""
    before = await fingerprint(stage.tenant.database, stage.tenant.id)
    wrong: dict[str, Any] = {}
    found = 0
    for name in NAMES:
        for leaf in own_leaves(name, lambda one: str(one.path[0]).startswith("expected")):
            found += 1
            kind = get_named_type(input_of(name).fields[str(leaf.path[0])].type)
            values = list(kind.values) if isinstance(kind, GraphQLEnumType) else [4711]
            stale = INPUTS[name].stale or values[-1]
            said = await problem(stage, stage.admin, name, with_value(good(name, stage), leaf, stale))
            if (said.get("code"), said.get("field")) != ("CONFLICT", leaf.field):
                wrong[name] = said
    assert not wrong, listed(wrong)
    assert found >= 8
    assert await fingerprint(stage.tenant.database, stage.tenant.id) == before


@pytest.mark.parametrize("name", NAMES)
async def test_it_is_done_once_with_one_row_in_its_journal(database: Database, name: str) -> None:
    """Decisions 1 and 33: the input of this table is good; it leaves one row in the declared journal; the same key
    gives the same result and writes nothing."""
    stage = await make_stage(await make_tenant(database))
    command = command_of(name)
    is_platforms = ActorKind.PLATFORM in command.callers and ActorKind.OPERATOR not in command.callers
    actor = platform_actor(datetime.now(UTC) + timedelta(hours=1)) if is_platforms else stage.admin
    made = {**good(name, stage), "idempotencyKey": "k"}
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    optional = {"expiresAt": soon, "estimatedCost": 1.25, "metadata": {"big": 2**60, "n": 1.5}}
    made |= {key: value for key, value in optional.items() if key in input_of(name).fields}
    has_change = isinstance(command.journal, ChangeRecordType)
    selection = "changeRecord { id type }" if has_change and not is_platforms else ""

    async def once() -> Any:
        answer = await ask(database, actor, document(name, selection), input=made)
        assert not answer.errors, answer.errors
        payload = answer.data[name]
        assert payload["userErrors"] == []
        return payload

    first = await once()
    if selection:
        assert first["changeRecord"]["type"] == command.journal
    found = await _journal_rows(database, stage, made, command)
    assert found == 1, f"{found} rows of {command.journal}"
    before = await fingerprint(database, stage.tenant.id)
    assert await once() == first
    assert await fingerprint(database, stage.tenant.id) == before


async def _journal_rows(database: Database, stage: Stage, made: dict[str, Any], command: Command) -> int:
    """How many rows of the command's own kind there are in the tenant that it wrote to."""
    journal, of = command.journal, {}
    table = "audit_logs WHERE action"
    if isinstance(journal, ChangeRecordType):
        table = "change_records WHERE caused_by_id IS NULL AND type"
    elif isinstance(journal, OpEventType):
        table = "op_events WHERE type"
    elif journal == GIVEN_EVENTS:
        table, journal = "op_events WHERE type", made["events"][0]["type"]
    of["slug"] = made.get("slug") if command.on_platform and "operators" in made else stage.tenant.slug
    async with database.platform() as connection:
        statement = text(
            f"SELECT count(*) FROM {table} = :kind AND tenant_id = (SELECT id FROM tenants WHERE slug = :slug)"
        )
        return int((await connection.execute(statement, {"kind": str(journal), **of})).scalar_one())
