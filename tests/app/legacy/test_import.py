"""The import as a whole: what a bad file, a second file, another tenant or another import at the same time does."""

import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from app.legacy.importer import KNOWN_TABLES, import_snapshot
from app.legacy.snapshot import CannotImportError, SnapshotError
from app.legacy.tables import execution
from db import models
from db.session import Database
from tests.app.legacy.importing import DAY, NOW, agent, count_tenants, fleet, land, rejected, run, some_slug, task
from tests.app.legacy.zips import row, write_snapshot


@pytest.mark.parametrize("kind", ["not json", "truncated", "damaged", "no id"])
async def test_a_bad_file_leaves_the_database_as_it_was(database: Database, tmp_path: Path, kind: str) -> None:
    """Decision 40: the first pass reads the whole file, so even the last line of the last table stops everything."""
    landed = await land(database, tmp_path, fleet())
    before = await landed.fingerprint()
    tables = fleet(workflows=[row("w1", tenantId="tenant")], tasks=[task("task"), task("new")])
    path = write_snapshot(tmp_path / "bad.zip", tables)
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[:-30])
    elif kind == "damaged":
        with zipfile.ZipFile(path) as archive:
            start = archive.getinfo("workflows/documents.jsonl").header_offset + len("workflows/documents.jsonl") + 30
        path.write_bytes(content[: start + 5] + b"\x00\x00\x00" + content[start + 8 :])
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("zebra/documents.jsonl", "{]\n" if kind == "not json" else '{"_creationTime":1}\n')
    with pytest.raises(SnapshotError):
        await landed.again(path)
    assert await landed.fingerprint() == before
    slug = some_slug()
    with pytest.raises(SnapshotError):
        await import_snapshot(database, path, slug)
    assert await count_tenants(database, slug) == 0


@pytest.mark.parametrize("slug", ["", "Upper", "a b", "-a", "a--b", "ü", "x" * 64, "../x"])
async def test_a_slug_that_is_none(database: Database, tmp_path: Path, slug: str) -> None:
    path = write_snapshot(tmp_path / "s.zip", fleet())
    with pytest.raises(CannotImportError, match="--tenant"):
        await import_snapshot(database, path, slug)


async def test_one_import_at_a_time_for_a_tenant(database: Database, tmp_path: Path) -> None:
    """The second one is told, and the first is not disturbed."""
    landed = await land(database, tmp_path, fleet())
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended('gateway.import_legacy:' || :slug, 0))")
    async with database.platform() as connection:
        await connection.execute(lock, {"slug": landed.slug})
        with pytest.raises(CannotImportError, match="Another import into the tenant"):
            await landed.again()
    assert not (await landed.again()).changed


async def test_a_newer_snapshot_adds_what_is_new(database: Database, tmp_path: Path) -> None:
    """MIG-0a: rows that are there stay, new ones may refer to them, also where the new file has them no more."""
    landed = await land(database, tmp_path, fleet(runs=[run("r1")]))
    tables = fleet(
        agents=[], runs=[run("r2")], tasks=[task("task"), task("sub", parentTaskId="task", assigneeIds=["atlas"])]
    )
    again = await landed.again(write_snapshot(tmp_path / "newer.zip", tables))
    assert again.committed
    assert rejected(again, "runs") == rejected(again, "tasks") == []
    assert again.tables["tasks"].written == again.tables["runs"].written == 1
    parent, child = await landed.of(models.Task, "task"), await landed.of(models.Task, "sub")
    assert child["parent_task_id"] == parent["id"]
    first, second = await landed.of(models.Run, "r1"), await landed.of(models.Run, "r2")
    assert second["instance_id"] == first["instance_id"]
    assert second["version_id"] == first["version_id"]


async def test_what_changed_here_stays_when_the_same_snapshot_comes_again(database: Database, tmp_path: Path) -> None:
    landed = await land(database, tmp_path, fleet())
    async with database.platform() as connection:
        await connection.execute(
            text("UPDATE tasks SET status = 'DONE' WHERE tenant_id = :own"), {"own": await landed.tenant_id()}
        )
    assert not (await landed.again()).changed
    assert (await landed.of(models.Task, "task"))["status"] == "DONE"


async def test_the_same_id_with_other_content_is_a_conflict(database: Database, tmp_path: Path) -> None:
    """Decision 39: it is reported, and the row stays."""
    landed = await land(database, tmp_path, fleet())
    before = await landed.fingerprint()
    again = await landed.again(write_snapshot(tmp_path / "other.zip", fleet(tasks=[task("task", title="Changed")])))
    assert again.conflicts == 1
    assert rejected(again, "tasks") == [("task", "_id", False)]
    assert "other content" in again.rejects[0].reason
    assert await landed.fingerprint() == before


async def test_references_to_nothing_are_rejected_and_never_guessed(database: Database, tmp_path: Path) -> None:
    """MIG-0c: table, id, field, value and reason of each; what refers to a rejected row says so."""
    landed = await land(
        database,
        tmp_path,
        fleet(
            tasks=[task("task"), task("lost", projectId="nowhere"), task("orphan", parentTaskId="nobody")],
            messages=[
                row("m1", taskId="lost", tenantId="tenant", authorType="SYSTEM", type="SYSTEM", content="x"),
                row(
                    "m2",
                    taskId="task",
                    tenantId="tenant",
                    authorType="AGENT",
                    authorAgentId="ghost",
                    type="SYSTEM",
                    content="x",
                ),
            ],
            runs=[run("r1", agentId="ghost")],
            alerts=[
                row(
                    "a1",
                    tenantId="tenant",
                    severity="INFO",
                    status="OPEN",
                    type="X",
                    title="x",
                    description="x",
                    runId="r9",
                )
            ],
        ),
    )
    report = landed.report
    assert report.committed
    assert rejected(report, "tasks") == [("lost", "projectId", False), ("orphan", "parentTaskId", False)]
    assert rejected(report, "messages") == [("m1", "taskId", False), ("m2", "authorAgentId", False)]
    assert rejected(report, "runs") == [("r1", "agentId", False)]
    assert rejected(report, "alerts") == [("a1", "runId", False)]
    reasons = {one.id: one.reason for one in report.rejects}
    assert reasons["m1"] == "refers to a document that was rejected"
    assert reasons["m2"] == "refers to no AgentInstance of the snapshot or the tenant"
    assert (await landed.rows(models.Message), await landed.rows(models.Run)) == ([], [])
    assert all(table.balanced for table in report.tables.values())


async def test_references_that_an_agent_can_do_without_are_reported_and_left_out(
    database: Database, tmp_path: Path
) -> None:
    """MIG-1: parent and current task are set in a second pass; the agent is worth more than they are."""
    agents = [agent("atlas", currentTaskId="gone"), agent("child", parentAgentId="atlas", currentTaskId="task")]
    landed = await land(database, tmp_path, fleet(agents=agents))
    atlas = await landed.row(models.AgentInstance, legacy_agent_id="atlas")
    child = await landed.row(models.AgentInstance, legacy_agent_id="child")
    assert child["parent_instance_id"] == atlas["id"]
    assert child["current_task_id"] == (await landed.of(models.Task, "task"))["id"]
    assert atlas["current_task_id"] is None
    assert rejected(landed.report, "agents") == [("atlas", "currentTaskId", True)]


async def test_what_the_database_refuses_is_rejected_by_name_and_its_neighbours_are_not(
    database: Database, tmp_path: Path
) -> None:
    """Convex has no unique indexes; here a key makes one task."""
    tasks = [task("task"), *(task(f"t{n}", idempotencyKey=f"k{n % 4}") for n in range(6))]
    landed = await land(database, tmp_path, fleet(tasks=tasks))
    assert landed.report.committed
    assert [one[0] for one in rejected(landed.report, "tasks")] == ["t4", "t5"]
    assert "idempotency_key" in landed.report.rejects[0].reason
    assert len(await landed.rows(models.Task)) == 5


async def test_a_fault_of_the_set_up_ends_the_import(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database without a column is no reason to reject every document: nothing is written at all."""
    path, slug = write_snapshot(tmp_path / "s.zip", fleet()), some_slug()
    monkeypatch.setattr(execution.TASKS.target, "name", "tasks_of_a_later_version")
    with pytest.raises(ProgrammingError, match="tasks_of_a_later_version"):
        await import_snapshot(database, path, slug)
    assert await count_tenants(database, slug) == 0


async def test_values_that_cannot_be_and_ids_that_occur_twice(database: Database, tmp_path: Path) -> None:
    tasks = [
        task("task"),
        task("task"),
        task("t1", priority=9),
        task("t2", status="GONE"),
        task("t3", title=None),
        task("t4", title="a\x00b"),
        task("t5", actualCost="NaN"),
        task("t6", dueAt="tomorrow"),
    ]
    landed = await land(database, tmp_path, fleet(tasks=tasks))
    fields = {one.id: one.field for one in landed.report.rejects}
    assert fields == {
        "task": "_id",
        "t1": "priority",
        "t2": "status",
        "t3": "title",
        "t4": "",
        "t5": "actualCost",
        "t6": "dueAt",
    }
    assert landed.report.tables["tasks"].written == 1
    assert all(table.balanced for table in landed.report.tables.values())


async def test_json_that_does_not_fit_is_kept_aside(database: Database, tmp_path: Path) -> None:
    """Decision 18: what the graph shows as a type has that type's keys; the row is worth more than one of its parts."""
    tasks = [task("task", workPlan={"bullets": "one"}, deliverable={"summary": "done", "extra": 1})]
    landed = await land(database, tmp_path, fleet(tasks=tasks))
    found = await landed.of(models.Task, "task")
    assert found["work_plan"] is None
    assert found["metadata"]["legacy"]["workPlan"] == {"bullets": "one"}
    assert found["deliverable"] == {"summary": "done", "extra": 1}
    assert rejected(landed.report, "tasks") == [("task", "workPlan.bullets", True)]


async def test_unknown_tables_components_and_files_are_counted(database: Database, tmp_path: Path) -> None:
    """C34, CVX-1, CVX-6, CVX-7."""
    extra: dict[str, str | bytes] = {
        "_components/mail/queue/documents.jsonl": "",
        "_storage/abc.png": b"\x89PNG",
        "_crons/documents.jsonl": "",
    }
    landed = await land(database, tmp_path, fleet(qcRuns=[row("q1"), row("q2")], metrics=[]), extra=extra)
    assert landed.report.unknown_tables == {"metrics": 0, "qcRuns": 2}
    notes = "\n".join(landed.report.notes)
    assert "mail/queue" in notes
    assert "_crons" in notes
    assert "Stored files are not imported" in notes
    assert len(KNOWN_TABLES) == 55 + 6 + 1, "the 55, the six that are retired, and the cost ledger"


async def test_several_tenants_in_one_snapshot(database: Database, tmp_path: Path) -> None:
    """TEN-1: each document goes with its tenant: its own field, else that of a row it names, else the default one."""
    slugs = [some_slug(), some_slug()]
    tables = {
        "tenants": [
            row("a", name="A", slug=slugs[0]),
            row("b", name="B", slug=slugs[1]),
            row("d", name="D", slug="default"),
        ],
        "projects": [row("pa", tenantId="a", name="A", slug="a"), row("pb", tenantId="b", name="B", slug="b")],
        "environments": [
            row("ea", tenantId="a", name="P", type="prod"),
            row("eb", tenantId="b", name="P", type="prod"),
        ],
        "tasks": [
            task("ta", tenantId="a", projectId="pa"),
            task("tb", tenantId=None, projectId="pb"),
            task("td", tenantId=None, projectId=None),
            task("tx", tenantId="elsewhere", projectId="pa"),
        ],
    }
    first = await land(database, tmp_path, tables, slug=slugs[0])
    second = await land(database, tmp_path, tables, slug=slugs[1])
    assert [one["metadata"]["legacyId"] for one in await first.rows(models.Task)] == ["ta"]
    assert [one["metadata"]["legacyId"] for one in await second.rows(models.Task)] == ["tb"]
    assert (await first.row(models.Tenant, slug=slugs[0]))["name"] == "A"
    assert first.report.tables["tasks"].skipped == {"of another tenant": 2}
    assert rejected(first.report, "tasks") == [("tx", "tenantId", False)]
    with pytest.raises(SnapshotError, match="several tenants"):
        await land(database, tmp_path, tables)


async def test_documents_of_several_tenants_without_a_table_of_tenants(database: Database, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="no table tenants"):
        await land(database, tmp_path, {"tasks": [task("t1", tenantId="a"), task("t2", tenantId="b")]})


async def test_a_snapshot_with_nothing_but_agents_gets_what_they_need(database: Database, tmp_path: Path) -> None:
    """MIG-0c, MIG-1: a project and an environment for production are made, and the report says so."""
    lone = agent("atlas", tenantId=None, projectId=None)
    landed = await land(database, tmp_path, {"agents": [lone], "tasks": [task("t", tenantId=None, projectId=None)]})
    instance = await landed.row(models.AgentInstance)
    project, environment = await landed.row(models.Project), await landed.row(models.Environment)
    assert (project["slug"], environment["slug"], environment["is_production"]) == ("default", "prod", True)
    assert (instance["project_id"], instance["environment_id"]) == (project["id"], environment["id"])
    assert (await landed.row(models.Task))["project_id"] == project["id"]
    assert landed.report.tables["tasks"].default_project == 1
    assert sum("names none" in note for note in landed.report.notes) == 2
    kinds = {one["type"] for one in await landed.rows(models.ChangeRecord)}
    assert {"TENANT_BOOTSTRAPPED", "PROJECT_CREATED", "ENVIRONMENT_CREATED", "INSTANCE_CREATED"} <= kinds


async def test_the_moment_that_ages_are_counted_from(database: Database, tmp_path: Path) -> None:
    """MIG-4, RET: telemetry older than the tenant keeps is counted and not imported; governance always is."""

    def event(legacy_id: str, days: float) -> dict[str, object]:
        at = NOW - int(days * DAY)
        return row(legacy_id, NOW, tenantId="tenant", type="HEARTBEAT", timestamp=at, payload={}, instanceId=None)

    tables = fleet(
        opEvents=[event("new", 1), event("edge", 29.9), event("old", 30.1), event("ahead", -1)],
        taskTransitions=[
            row(
                "tr",
                NOW - 400 * DAY,
                tenantId="tenant",
                taskId="task",
                fromStatus="INBOX",
                toStatus="ASSIGNED",
                actorType="SYSTEM",
            )
        ],
    )
    landed = await land(database, tmp_path, tables)
    assert {one["event_id"] for one in await landed.rows(models.OpEvent)} == {"new", "edge"}
    assert landed.report.tables["opEvents"].skipped == {"op event older than 30 days": 1}
    assert rejected(landed.report, "opEvents") == [("ahead", "timestamp", False)]
    assert len(await landed.rows(models.ChangeRecord, type="TASK_TRANSITIONED")) == 1
    later = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(days=10)
    aged = await land(database, tmp_path, tables, as_of=later.replace(tzinfo=None))
    assert {one["event_id"] for one in await aged.rows(models.OpEvent)} == {"new", "ahead"}
    assert aged.report.as_of == later


async def test_into_a_tenant_that_was_there(database: Database, tmp_path: Path) -> None:
    """Rows of the same slug or address are joined, and stay as they are."""
    from tests.conftest import make_tenant

    there = await make_tenant(database)
    landed = await land(
        database,
        tmp_path,
        fleet(
            projects=[row("project", tenantId="tenant", name="Other name", slug="core")],
            environments=[row("prod", tenantId="tenant", name="P", type="prod")],
        ),
        slug=there.slug,
    )
    assert not landed.report.tenant_created
    assert await landed.tenant_id() == there.id
    project = await landed.row(models.Project)
    assert (project["id"], project["name"]) == (there.project.id, "Core")
    assert (await landed.row(models.AgentInstance))["environment_id"] == there.environment.id
    assert landed.report.tables["projects"].merged == landed.report.tables["environments"].merged == 1
    assert (await landed.row(models.Tenant, slug=there.slug))["name"] == there.slug
    assert not (await landed.again()).changed
