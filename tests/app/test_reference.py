"""The pages that are printed from the code: up to date, and complete (decision 1, RBAC-1, SM-1)."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from app import reference, schema
from app.auth.permissions import PERMISSIONS, READ_PERMISSION, SYSTEM_ROLES
from app.commands import COMMANDS, Command
from app.graph.mutation import MUTATION_OF
from app.lifecycle import Machine

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_reference_page_is_what_the_code_says(name: str) -> None:
    """Print it anew with `make docs`."""
    assert (DOCS / f"{name}.md").read_text() == reference.PAGES[name]()


def _rows(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def _declared() -> dict[str, Command]:
    schema.schema()
    return {name: one for name, one in COMMANDS.items() if one.function.__module__.startswith("app.")}


def test_decision_1_every_mutation_and_every_command_has_its_journal_on_the_page() -> None:
    rows = {row[0].strip("`"): row for row in _rows(reference.journal_markdown())}
    assert rows.keys() == _declared().keys()
    mutation = schema.schema()._schema.mutation_type
    assert mutation is not None
    assert {row[1].strip("`") for row in rows.values() if row[1]} == set(mutation.fields)
    for name, command in _declared().items():
        journal = str(getattr(command.journal, "value", command.journal))
        assert f"`{journal}`" in rows[name][3], name
        assert f"`{command.permission}`" in rows[name][2], name


def test_a_command_without_a_mutation_is_the_gateways_own() -> None:
    """What a person can give has a field of the schema; what has none is a job's. Traces have a path of their own."""
    for name in _declared().keys() - MUTATION_OF.keys() - {"record_spans"}:
        assert [one.value for one in _declared()[name].callers] == ["platform"], name


def test_rbac_1_every_permission_and_every_type_is_on_the_page() -> None:
    page = reference.permissions_markdown()
    rows = {row[0].strip("`"): row for row in _rows(page)}
    assert rows.keys() == PERMISSIONS.keys() | READ_PERMISSION.keys()
    for name in PERMISSIONS:
        marks = [cell == "x" for cell in rows[name][2:]]
        assert marks == [name in role.permissions for role in SYSTEM_ROLES.values()], name


def test_sm_1_every_table_of_the_domains_is_on_the_page() -> None:
    shown = [machine for _, _, machine in reference._MACHINES]
    for path in sorted((ROOT / "app").glob("*/machines.py")):
        module = importlib.import_module(f"app.{path.parent.name}.machines")
        for machine in _machines(module):
            assert any(machine is one for one in shown), f"{module.__name__} has a table that the page lacks"
    steps = sum(len(targets) for machine in shown for targets in machine.values())
    assert len(_rows(reference.state_machines_markdown())) == steps


def _machines(module: ModuleType) -> list[Machine[object]]:  # type: ignore[type-var]
    return [
        value for name, value in vars(module).items() if name.isupper() and isinstance(value, dict) and name[0] != "_"
    ]
