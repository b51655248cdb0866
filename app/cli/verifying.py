"""`fleetgraph verify-log`: an auditor checks an exported change log, without a database and without trusting us."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import orjson
from rich.console import Console

from app.cli.failing import CommandError
from db.logs import CONTENT_FIELDS, ChainFault, ChainHead, verify_chain

_CHUNK: Final = 2_000
_MOST_FAULTS: Final = 50
_NEEDED: Final = (*CONTENT_FIELDS, "seq", "content_hash", "prev_hash", "hash")

console = Console()


def verify(file: Path, expected_head: str | None = None) -> int:
    """Recompute the chain of an NDJSON export; 0 if it is whole and unaltered, 1 if not.

    `expected_head` is the hash that the last record must have, as the auditor kept it. Raises CommandError for a file
    that is no such export.
    """
    after: ChainHead | None = None
    faults: list[ChainFault] = []
    count = 0
    try:
        with file.open("rb") as lines:
            records = _records(lines, file)
            while chunk := list(islice(records, _CHUNK)):
                faults += verify_chain(chunk, after=after)
                after = ChainHead(chunk[-1]["seq"], chunk[-1]["hash"])
                count += len(chunk)
    except OSError as error:
        raise CommandError(f"Cannot read {file}: {error.strerror or error}.") from None
    if after is None:
        raise CommandError(f"{file} has no record.")
    if expected_head is not None and after.hash != expected_head.lower():
        faults.append(ChainFault(after.seq, f"The last record's hash is {after.hash}, not {expected_head}."))
    for fault in faults[:_MOST_FAULTS]:
        console.print(f"[red]✗[/red] record {fault.seq}: {fault.problem}", highlight=False)
    if faults:
        console.print(f"{len(faults)} faults in {count:,} records: the log was altered, or is not complete.")
        return 1
    console.print(f"[green]✓[/green] {count:,} records, whole and unaltered up to number {after.seq}.")
    console.print(f"Head: {after.hash}", soft_wrap=True, highlight=False)
    return 0


def _records(lines: IO[bytes], file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise CommandError(f"{file}, line {number} is not JSON: {error}.") from None
        missing = [name for name in _NEEDED if not isinstance(record, dict) or name not in record]
        if missing:
            raise CommandError(
                f"{file}, line {number} is no exported change record: it has no {missing[0]}. "
                "Export with /v1/exports/change-records?format=ndjson."
            )
        yield record
