"""The report of an import, and what happens where its checks do not hold (MIG-0c, MIG-11)."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.legacy import importer
from app.legacy.checks import check
from app.legacy.engine import Engine
from app.legacy.report import Check, Report
from db import models
from db.session import Database
from tests.app.legacy.importing import Landed, count_tenants, fleet, land, run, some_slug, task
from tests.app.legacy.zips import write_snapshot


def shown(report: Report) -> str:
    paper = io.StringIO()
    report.print(Console(width=200, file=paper))
    return paper.getvalue()


async def landed_with_troubles(database: Database, directory: Path) -> Landed:
    tasks = [task("task"), task("bad", status="GONE"), task("partly", workPlan=7), task("free", projectId=None)]
    return await land(
        database, directory, fleet(tasks=tasks, runs=[run("r1")], metrics=[{"_id": "x", "_creationTime": 1}])
    )


async def test_a_person_reads_what_happened(database: Database, tmp_path: Path) -> None:
    """Per table read, written, merged, skipped and rejected, why, and the checks; tables without documents are left
    out."""
    landed = await landed_with_troubles(database, tmp_path)
    said = shown(landed.report)
    lines = [line.split() for line in said.splitlines() if line.split()]
    assert ["tasks", "4", "3", "·", "·", "1"] in [line[:6] for line in lines]
    assert "no project, so the default one 1" in said
    assert "webhooks" not in said
    assert "metrics 1" in said
    assert "tasks bad: status 'GONE' is none of INBOX" in said
    assert "not imported" in said
    assert "kept without it" in said
    assert said.count("✓") == 5
    assert "documents written in" in said
    assert "Nothing new: the database is as it was." in shown(await landed.again())


async def test_a_program_reads_the_same(database: Database, tmp_path: Path) -> None:
    """The report as JSON has plain values alone."""
    landed = await landed_with_troubles(database, tmp_path)
    found = json.loads(json.dumps(landed.report.as_json()))
    assert found["tables"]["tasks"] == {
        "read": 4,
        "written": 3,
        "merged": 0,
        "rejected": 1,
        "skipped": {},
        "defaultProject": 1,
        "lostFields": {},
    }
    assert found["unknownTables"] == {"metrics": 1}
    assert (found["committed"], found["passed"], found["tenantCreated"]) == (True, True, True)
    assert [one["id"] for one in found["rejects"]] == ["bad", "partly"]
    assert found["created"]["Task"] == 3
    assert len(found["checks"]) == 5


async def test_an_import_whose_checks_fail_is_undone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MIG-11: what does not hold is not committed; the report still says what was found."""

    async def failing(engine: Engine) -> list[Check]:
        return [Check("costs of runs add up", False, "$1 here, $2 in the snapshot")]

    monkeypatch.setattr(importer, "check", failing)
    slug = some_slug()
    path = write_snapshot(tmp_path / "s.zip", fleet())
    report = await importer.import_snapshot(database, path, slug)
    assert not report.committed
    assert not report.passed
    assert await count_tenants(database, slug) == 0
    said = shown(report)
    assert "✗ costs of runs add up: $1 here, $2 in the snapshot" in said
    assert "a check failed, and the database is as it was" in said


@pytest.mark.parametrize(
    ("damage", "failing"),
    [
        ("UPDATE runs SET cost_usd = cost_usd + 0.0000000001 WHERE tenant_id = :own", "costs of runs add up"),
        ("UPDATE tasks SET status = 'DONE' WHERE tenant_id = :own", "every task has its status"),
        ("DELETE FROM runs WHERE tenant_id = :own", "every run leads to its version and template"),
        ("UPDATE projects SET name = 'x' WHERE tenant_id = :own", "rows drawn at random are as they should be"),
    ],
)
async def test_each_check_finds_what_it_is_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, failing: str
) -> None:
    """MIG-11: damage done between writing and checking is noticed, down to the tenth decimal of a dollar."""

    async def after_damage(engine: Engine) -> Sequence[Check]:
        connection: AsyncConnection = engine.connection
        await connection.execute(text(damage), {"own": engine.world.tenant_id})
        return await check(engine)

    monkeypatch.setattr(importer, "check", after_damage)
    path = write_snapshot(tmp_path / "s.zip", fleet(runs=[run("r1")]))
    report = await importer.import_snapshot(database, path, some_slug())
    assert failing in {check.name for check in report.checks if not check.passed}
    assert not report.committed


async def test_a_document_that_nobody_counted_is_noticed(database: Database, tmp_path: Path) -> None:
    """MIG-11: in = written + merged + rejected + skipped, table by table."""
    landed = await land(database, tmp_path, fleet())
    assert all(table.balanced for table in landed.report.tables.values())
    landed.report.tables["tasks"].written -= 1
    assert not landed.report.tables["tasks"].balanced
    assert len(await landed.rows(models.Task)) == 1
