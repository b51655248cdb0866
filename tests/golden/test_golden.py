"""Golden files: a query, its answer on the demo fleet, and the exact SQL of both ways, so that an N+1 is a diff.

`.sql` is what the resolvers send, `.compiled.sql` what the compiler sends for the same answer.

After a change that is meant: `FLEETGRAPH_GOLDEN=write pytest tests/golden`, and read the diff.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests import asking
from tests.asking import ask
from tests.conftest import Demo

CASES = Path(__file__).parent / "cases"
IS_WRITING = os.environ.get("FLEETGRAPH_GOLDEN") == "write"


@pytest.mark.parametrize("case", sorted(path.stem for path in CASES.glob("*.graphql")))
async def test_golden(demo_fleet: Demo, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer and the statements of both ways are what they were."""
    query = (CASES / f"{case}.graphql").read_text()
    answer = await ask(demo_fleet.database, demo_fleet.northwind, query)
    assert not answer.errors, answer.errors
    executor = asking.compiling()
    monkeypatch.setattr(asking, "executor", lambda: executor)
    compiled = await ask(demo_fleet.database, demo_fleet.northwind, query)
    assert json.dumps(compiled.data) == json.dumps(answer.data)
    found = {
        "json": json.dumps(answer.data, indent=2, ensure_ascii=False) + "\n",
        "sql": "\n\n".join(_readable(statement) for statement in answer.statements) + "\n",
        "compiled.sql": "\n\n".join(_readable(statement) for statement in compiled.statements) + "\n",
    }
    for suffix, text in found.items():
        path = CASES / f"{case}.{suffix}"
        if IS_WRITING:
            path.write_text(text)
        assert path.read_text() == text, f"{path.name} differs"


def _readable(statement: str) -> str:
    """One clause a line, and the columns of a table as `table.*`: what is read of a row is not the question here."""
    statement = re.sub(r"\s+", " ", statement).strip()
    statement = re.sub(r"((\w+)\.\w+(?: AS \w+)?)(, \2\.\w+(?: AS \w+)?){3,}", r"\2.*", statement)
    return re.sub(r" (FROM|WHERE|ORDER BY|LIMIT|JOIN|GROUP BY|AND) ", r"\n\1 ", statement) + ";"
