"""What an import did, table by table, and whether the result holds (MIG-0c, MIG-11)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group
from rich.table import Table as Grid
from rich.text import Text

_SHOWN: Final = 20
_KEPT: Final = 10_000
"""How many rejections keep their details; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A reference or value that could not be imported (MIG-0c)."""

    table: str
    id: str
    field: str
    value: Any
    reason: str
    row_kept: bool = False
    """True where the row was written without this one reference."""


@dataclass(slots=True)
class TableReport:
    """What became of the documents of one table of the snapshot. `read` is the sum of the four that follow."""

    read: int = 0
    written: int = 0
    """New rows, one a document."""
    merged: int = 0
    """Documents that went into the row of another document, or found their row there already."""
    rejected: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Left out on purpose, by reason."""
    default_project: int = 0
    """Rows that named no project and went to the default one."""
    lost: Counter[str] = field(default_factory=Counter)
    """Fields that no column and no metadata could take, with the number of rows."""

    def lose(self, name: str) -> None:
        """Count a field that could not be kept."""
        self.lost[name] += 1

    def as_json(self) -> dict[str, Any]:
        """The table's part of the report as plain data."""
        return {
            "read": self.read,
            "written": self.written,
            "merged": self.merged,
            "rejected": self.rejected,
            "skipped": dict(self.skipped),
            "defaultProject": self.default_project,
            "lostFields": dict(self.lost),
        }

    @property
    def balanced(self) -> bool:
        """Whether every document read is accounted for."""
        return self.read == self.written + self.merged + self.rejected + self.skipped.total()


@dataclass(frozen=True, slots=True)
class Check:
    """One of the checks of MIG-11 with what it found."""

    name: str
    passed: bool
    detail: str


@dataclass
class Report:
    """The whole import."""

    tenant: str
    file: str
    as_of: datetime
    """The moment that ages are counted from."""
    tenant_created: bool = False
    committed: bool = False
    """False where a check failed; the database is then as it was."""
    tables: dict[str, TableReport] = field(default_factory=dict)
    unknown_tables: dict[str, int] = field(default_factory=dict)
    """Tables that have no place in the schema, with their documents: counted, not imported (C34, CVX-6)."""
    created: Counter[str] = field(default_factory=Counter)
    """All rows that were made, by type: more than one for an agent (MIG-1)."""
    rejects: list[Reject] = field(default_factory=list)
    conflicts: int = 0
    """Documents that were imported before and have changed since (decision 39); they are among the rejects."""
    notes: dict[str, int] = field(default_factory=dict)
    """What a reader should know, with how often it applies."""
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0
    _noted: set[tuple[str, str]] = field(default_factory=set, repr=False)

    def table(self, name: str) -> TableReport:
        """The report of a table, made on first use."""
        return self.tables.setdefault(name, TableReport())

    def reject(self, table: str, legacy_id: str, name: str, value: Any, reason: str, *, row_kept: bool = False) -> None:
        """Report a document that is not imported, or with `row_kept` a reference that its row goes without."""
        if not row_kept:
            self.table(table).rejected += 1
        if len(self.rejects) < _KEPT:
            shown = value if value is None or isinstance(value, bool | int | float) else str(value)[:200]
            self.rejects.append(Reject(table, legacy_id, name, shown, reason, row_kept))

    def note(self, sentence: str, times: int = 1) -> None:
        """Say something that the reader should know; the same sentence is said once, with its number."""
        self.notes[sentence] = self.notes.get(sentence, 0) + times

    def note_once(self, about: str, sentence: str) -> None:
        """Say something about one document, however often it is looked at."""
        if (about, sentence) not in self._noted:
            self._noted.add((about, sentence))
            self.note(sentence)

    @property
    def written(self) -> int:
        """Documents that became new rows."""
        return sum(table.written for table in self.tables.values())

    @property
    def changed(self) -> bool:
        """Whether the import added anything at all."""
        return bool(self.created.total() or any(table.written or table.merged for table in self.tables.values()))

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """The report as plain data, for `--json`."""
        return {
            "tenant": self.tenant,
            "file": self.file,
            "asOf": self.as_of.isoformat(),
            "tenantCreated": self.tenant_created,
            "committed": self.committed,
            "written": self.written,
            "conflicts": self.conflicts,
            "tables": {name: table.as_json() for name, table in sorted(self.tables.items()) if table.read},
            "unknownTables": dict(sorted(self.unknown_tables.items())),
            "created": dict(sorted(self.created.items())),
            "rejects": [asdict(one) for one in self.rejects],
            "notes": dict(self.notes),
            "checks": [asdict(one) for one in self.checks],
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
        }

    def print(self, console: Console) -> None:
        """Show the report to a person."""
        console.print(Group(*self._parts()))

    def _parts(self) -> Iterator[Any]:
        head = Text(f"Import of {self.file} into the tenant {self.tenant}", style="bold")
        yield head.append(" (created)" if self.tenant_created else "")
        yield self._grid()
        if self.created:
            made = ", ".join(f"{number:,} {name}" for name, number in sorted(self.created.items()))
            yield Text(f"Rows made: {made}")
        if self.unknown_tables:
            counts = ", ".join(f"{name} {number:,}" for name, number in sorted(self.unknown_tables.items()))
            yield Text(f"Not part of the schema, counted and left out: {counts}")
        for sentence, times in self.notes.items():
            yield Text(f"Note: {sentence}" + (f" ({times:,} times)" if times > 1 else ""))
        for reject in self.rejects[:_SHOWN]:
            kept = "kept without it" if reject.row_kept else "not imported"
            yield Text(f"{reject.table} {reject.id}: {reject.field} {reject.value!r} {reject.reason}; {kept}", "yellow")
        if len(self.rejects) > _SHOWN:
            yield Text(f"… and {len(self.rejects) - _SHOWN:,} more; --json lists them.", "yellow")
        for check in self.checks:
            mark, style = ("✓", "green") if check.passed else ("✗", "bold red")
            yield Text(f"{mark} {check.name}: {check.detail}", style)
        yield self._verdict()

    def _verdict(self) -> Text:
        if not self.committed:
            return Text("Nothing was written: a check failed, and the database is as it was.", "bold red")
        if not self.changed:
            return Text(f"Nothing new: the database is as it was. {self.seconds:.1f} s", "bold green")
        return Text(f"{self.written:,} documents written in {self.seconds:.1f} s.", "bold green")

    def _grid(self) -> Grid:
        grid = Grid("Table", box=None, header_style="bold")
        for heading in ("read", "written", "merged", "skipped", "rejected"):
            grid.add_column(heading, justify="right")
        grid.add_column("why")
        for name, table in sorted(self.tables.items()):
            if not table.read:
                continue
            reasons = [f"{reason} {number:,}" for reason, number in table.skipped.items()]
            reasons += [f"no project, so the default one {table.default_project:,}"] if table.default_project else []
            reasons += [f"no place for {key} {number:,}" for key, number in table.lost.items()]
            numbers = (table.read, table.written, table.merged, table.skipped.total(), table.rejected)
            grid.add_row(name, *(f"{number:,}" if number else "·" for number in numbers), "; ".join(reasons))
        return grid
