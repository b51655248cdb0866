"""Imports a snapshot of a former system into one tenant (`fleetgraph import-legacy`, MIG-0 to MIG-11).

The first pass reads the whole file, so that a broken one changes nothing; the second writes, in one transaction that
commits when the checks hold (decision 40). A second import of the same file changes nothing, and one of a newer
snapshot adds what is new.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.legacy.agents import Fleet
from app.legacy.approvals import Approvals
from app.legacy.checks import check
from app.legacy.document import Doc, moment
from app.legacy.engine import Engine, Progress
from app.legacy.ground import Ground, Home, find_tenant
from app.legacy.journal import Journal
from app.legacy.keys import Keys
from app.legacy.logs import run_logs
from app.legacy.mapping import table_of
from app.legacy.people import People
from app.legacy.placing import Placing
from app.legacy.preferences import run_preferences
from app.legacy.report import Report
from app.legacy.snapshot import CannotImportError, Limits, Snapshot
from app.legacy.tables import collaboration, evaluation, execution, governance, identity, platform, registry
from app.legacy.tenancy import Survey, survey
from app.legacy.world import World
from db.models import AgentInstance
from db.session import Database

_LOGS: Final = ("taskTransitions", "changeRecords", "activities", "opEvents", "taskEvents", "costLedger")
_JOINED: Final = ("tenants", "permissions", "roles", "orgMembers", "agents", "agentInstances", "approvals")
_SPECIAL: Final = (*_LOGS, *_JOINED, "approvalRecords", "notificationPreferences")

_BEFORE_APPROVALS: Final = (execution.DEPENDENCIES, execution.MESSAGES, execution.RUNS, execution.TOOL_CALLS)
_AFTER_APPROVALS: Final = (
    *(execution.EXECUTION_REQUESTS, execution.REVIEWS),
    *(collaboration.PERFORMANCE, collaboration.PATTERNS, collaboration.DOCUMENTS),
    *(evaluation.SUITES, evaluation.EVALUATION_RUNS, evaluation.METRICS, evaluation.SCORING),
    *(collaboration.THREADS, collaboration.TELEGRAPH, collaboration.MEETINGS, collaboration.VOICE),
    *(evaluation.NOTIFICATION_EVENTS, evaluation.NOTIFICATIONS),
    *(platform.FLAGS, platform.EXPERIMENTS, platform.EXPERIMENT_ASSIGNMENTS, platform.EXPERIMENT_EVENTS),
    *(platform.ALERTS, platform.OPERATOR_CONTROLS, platform.SAVED_VIEWS, platform.WATCHES),
    *(platform.WEBHOOKS, platform.DELIVERIES, platform.THREAD_SUBSCRIPTIONS, platform.ORG_ASSIGNMENTS),
    *(platform.CAPTURES, platform.AUDIT_LOGS),
)
_EARLY: Final = (
    *(identity.ENVIRONMENTS, identity.OPERATORS, identity.PROJECTS, identity.ROLE_ASSIGNMENTS, identity.ORG_MEMBERS),
    *(identity.PROVIDERS, registry.TEMPLATES, registry.VERSIONS, governance.DEPLOYMENTS, governance.ENVELOPES),
    *(governance.POLICIES, registry.IDENTITIES, execution.TASKS, collaboration.WORKFLOWS, collaboration.WORKFLOW_RUNS),
)
KNOWN_TABLES: Final = frozenset(
    (*_SPECIAL, *(mapping.table for mapping in (*_EARLY, *_BEFORE_APPROVALS, *_AFTER_APPROVALS)))
)
"""The tables of a snapshot that have a place in the schema; all others are counted and reported (C34)."""


class _CheckFailedError(Exception):
    """A check of the result failed, so nothing is committed."""


async def import_snapshot(
    database: Database,
    path: Path,
    tenant_slug: str,
    as_of: datetime | None = None,
    progress: Progress | None = None,
    *,
    seal: Callable[[str], str] | None = None,
    limits: Limits | None = None,
) -> Report:
    """Import the snapshot at `path` into the tenant `tenant_slug`, which is made where there is none.

    `as_of` is the moment that ages are counted from; the default is the snapshot's newest time. `seal` encrypts secrets
    for storage (decision 20); without it, rows that hold one are rejected. Returns the report, whose `committed` is
    false where a check failed. Raises CannotImportError, and SnapshotError among them, with the database as it was.
    """
    started = time.monotonic()
    tell = progress or (lambda what, done, total: None)
    with Snapshot(path, limits) as snapshot:
        found = survey(snapshot, tenant_slug, tell)
        report = Report(tenant_slug, str(path), _moment(as_of, found))
        try:
            async with database.platform() as connection:
                await _take_turn(connection, tenant_slug)
                await _import(connection, snapshot, found, report, tell, seal)
                if not report.passed:
                    raise _CheckFailedError
            report.committed = True
        except _CheckFailedError:
            report.committed = False
    report.seconds = time.monotonic() - started
    return report


def _moment(as_of: datetime | None, found: Survey) -> datetime:
    if as_of is None:
        return found.newest or datetime.now(UTC)
    return as_of if as_of.tzinfo is not None else as_of.replace(tzinfo=UTC)


async def _take_turn(connection: AsyncConnection, slug: str) -> None:
    """One import at a time for a tenant. Raises CannotImportError where another one is running."""
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    free = await connection.scalar(
        text("SELECT pg_try_advisory_xact_lock(hashtextextended('gateway.import_legacy:' || :slug, 0))"), {"slug": slug}
    )
    if not free:
        raise CannotImportError(f"Another import into the tenant {slug!r} is running. Wait until it is done.")


async def _import(
    connection: AsyncConnection,
    snapshot: Snapshot,
    found: Survey,
    report: Report,
    progress: Progress,
    seal: Callable[[str], str] | None,
) -> None:
    founded = moment("_creationTime", found.tenant["_creationTime"]) if found.tenant else found.newest or report.as_of
    home = await find_tenant(connection, report.tenant, found, founded)
    report.tenant_created = home.created
    world = World(home.id, report.as_of, report, Keys(home.id), seal)
    world.awaited, world.newest = found.ids, found.newest
    world.timezone, world.retention_days = home.timezone, home.retention_days
    engine = Engine(connection, snapshot, world, found.tenancy, progress, found.counts)
    _count_unknown(snapshot, found, report)
    with Journal(world) as journal:
        await _Stages(engine, journal, home, founded, found).run()
        progress("Writing the logs", 0, None)
        await journal.append(connection)
    progress("Checking", 0, None)
    report.checks = await check(engine)


def _count_unknown(snapshot: Snapshot, found: Survey, report: Report) -> None:
    """Tables without a place in the schema, components and stored files: counted, never dropped in silence (CVX-6)."""
    report.unknown_tables = {name: number for name, number in found.counts.items() if name not in KNOWN_TABLES}
    for what, names in (("components", snapshot.component_tables), ("the platform", snapshot.system_tables)):
        if names:
            report.note(f"Tables of {what} are not imported: {', '.join(names)}")
    if snapshot.stored_files:
        report.note("Stored files are not imported; rows keep their storage ids", snapshot.stored_files)


class _Stages:
    """The order of an import (MIG-0b): what others refer to comes before them."""

    def __init__(self, engine: Engine, journal: Journal, home: Home, founded: datetime, found: Survey) -> None:
        self.engine, self.world, self.connection = engine, engine.world, engine.connection
        self.ground = Ground(engine, journal, home, founded)
        self.people = People(engine, journal, founded)
        self.placing = Placing(engine, journal)
        self.fleet = Fleet(engine, journal, self.placing)
        self.approvals = Approvals(engine)
        self.journal, self.found = journal, found

    async def run(self) -> None:
        """All of it."""
        await self.world.keys.load(self.connection)
        await self._identity()
        await self._registry()
        await self._work()
        await run_logs(self.engine, self.journal)

    async def _identity(self) -> None:
        await self.ground.tenant()
        await self.engine.run(identity.ENVIRONMENTS)
        known = set(self.world.keys.all_of("Operator"))
        await self.engine.run(identity.OPERATORS)
        await self.world.load_people(self.connection)
        await self.people.prepare()
        await self.people.permissions()
        await self.people.roles()
        await self.engine.run(identity.PROJECTS)
        await self.ground.places(lacks_project=self.found.lacks_project)
        await self.engine.run(identity.ROLE_ASSIGNMENTS)
        await self.people.load_grants()
        await self.people.operator_roles(known)
        await self.people.members()
        await self.engine.run(identity.PROVIDERS)

    async def _registry(self) -> None:
        await self.engine.run(registry.TEMPLATES)
        await self.engine.run_by_parent(registry.VERSIONS, "parentVersionId")
        await self.world.load_agents(self.connection)
        await self.fleet.find()
        await self.engine.run(governance.DEPLOYMENTS, self._planned_by_somebody)
        await self.engine.run(governance.ENVELOPES)
        await self.engine.run(governance.POLICIES)
        await self.placing.load()
        await self.fleet.place()
        await self.placing.load_identities()
        await self.engine.run(registry.IDENTITIES)
        await self.fleet.identify()

    async def _planned_by_somebody(self, docs: list[Doc]) -> None:
        """Make sure of the operator who stands in for planners whom the snapshot does not name."""
        for doc in docs:
            planner = doc.peek("createdBy")
            if not isinstance(planner, str) or self.world.operator(planner) is None:
                await self.placing.stand_in(doc.created)
                return

    async def _work(self) -> None:
        await self.engine.run(execution.TASKS)
        await self.world.load_tasks(self.connection)
        await self.engine.link(table_of(AgentInstance))
        for mapping in _BEFORE_APPROVALS:
            await self.engine.run(mapping)
            if mapping is execution.RUNS:
                await self.world.load_runs(self.connection)
        await self.approvals.run()
        await self.approvals.point_tool_calls()
        await self.approvals.approve_versions()
        await self.engine.run(collaboration.WORKFLOWS)
        await self.world.load_workflows(self.connection)
        await self.engine.run(collaboration.WORKFLOW_RUNS)
        for mapping in _AFTER_APPROVALS:
            await self.engine.run(mapping)
        await run_preferences(self.engine)
