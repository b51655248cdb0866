"""Runs the tables of logs: each document becomes a record, an event or an audit row, or is part of one already."""

from collections.abc import Callable
from uuid import UUID

from app.legacy.activities import Activities
from app.legacy.changes import Changes
from app.legacy.document import Doc, Rejection
from app.legacy.engine import Engine
from app.legacy.events import Events
from app.legacy.hiding import without_hidden
from app.legacy.journal import Journal
from app.legacy.mapping import Mapped, table_of
from app.legacy.outcomes import Audit, Change, Covered, Event, Outcome, Skipped
from db.models import AuditLog


async def run_logs(engine: Engine, journal: Journal) -> None:
    """Import the logs, those that others are held against first (MIG-4 to MIG-6)."""
    changes = Changes(engine.world, journal)
    events = Events(engine.world, journal)
    activities = Activities(engine.world, journal)
    await _run(engine, journal, "taskTransitions", changes.transition)
    await _run(engine, journal, "changeRecords", changes.record)
    await _run(engine, journal, "activities", activities.outcome)
    await _run(engine, journal, "opEvents", events.event)
    await _run(engine, journal, "taskEvents", events.task_event)
    await _run(engine, journal, "costLedger", events.cost)
    if events.ledger_total:
        engine.world.report.note(f"The cost ledger came to ${events.ledger_total:,.2f} in all, of any age")


async def _run(engine: Engine, journal: Journal, table: str, outcome_of: Callable[[Doc], Outcome]) -> None:
    async for docs in engine.fresh(table):
        entries: list[tuple[Doc, str, UUID]] = []
        audits: list[Mapped] = []
        for doc in docs:
            try:
                outcome = without_hidden(outcome_of(doc), engine.world.facts.task_hidden)
            except Rejection as rejection:
                engine.reject(doc, rejection)
                continue
            match outcome:
                case Change(draft):
                    journal.change(draft)
                    entries.append((doc, "ChangeRecord", draft.id))
                    engine.world.keys.add("ChangeRecord", doc.id, draft.id)
                case Event(event):
                    journal.event(event)
                    entries.append((doc, "OpEvent", event.row_id(engine.world.tenant_id)))
                case Audit(row):
                    audits.append(Mapped(doc, row))
                case Covered(entity, covered):
                    await engine.merge(doc, entity, covered)
                case Skipped(why):
                    engine.skip(doc, why)
        await engine.record(entries)
        await engine.write("AuditLog", table_of(AuditLog), audits)
