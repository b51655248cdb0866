"""The commands of ``fleetgraph``. Each imports what it needs when it runs, so that all of them start quickly."""

from __future__ import annotations

import enum
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli import open_settings, start_serving
from app.lineage.rules import DEFAULT_DEPTH, MAX_DEPTH

app = typer.Typer(
    name="fleetgraph",
    help="A GraphQL gateway that governs fleets of AI agents. Settings come from variables FLEETGRAPH_…",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Size(enum.StrEnum):
    """How big the demo fleet is: about 3,800 rows, or 1.57 million for benchmarks."""

    SMALL = "small"
    LARGE = "large"


class Direction(enum.StrEnum):
    """Which way `lineage` goes from its row."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    BOTH = "both"


Tenant = Annotated[str, typer.Option("--tenant", metavar="SLUG", help="The tenant's short name.")]


@app.command()
def serve(
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Worker processes; else FLEETGRAPH_WORKERS says how many.")
    ] = None,
) -> None:
    """Serve the gateway, with the embedded Postgres unless FLEETGRAPH_DATABASE_URL is set."""
    start_serving(workers)


@app.command("verify-log")
def verify_log(
    file: Annotated[Path, typer.Argument(help="An NDJSON export of the change log.")],
    head: Annotated[
        str | None, typer.Option(metavar="HASH", help="Hash that the last record must have, as you kept it.")
    ] = None,
) -> None:
    """Recompute the hash chain of an exported change log, without a database."""
    from app.cli.verifying import verify

    raise typer.Exit(verify(file, head))


@app.command()
def migrate() -> None:
    """Bring the database to the newest version; makes the gateway's roles where they are missing."""
    from app.cli.preparing import migrate_database
    from app.database import postgres

    with postgres(open_settings()) as settings:
        migrate_database(settings)


@app.command()
def seed(
    size: Annotated[
        Size, typer.Option(help="small: some 3,800 rows. large: 1.57 million, for benchmarks; takes a few minutes.")
    ] = Size.SMALL,
) -> None:
    """Fill the database with the demo fleet: the tenants northwind and globex."""
    from app.cli.preparing import ready_database, seed_demo

    with ready_database(open_settings()) as settings:
        seed_demo(settings, size.value)


@app.command()
def token(
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="SLUG", help="The tenant's short name.")] = None,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE", help="Someone who holds this role, such as admin; `platform`: the platform itself."
        ),
    ] = None,
    operator: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="Among them, the one with this address.")
    ] = None,
    instance: Annotated[str | None, typer.Option(metavar="ID", help="The agent instance with this id.")] = None,
) -> None:
    """Print a bearer token; it is the last line of the output."""
    from app.cli.tokens import issue
    from app.database import postgres

    with postgres(open_settings()) as settings:
        issued = issue(settings, tenant=tenant, role=role, operator=operator, instance=instance)
    typer.echo(f"Good until {issued.expires_at:%Y-%m-%d %H:%M} UTC:", err=True)
    typer.echo(issued.text)


@app.command("import-legacy")
def import_legacy(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A Mission Control snapshot (a zip).")],
    tenant: Tenant,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"],
            help="The time that ages are counted from. Default: the newest time in the snapshot.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> None:
    """Bring a Mission Control snapshot into the unified schema; may be run again."""
    from app.cli.importing import run
    from app.cli.preparing import ready_database

    with ready_database(open_settings()) as settings:
        committed = run(settings, file, tenant, as_of, as_json=as_json)
    raise typer.Exit(0 if committed else 1)


@app.command()
def schema() -> None:
    """Print the GraphQL schema."""
    from app.schema import print_schema

    typer.echo(print_schema(), nl=False)


@app.command()
def lineage(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="The id of a run, or of any other row: global, or a bare UUID.")
    ],
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="SLUG", help="The tenant's short name. Default: the one that has the row."),
    ] = None,
    direction: Annotated[
        Direction, typer.Option(help="What the row came from, what came from it, or both.")
    ] = Direction.BOTH,
    depth: Annotated[
        int, typer.Option(min=1, max=MAX_DEPTH, help="How many steps to go from the row.")
    ] = DEFAULT_DEPTH,
    as_json: Annotated[bool, typer.Option("--json", help="Print the nodes and edges as the API gives them.")] = False,
) -> None:
    """Show what a run goes back to: instance, version, template, deployment, approvals."""
    from app.cli.lineage import show
    from app.database import postgres

    with postgres(open_settings()) as settings:
        show(settings, run_id, tenant=tenant, direction=direction.value, depth=depth, as_json=as_json)


@app.command()
def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what tenants keep no longer: old op events, audit logs, read notifications, ended deliveries."""
    from app.cli.retaining import retain
    from app.database import postgres

    with postgres(open_settings()) as settings:
        retain(settings, dry_run=dry_run)


@app.command()
def doctor() -> None:
    """Say what is wrong with the set-up and how to mend it; exit code 1 when something is."""
    from app.cli.doctor import examine

    raise typer.Exit(examine())
