"""Pages of reference that are printed from the code's own tables: `make docs` writes them, tests compare them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import app.jobs.all  # noqa: F401  # commands that only a job gives
from app import schema  # every mutation, and with it every command
from app.auth.actor import ActorKind
from app.auth.permissions import (
    INSTANCE_ACTIONS,
    INSTANCE_OWN,
    INSTANCE_PERMISSIONS,
    INSTANCE_TYPES,
    PERMISSIONS,
    READ_PERMISSION,
    SYSTEM_ROLES,
)
from app.commands import COMMANDS, GIVEN_EVENTS, Command, Journal
from app.communication import machines as communication
from app.execution import machines as execution
from app.governance import machines as governance
from app.graph.mutation import MUTATION_OF
from app.identity import machines as identity
from app.lifecycle import Machine
from app.platform import machines as platform
from app.registry import machines as registry
from app.workflow import machines as workflow
from db.enums import ActorType, ChangeRecordType, OpEventType

_CALLERS: Final[Mapping[ActorKind, str]] = {
    ActorKind.OPERATOR: "operators",
    ActorKind.INSTANCE: "agents, for themselves",
    ActorKind.PLATFORM: "the platform",
}

_MACHINES: Final[Sequence[tuple[str, str, Machine[Any]]]] = (
    ("Agent versions", "VER-1.", registry.VERSION),
    ("Agent instances", "INS-1. An agent never changes its own state (INS-2).", registry.INSTANCE),
    ("Deployments", "DEP-1.", governance.DEPLOYMENT),
    ("Approvals", "An escalated request may be raised again (APR-8).", governance.APPROVAL),
    ("Tasks", "TSK-1. Every task begins in INBOX (TSK-2).", execution.TASK),
    ("Workflow runs", "WFR-1. Steps follow each other strictly (WF-6).", workflow.WORKFLOW_RUN),
    ("Workflow steps", "WFR-2. A step that failed is tried again as often as it says (WF-5).", workflow.WORKFLOW_STEP),
    ("Alerts", "ALR-1. The gateway resolves what it raised once the cause is gone.", platform.ALERT),
    ("Runs", "RUN-1. Every run begins RUNNING, if policy lets it begin.", execution.RUN),
    (
        "Tool calls",
        "TOL-1. A call begins with its verdict: RUNNING, PENDING or DENIED. A failed one is tried again three times.",
        execution.TOOL_CALL,
    ),
    (
        "Execution requests",
        "EXR-1. Every request begins ASSIGNED, since it is routed as it is made (EXE-1).",
        execution.EXECUTION_REQUEST,
    ),
    ("Reviews", "REV-1. No review is ever deleted (REV-4).", execution.REVIEW),
    ("Experiments", "Variants are fixed from the start on (behaviour 1.17).", platform.EXPERIMENT),
    ("Telegraph messages", "TEL-1. A message begins SENT.", communication.TELEGRAPH_MESSAGE),
    (
        "Meetings",
        "MTG-1. Only a MANUAL meeting is completed without having been started.",
        communication.MEETING,
    ),
    ("Operators", "DEACTIVATED is for good.", identity.OPERATOR),
)

_ACTORS: Final[Mapping[ActorType, str]] = {
    ActorType.AGENT: "agents",
    ActorType.HUMAN: "operators",
    ActorType.SYSTEM: "the gateway",
}


def journal_markdown() -> str:
    """`docs/journal.md`: every command with its mutation, permission, journal and callers (decision 1)."""
    schema.schema()
    rows: dict[str, list[tuple[str, ...]]] = {_domain(module.__name__): [] for module in schema.DOMAINS}
    for command in COMMANDS.values():
        if command.function.__module__.startswith("app."):  # tests declare some of their own
            rows[_domain(command.function.__module__)].append(_journal_row(command))
    parts = [
        "# Commands and their journals",
        "Every change is a command. Each success leaves exactly one row of its own in the journal named here, in the "
        "transaction of the change; rows that a cascade adds carry `causedBy`, the id of the first. *Change record*: "
        "append-only and chained by hash. *Audit log*: the security journal. *Op event*: telemetry. A command marked "
        "*sensitive* leaves an audit log as well, whenever it is granted (AUD-1). A command without a mutation is "
        "given by a job; `record_spans` by `POST /v1/traces`. Permissions are explained in "
        "[permissions.md](permissions.md).",
        "A refusal leaves nothing but the answer, with these exceptions: a DENY of policy is a change record "
        "`POLICY_EVALUATED`, and refusals that matter to security are audit logs (decision 4).",
    ]
    head = ("Command", "Mutation", "Permission", "Journal", "Who may call")
    for domain, found in rows.items():
        if found:
            parts += [f"## {domain.capitalize()}", _table(head, sorted(found))]
    return "\n\n".join(parts) + "\n"


def _domain(module: str) -> str:
    return module.split(".")[1]


def _journal_row(command: Command) -> tuple[str, ...]:
    field = MUTATION_OF.get(command.name)
    permission = " or ".join(map(_code, command.permissions)) + (", save for oneself" if command.own else "")
    journal = f"{_journal_kind(command.journal)} {_code(getattr(command.journal, 'value', command.journal))}"
    return (
        _code(command.name),
        "" if field is None else _code(field),
        permission,
        journal + (", sensitive" if command.is_sensitive else ""),
        "; ".join(text for kind, text in _CALLERS.items() if kind in command.callers),
    )


def _journal_kind(journal: Journal) -> str:
    if isinstance(journal, ChangeRecordType):
        return "change record"
    return "op event" if isinstance(journal, OpEventType) or journal == GIVEN_EVENTS else "audit log"


def permissions_markdown() -> str:
    """`docs/permissions.md`: the vocabulary with the built-in roles, and what reading each type needs."""
    roles = tuple(SYSTEM_ROLES.values())
    parts = [
        "# Permissions",
        "A permission is one string, `action:resource` (RBAC-1). A role is a set of them; a role is given for the "
        "whole tenant or for a project or environment, for good or until a time. These are all that there are: a role "
        "with any other is refused (RBAC-5).",
        "## Built-in roles",
        "Every tenant has them from the start; nobody can change or delete them (RBAC-4).",
        _table(
            ("Role", "What for", "Permissions", "Can be given"),
            [
                (role.name, role.description, str(len(role.permissions)), "yes" if role.assignable else "no")
                for role in roles
            ],
        ),
    ]
    categories = dict.fromkeys(one.category for one in PERMISSIONS.values())
    for category in categories:
        rows = [
            (_code(one.name), one.description, *("x" if one.name in role.permissions else "" for role in roles))
            for one in PERMISSIONS.values()
            if one.category == category
        ]
        parts += [f"## {category}", _table(("Permission", "Allows to", *(role.name for role in roles)), rows)]
    parts += [
        "## Reading",
        "The permission that each type of the graph needs. A query for a type that the caller may not read is refused "
        "before it runs. A to-one relation from a row that may be read may be read. *Agents*: what an agent's token "
        "reads, its own rows or those of its project (decision 31).",
        _table(
            ("Type", "Permission", "Agents"),
            [(_code(name), _code(needed), _reach(name, needed)) for name, needed in READ_PERMISSION.items()],
        ),
        "## Agents",
        f"An agent has no roles. It holds {_list(INSTANCE_PERMISSIONS)} for reading, and besides, for itself alone: "
        f"{_list(INSTANCE_ACTIONS)} (RBAC-11).",
    ]
    return "\n\n".join(parts) + "\n"


def _reach(type_name: str, permission: str) -> str:
    if type_name not in INSTANCE_TYPES:
        return ""
    return "its own" if permission in INSTANCE_OWN else "its project's"


def state_machines_markdown() -> str:
    """`docs/state-machines.md`: the tables that transitions are checked against (SM-1)."""
    parts = [
        "# State machines",
        "From a state, to which states, and who takes the step; what is not listed is refused with "
        "`INVALID_STATE_TRANSITION` and the steps that there are (SM-2), as is the state that it has already (SM-3). "
        "Guards come on top: an approval, a passed evaluation, an emergency in force. *The gateway*: a job, a cascade "
        "or the effect of another command.",
    ]
    for title, remark, machine in _MACHINES:
        rows = [
            (_code(state.value), _code(target.value), ", ".join(who for kind, who in _ACTORS.items() if kind in actors))
            for state, targets in machine.items()
            for target, actors in targets.items()
        ]
        ends = [state.value for state, targets in machine.items() if not targets]
        parts += [f"## {title}", f"{remark} No step leads out of {_list(ends)}.", _table(("From", "To", "Who"), rows)]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(_code, sorted(names)))


PAGES: Final = {
    "journal": journal_markdown,
    "permissions": permissions_markdown,
    "state-machines": state_machines_markdown,
}
"""Name of the page in docs/ -> what prints it."""
