"""Makes snapshots for tests, sound and broken ones."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def write_snapshot(path: Path, tables: Mapping[str, Rows], extra: Mapping[str, str | bytes] | None = None) -> Path:
    """A snapshot of these tables, as an export writes it; `extra` adds further entries by name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.md", "# Convex snapshot export\n")
        listed = (json.dumps({"name": name, "id": 10_000 + n}) + "\n" for n, name in enumerate(tables))
        archive.writestr("_tables/documents.jsonl", "".join(listed))
        for name, rows in tables.items():
            archive.writestr(f"{name}/generated_schema.jsonl", '"any"\n')
            archive.writestr(f"{name}/documents.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path


def row(legacy_id: str, at: float = 1_795_396_922_000, **fields: Any) -> dict[str, Any]:
    """A document with its two system fields."""
    return {"_id": legacy_id, "_creationTime": at, **fields}
