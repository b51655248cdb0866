"""The change log proves itself: over the API, and offline from an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest

from app.cli.failing import CommandError
from app.cli.verifying import verify
from app.running import run
from db import models
from db.session import Database
from tests.asking import ask
from tests.conftest import TenantUnderTest
from tests.serving import Served

VERIFY = """query($from: Seq, $to: Seq) { changeLogVerify(from: $from, to: $to) {
    isValid checked firstSeq lastSeq headHash reachesHead faults { seq problem } } }"""


async def make_history(tenant: TenantUnderTest, count: int) -> None:
    for number in range(count):
        await run(tenant.database, tenant.actor(), "create_project", {"name": f"P{number}", "slug": f"p{number}"})


async def check(tenant: TenantUnderTest, **arguments: Any) -> dict[str, Any]:
    answer = await ask(tenant.database, tenant.actor(), VERIFY, **arguments)
    assert not answer.errors, answer.errors
    found: dict[str, Any] = answer.data["changeLogVerify"]
    return found


async def tamper(database: Database, statement: str, *arguments: Any) -> None:
    """What only the owner of the table can do, with the trigger off."""
    owner = await asyncpg.connect(database.connections.owner.url)
    try:
        async with owner.transaction():
            await owner.execute("SELECT set_config('app.tenant_id', $1, true)", str(arguments[0]))
            await owner.execute("ALTER TABLE change_records DISABLE TRIGGER append_only")
            await owner.execute(statement, *arguments)
            await owner.execute("ALTER TABLE change_records ENABLE TRIGGER append_only")
    finally:
        await owner.close()


async def test_aud_3_a_whole_log_verifies(tenant: TenantUnderTest) -> None:
    """From the first record to the newest, or any part of it."""
    await make_history(tenant, 5)
    whole = await check(tenant)
    assert whole["isValid"]
    assert whole["reachesHead"]
    assert (whole["checked"], whole["firstSeq"], whole["lastSeq"]) == (5, "1", "5")
    part = await check(tenant, **{"from": "2", "to": "3"})
    assert part["isValid"]
    assert not part["reachesHead"]
    assert part["checked"] == 2
    assert part["headHash"] != whole["headHash"]


async def test_aud_3_one_altered_byte_is_found(tenant: TenantUnderTest) -> None:
    """By the owner of the table, with the trigger off: the record is named."""
    await make_history(tenant, 4)
    statement = (
        'UPDATE change_records SET after_state = \'{"name": "P9", "slug": "p1"}\' WHERE tenant_id = $1 AND seq = 2'
    )
    await tamper(tenant.database, statement, tenant.id)
    found = await check(tenant)
    assert not found["isValid"]
    assert [fault["seq"] for fault in found["faults"]] == ["2"]


async def test_aud_3_a_cut_end_is_found(tenant: TenantUnderTest) -> None:
    """The newest record taken away: the counter knows better."""
    await make_history(tenant, 3)
    await tamper(tenant.database, "DELETE FROM change_records WHERE tenant_id = $1 AND seq = 3", tenant.id)
    assert not (await check(tenant))["isValid"]


async def test_an_empty_log_is_valid(tenant: TenantUnderTest) -> None:
    """Nothing happened yet, nothing is wrong."""
    found = await check(tenant)
    assert found["isValid"]
    assert found["checked"] == 0


async def test_a_part_of_the_permission_is_not_enough(tenant: TenantUnderTest) -> None:
    """The chain runs through all projects: a scoped grant cannot check it."""
    answer = await ask(tenant.database, tenant.actor("read:projects"), VERIFY)
    assert answer.code == "FORBIDDEN"


async def export(served: Served, path: str, **params: str) -> httpx.Response:
    return await served.client.get(path, params=params, headers=served.headers)


async def test_aud_4_an_export_is_streamed_audited_and_verifies_offline(served: Served, tmp_path: Path) -> None:
    """Every record in order; the same chain is recomputed from the file alone, and an altered line is found."""
    tenant = served.tenant
    await make_history(tenant, 30)
    response = await export(served, "/v1/exports/change-records")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    records = [orjson.loads(line) for line in response.content.splitlines()]
    assert [record["seq"] for record in records] == list(range(1, 31))
    file = tmp_path / "log.ndjson"
    file.write_bytes(response.content)
    assert verify(file) == 0
    assert verify(file, records[-1]["hash"]) == 0
    assert verify(file, "0" * 64) == 1
    file.write_bytes(response.content.replace(b'"P7"', b'"P8"', 1))
    assert verify(file) == 1
    lines = response.content.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:10] + lines[11:]))
    assert verify(file) == 1
    logs = await ask(tenant.database, tenant.actor(), "{ auditLogs { edges { node { action actor { id } } } } }")
    assert "CHANGE_RECORDS_EXPORTED" in [edge["node"]["action"] for edge in logs.data["auditLogs"]["edges"]]


@pytest.mark.parametrize("content", [b"", b"{}\n", b"nonsense\n", b"[1]\n"])
def test_a_file_that_is_no_export_is_named(tmp_path: Path, content: bytes) -> None:
    """The message says which line, and where exports come from."""
    file = tmp_path / "log.ndjson"
    file.write_bytes(content)
    with pytest.raises(CommandError, match=r"log\.ndjson"):
        verify(file)


async def test_csv_has_no_formulas(served: Served) -> None:
    """A cell that a spreadsheet would run is quoted."""
    await run(served.tenant.database, served.tenant.actor(), "create_project", {"name": "=1+1", "slug": "x"})
    await served.tenant.add(
        models.AuditLog(
            severity="INFO", action="=HYPERLINK()", actor_type="SYSTEM", timestamp=served.tenant.project.created_at
        )
    )
    response = await export(served, "/v1/exports/audit-logs", format="csv")
    assert response.status_code == 200
    assert response.text.splitlines()[0].startswith("tenant_id,id,severity,action")
    assert "'=HYPERLINK()" in response.text


async def test_exports_refuse_what_they_must(served: Served) -> None:
    """No token, no such log, no such format, no permission."""
    assert (await served.client.get("/v1/exports/change-records")).status_code == 401
    assert (await export(served, "/v1/exports/passwords")).status_code == 400
    assert (await export(served, "/v1/exports/audit-logs", format="xls")).status_code == 400
    viewer = await served.token("Viewer")
    refused = await served.client.get("/v1/exports/change-records", headers={"Authorization": f"Bearer {viewer}"})
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["extensions"]["permission"] == "export:change-records"
