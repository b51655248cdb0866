"""Carries documents into rows: batch by batch, in one transaction, each document accounted for in the report.

A batch is written behind a savepoint. Where the database refuses it, its rows are written one by one, so that the one
that is at fault is rejected by name and its neighbours are not.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import Table, insert, select, text
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.legacy.document import Doc, Rejection
from app.legacy.mapping import Mapped, Mapping, Row
from app.legacy.snapshot import Document, Snapshot
from app.legacy.tenancy import Tenancy
from app.legacy.world import World
from db.pool import driver_error, sqlstate

BATCH: Final = 1_000
SAMPLE: Final = 200
"""Rows that are compared field by field at the end (MIG-11)."""

ALREADY: Final = "already imported"
OTHER_TENANT: Final = "of another tenant"

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Told what is under way, how many documents of it are done, and of how many, where that is known."""


@dataclass(frozen=True, slots=True)
class _Link:
    """A reference that waits for its row."""

    table: str
    id: str
    target: Table
    row: UUID
    column: str
    entity: str
    field: str
    legacy_id: str


@dataclass
class Engine:
    """One import: where from, where to, and what was done so far."""

    connection: AsyncConnection
    snapshot: Snapshot
    world: World
    tenancy: Tenancy
    progress: Progress
    counts: dict[str, int]
    """Documents of each table, as the first pass counted them."""
    written: dict[str, list[Row]] = field(default_factory=dict)
    """What the checks need to find again: runs and tasks by table, reduced to a few columns."""
    sample: list[tuple[Table, Row]] = field(default_factory=list)
    _links: list[_Link] = field(default_factory=list)
    _seen: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    async def run(self, mapping: Mapping, before: Callable[[list[Doc]], Awaitable[None]] | None = None) -> None:
        """Import a table as its mapping says; `before` sees each batch of new documents first."""
        there = await self._rows_there(mapping)
        async for docs in self.fresh(mapping.table):
            if before is not None:
                await before(docs)
            mapped = []
            for one in self.map(mapping, docs):
                if (row := there.get(_natural(mapping, one.row))) is not None:
                    await self.merge(one.doc, mapping.entity, row)
                else:
                    mapped.append(one)
            await self.write(mapping.entity, mapping.target, mapped)
        await self.link(mapping.target)

    async def run_by_parent(self, mapping: Mapping, field: str) -> None:
        """Import a table whose rows name a row of the same table and never change: parents before children."""
        waiting = [doc async for docs in self.fresh(mapping.table) for doc in docs]
        while waiting:
            ready = [doc for doc in waiting if self._has_parent(mapping, doc.peek(field))]
            if not ready:
                break
            await self.write(mapping.entity, mapping.target, self.map(mapping, ready))
            written = {doc.id for doc in ready}
            waiting = [doc for doc in waiting if doc.id not in written]
        for doc in waiting:
            self.reject(
                doc, Rejection(field, doc.peek(field), self.world.keys.why_not(mapping.entity, doc.peek(field)))
            )

    def _has_parent(self, mapping: Mapping, parent: Any) -> bool:
        return parent is None or self.world.keys.find(mapping.entity, parent) is not None

    def map(self, mapping: Mapping, docs: Iterable[Doc]) -> list[Mapped]:
        """The rows of documents; those that have none are reported."""
        mapped = []
        for doc in docs:
            if (why := mapping.skip(doc, self.world)) is not None:
                self.skip(doc, why)
                continue
            try:
                mapped.append(mapping.map(doc, self.world))
            except Rejection as rejection:
                self.reject(doc, rejection)
        return mapped

    async def _rows_there(self, mapping: Mapping) -> dict[tuple[str, ...], UUID]:
        """The tenant's rows from before this import by their natural key, where the mapping joins by one."""
        if not mapping.natural:
            return {}
        columns = [mapping.target.c[name] for name in ("id", *mapping.natural)]
        found = await self.connection.execute(
            select(*columns).where(mapping.target.c.tenant_id == self.world.tenant_id)
        )
        return {_natural(mapping, row._asdict()): row.id for row in found}

    async def fresh(self, table: str) -> AsyncIterator[list[Doc]]:
        """The table's documents that this tenant does not have yet, in batches; all others are counted here."""
        entry = self.world.report.table(table)
        for documents in _batches(self._own(table)):
            entry.read += len(documents)
            self.progress(f"Importing {table}", entry.read, self.counts.get(table))
            docs = self._read(table, documents)
            known = await self.world.keys.known(self.connection, table, docs)
            fresh: dict[str, Doc] = {}
            for doc in docs:
                if doc.id in known:
                    self._already(doc, *known[doc.id])
                elif doc.id in fresh:
                    self.reject(doc, Rejection("_id", doc.id, "occurs twice in the table"))
                else:
                    fresh[doc.id] = doc
            if fresh:
                yield list(fresh.values())

    def _own(self, table: str) -> Iterable[Document]:
        for document in self.snapshot.documents(table):
            if (stranger := self.tenancy.stranger(document)) is not None:
                self.world.report.table(table).read += 1
                self.world.report.reject(
                    table, document["_id"], "tenantId", stranger, "refers to no tenant of the snapshot"
                )
                self.world.keys.add_absent(document["_id"], "was rejected")
            elif self.tenancy.owns(table, document):
                yield document
            else:
                self.world.report.table(table).read += 1
                self.world.report.table(table).skipped[OTHER_TENANT] += 1

    def _read(self, table: str, documents: Iterable[Document]) -> list[Doc]:
        docs = []
        for document in documents:
            try:
                docs.append(Doc(table, document))
            except Rejection as rejection:
                self.world.report.reject(table, document["_id"], rejection.field, rejection.value, rejection.reason)
                self.world.keys.add_absent(document["_id"], "was rejected")
        return docs

    def _already(self, doc: Doc, row: UUID, content_hash: str) -> None:
        if content_hash == doc.hash:
            self.world.report.table(doc.table).skipped[ALREADY] += 1
            return
        self.world.report.conflicts += 1
        self.world.report.reject(
            doc.table, doc.id, "_id", doc.id, "was imported before with other content, and stays as it is"
        )

    def reject(self, doc: Doc, rejection: Rejection) -> None:
        """Report a document that is not imported, and remember it for those that refer to it."""
        self.world.report.reject(doc.table, doc.id, rejection.field, rejection.value, rejection.reason)
        self.world.keys.add_absent(doc.id, "was rejected")

    def skip(self, doc: Doc, why: str) -> None:
        """Count a document that is left out on purpose."""
        self.world.report.table(doc.table).skipped[why] += 1
        self.world.keys.add_absent(doc.id, f"was left out ({why})")

    async def merge(self, doc: Doc, entity: str, row: UUID) -> None:
        """Count a document whose row is there already, and remember which one it is."""
        await self.world.keys.record(self.connection, [(doc, entity, row)])
        self.world.keys.add(entity, doc.id, row)
        self.world.report.table(doc.table).merged += 1

    async def record(self, entries: Sequence[tuple[Doc, str, UUID]]) -> None:
        """Count documents that became rows of a log, which are appended later, and remember which they are."""
        if entries:
            await self.world.keys.record(self.connection, entries)
        for doc, entity, row in entries:
            self.world.keys.add(entity, doc.id, row)
            self.world.report.table(doc.table).written += 1

    async def write(self, entity: str, target: Table, mapped: Sequence[Mapped]) -> None:
        """Insert rows with their lists and their entries in the side map."""
        if not mapped:
            return
        try:
            async with self.connection.begin_nested():
                await self._insert(entity, target, mapped)
        except DBAPIError as error:
            if not _is_rows_fault(error):
                raise
            if len(mapped) == 1:
                self.reject(mapped[0].doc, Rejection("_id", mapped[0].doc.id, f"was refused: {_cause(error)}"))
                return
            for one in mapped:
                await self.write(entity, target, [one])
            return
        for one in mapped:
            self.world.keys.add(entity, one.doc.id, one.row["id"])
            self.world.report.table(one.doc.table).written += 1
            self.world.report.created[entity] += 1
            self._remember(target, one.row)
            self._links += [_Link(one.doc.table, one.doc.id, target, one.row["id"], *later) for later in one.later]

    async def _insert(self, entity: str, target: Table, mapped: Sequence[Mapped]) -> None:
        await self.connection.execute(insert(target), [one.row for one in mapped])
        listed: dict[Table, list[Row]] = {}
        for one in mapped:
            for table, row in one.listed:
                listed.setdefault(table, []).append(row)
        for table, rows in listed.items():
            await self.connection.execute(insert(table), rows)
        await self.world.keys.record(self.connection, [(one.doc, entity, one.row["id"]) for one in mapped])

    async def add(self, entity: str, target: Table, row: Row) -> None:
        """Insert a row that no document is behind, such as the template of an agent (MIG-1)."""
        await self.connection.execute(insert(target), [row])
        self.world.report.created[entity] += 1
        self._remember(target, row)

    async def add_missing(self, target: Table, rows: Sequence[Row]) -> None:
        """Insert rows of a list, those that are there already excepted."""
        if rows:
            await self.connection.execute(pg_insert(target).on_conflict_do_nothing(), rows)

    def _remember(self, target: Table, row: Row) -> None:
        """Keep what the checks compare: costs and statuses of all, and a fair sample of rows (MIG-11)."""
        columns = {"runs": ("id", "cost_usd"), "tasks": ("id", "status")}.get(target.name)
        if columns:
            self.written.setdefault(target.name, []).append({name: row[name] for name in columns})
        self._seen += 1
        if len(self.sample) < SAMPLE:
            self.sample.append((target, row))
        elif (place := self._dice.randrange(self._seen)) < SAMPLE:
            self.sample[place] = (target, row)

    def wait_for(self, doc: Doc, target: Table, row: UUID, column: str, entity: str, name: str, value: Any) -> None:
        """Set a reference once its row is there: `link` does it."""
        self._links.append(_Link(doc.table, doc.id, target, row, column, entity, name, str(value)))

    async def link(self, target: Table, *columns: str) -> None:
        """Set the references of this table that were waiting; one that leads nowhere is reported, its row kept."""
        found: dict[str, list[tuple[UUID, UUID]]] = {}
        waiting, self._links = self._links, []
        for one in waiting:
            if one.target is not target or (columns and one.column not in columns):
                self._links.append(one)
                continue
            other = self.world.keys.find(one.entity, one.legacy_id)
            if other is None:
                why = self.world.keys.why_not(one.entity, one.legacy_id)
                self.world.report.reject(one.table, one.id, one.field, one.legacy_id, why, row_kept=True)
            else:
                found.setdefault(one.column, []).append((one.row, other))
        for column, pairs in found.items():
            for start in range(0, len(pairs), BATCH):
                await self._set(target, column, pairs[start : start + BATCH])
            linked = dict(pairs)
            for sampled, row in self.sample:
                if sampled is target:
                    row[column] = linked.get(row["id"], row.get(column))

    async def _set(self, target: Table, column: str, pairs: Sequence[tuple[UUID, UUID]]) -> None:
        await self.connection.execute(
            text(
                f"UPDATE {target.name} SET {column} = given.other"
                " FROM unnest(CAST(:rows AS uuid[]), CAST(:others AS uuid[])) AS given (row, other)"
                f" WHERE {target.name}.tenant_id = :tenant_id AND {target.name}.id = given.row"
            ),
            {
                "tenant_id": self.world.tenant_id,
                "rows": [row for row, _ in pairs],
                "others": [other for _, other in pairs],
            },
        )


def _batches(documents: Iterable[Document]) -> Iterable[list[Document]]:
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _natural(mapping: Mapping, row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]).casefold() for name in mapping.natural)


_ROWS_FAULTS: Final = ("22", "23", "54")
"""Classes of SQLSTATE that a value brings about: it is no such value, breaks a constraint, or is too large for an
index. Anything else, such as a column that is missing, is a fault of the set-up and ends the import."""


def _is_rows_fault(error: DBAPIError) -> bool:
    return (sqlstate(error) or "").startswith(_ROWS_FAULTS)


def _cause(error: DBAPIError) -> str:
    """What the database said: the constraint and its detail."""
    cause = driver_error(error)
    constraint = getattr(cause, "constraint_name", None)
    detail = getattr(cause, "detail", None) or str(cause)
    return f"{constraint}: {detail}" if constraint else detail
