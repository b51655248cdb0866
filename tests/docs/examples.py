"""The example operations of `docs/examples`, as GraphiQL and README show them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "examples"
VIEWER = Path(__file__).resolve().parents[2] / "web" / "graphiql" / "src" / "viewer.graphql"
"""What the page asks to say who is signed in."""


@dataclass(frozen=True)
class Example:
    """One operation, with the variables that the page opens it with."""

    name: str
    query: str
    variables: dict[str, Any]


def examples() -> list[Example]:
    """All of them, in the order of the page's tabs, `"-P7D"` and its like replaced by the time that long ago."""
    return [_read(path) for path in sorted(DIRECTORY.glob("*.graphql"))]


def _read(path: Path) -> Example:
    beside = path.with_suffix(".variables.json")
    text = beside.read_text(encoding="utf-8") if beside.exists() else "{}"
    text = re.sub(r'"-P(\d+)D"', lambda found: json.dumps(_days_ago(int(found[1]))), text)
    return Example(path.stem, path.read_text(encoding="utf-8"), json.loads(text))


def _days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
