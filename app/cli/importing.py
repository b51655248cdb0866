"""`fleetgraph import-legacy`: a Mission Control snapshot into a tenant, with its report."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path

import orjson
import typer
from rich.console import Console

from app.cli.showing import progress
from app.database import find_connections, open_database
from app.legacy.importer import import_snapshot
from app.legacy.report import Report
from app.sealing import open_seal
from app.settings import Settings


def run(settings: Settings, file: Path, tenant: str, as_of: datetime | None, *, as_json: bool) -> bool:
    """Imports the file and prints the report, as JSON if asked; whether the import was committed.

    Raises CannotImportError with the database as it was, and KeyUnusable for a secret that cannot be used.
    """
    seal = open_seal(settings)

    async def bring_over() -> Report:
        database = open_database(settings, await find_connections(settings))
        try:
            with progress() as bar:
                task = bar.add_task("Reading the snapshot", total=None)

                def tell(what: str, done: int, total: int | None) -> None:
                    bar.update(task, description=what, completed=done, total=total)

                return await import_snapshot(
                    database, file, tenant, as_of, tell, seal=seal.seal if seal is not None else None
                )
        finally:
            await database.close()

    report = asyncio.run(bring_over())
    if as_json:
        typer.echo(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2, default=str))
    else:
        # A file has no width of its own; in 80 columns the table of the report would be hard to read.
        report.print(Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    return report.committed
