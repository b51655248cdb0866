"""Which words may not occur where (architecture 9): the domain knows no GraphQL, and the graph asks no database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def sources(*patterns: str) -> list[Path]:
    """Source files by pattern; at least one for each."""
    found = []
    for pattern in patterns:
        matching = sorted(ROOT.glob(pattern))
        assert matching, f"nothing fits {pattern}"
        found += matching
    return found


def test_types_and_mutations_ask_the_database_nothing() -> None:
    """Architecture 9: `select(` and `session` occur in neither."""
    for path in sources("app/*/types.py", "app/*/mutations.py", "app/*/mutations/*.py"):
        if path.parent.name == "legacy":
            continue  # what an import came from is no table of the domain, and its types read it themselves
        found = re.findall(
            r"\bselect\(|\b(?:uow|self|database)\.session\b|AsyncSession|import .*\bselect\b", path.read_text()
        )
        assert not found, f"{path.relative_to(ROOT)} has {found}"


def test_the_domain_knows_no_graphql() -> None:
    """Architecture 9: `strawberry` and `graphql` do not occur in commands, rules, machines and db."""
    patterns = ("app/*/commands.py", "app/*/commands/*.py", "app/*/rules.py", "app/*/machines.py", "db/**/*.py")
    writing = ("app/commands.py", "app/running.py", "app/unit_of_work.py")
    for path in sources(*patterns, *writing):
        found = re.findall(r"^\s*(?:from|import) (?:strawberry|graphql|app\.graph)\b.*", path.read_text(), re.MULTILINE)
        assert not found, f"{path.relative_to(ROOT)} has {found}"
