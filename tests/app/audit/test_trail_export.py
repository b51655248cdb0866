"""AUD-5: both journals as a file, by day."""

from __future__ import annotations

import csv
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from sqlalchemy import func, select

from app.audit.exported import EXPORTED
from db import models
from db.ids import new_id
from tests.app.audit.test_trail import change, log, minute, write, write_in_turn
from tests.conftest import TenantUnderTest, make_tenant
from tests.serving import Served

DAY = 24 * 60


async def export(served: Served, token: str | None = None, **params: str) -> httpx.Response:
    headers = served.headers if token is None else {"Authorization": f"Bearer {token}"}
    return await served.client.get("/v1/exports/audit-trail", params=params, headers=headers)


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [orjson.loads(line) for line in response.content.splitlines()]


def said(line: dict[str, Any]) -> tuple[str, str]:
    """The day, and what happened."""
    return line["day"], line["summary"] if line["type_name"] == "ChangeRecord" else line["action"]


async def token_with(served: Served, permissions: set[str], **place: Any) -> str:
    """A token of a new operator who holds these permissions, everywhere or in a place."""
    operator = models.Operator(id=new_id(), auth_id=f"sub-{new_id().hex}", name="Bob", email="bob@example.com")
    role = models.Role(id=new_id(), name=new_id().hex, permissions=sorted(permissions))
    given = models.RoleAssignment(role_id=role.id, operator_id=operator.id, assigned_at=minute(0), **place)
    await served.tenant.add(operator, role, given)
    return served.token_of(operator)


async def test_aud_5_the_newest_day_comes_first(served: Served) -> None:
    """Each line with its day (UTC), and with every column of its row; nothing of another tenant's."""
    tenant = served.tenant
    await write_in_turn(await make_tenant(tenant.database), 4)
    changes = [change(1, minute(0)), change(2, minute(DAY))]
    await write(tenant, changes, [log(1, minute(DAY - 1)), log(2, minute(DAY + 1))])
    bounds = {"to": minute(2 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")}
    found = lines_of(await export(served, **bounds))
    assert [said(line) for line in found] == [
        ("2026-11-02", "LOG_2"),
        ("2026-11-02", "change 2"),
        ("2026-11-01", "LOG_1"),
        ("2026-11-01", "change 1"),
    ]
    assert found[1]["id"] == str(changes[1]["id"])
    assert found[1]["timestamp"] == "2026-11-02T00:00:00.000Z"
    for line, model in zip(found, (models.AuditLog, models.ChangeRecord), strict=False):
        assert set(line) == {"day", "type_name", *(column.name for column in model.__table__.columns)}
    since = {**bounds, "from": minute(DAY).strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert [said(line)[1] for line in lines_of(await export(served, **since))] == ["LOG_2", "change 2"]


async def test_it_has_so_many_entries_and_comes_in_pages(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest ones, in one order over all pages."""
    monkeypatch.setattr("app.audit.exported.MOST", 5)
    monkeypatch.setattr("app.audit.exported.PAGE", 2)
    await write_in_turn(served.tenant, 12)
    found = lines_of(await export(served, to=minute(12).strftime("%Y-%m-%dT%H:%M:%SZ")))
    assert [said(line)[1] for line in found] == ["LOG_11", "change 6", "LOG_9", "change 5", "LOG_7"]


async def test_a_spreadsheet_has_the_columns_of_both(served: Served) -> None:
    """A column that a row's own journal lacks is empty."""
    await write(served.tenant, [change(1, minute(0))], [log(1, minute(1))])
    response = await export(served, format="csv", to=minute(9).strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert response.headers["content-type"].startswith("text/csv")
    entry, record = csv.DictReader(response.text.splitlines())
    assert (entry["day"], entry["type_name"], entry["action"], entry["seq"]) == ("2026-11-01", "AuditLog", "LOG_1", "")
    assert (record["type_name"], record["action"], record["seq"]) == ("ChangeRecord", "", "1")


async def test_the_export_is_audited_and_not_in_itself(served: Served) -> None:
    """What begins it is written after its entries are found."""
    await write(served.tenant, [change(1, minute(0))], [])
    actions = [line.get("action") for line in lines_of(await export(served))]
    assert "AUDIT_TRAIL_EXPORTED" not in actions
    again = lines_of(await export(served))
    exported = [line for line in again if line.get("action") == "AUDIT_TRAIL_EXPORTED"]
    assert [(line["resource"], line["metadata"], line["actor_id"]) for line in exported] == [
        ("audit_trail", {"format": "ndjson"}, str(served.admin.id))
    ]


async def test_it_refuses_what_it_must(served: Served) -> None:
    """Each permission by itself, and times that are none or the wrong way round; nothing of it is audited."""
    both = {"export:change-records", "export:audit"}
    for permission in sorted(both):
        refused = await export(served, await token_with(served, both - {permission}))
        assert refused.status_code == 403
        assert refused.json()["errors"][0]["extensions"]["permission"] == permission
    scoped = await export(served, await token_with(served, both, project_id=served.tenant.project.id))
    assert scoped.status_code == 403
    for asked, name in (
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-11-01"}, "to"),
        ({"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"}, "from"),
    ):
        wrong = await export(served, **asked)
        assert wrong.status_code == 400
        assert wrong.json()["errors"][0]["extensions"]["argument"] == name
        assert f"`{name}`" in wrong.json()["errors"][0]["message"]
    async with served.tenant.database.transaction(served.tenant.actor()) as session:
        counted = select(func.count()).where(models.AuditLog.action == "AUDIT_TRAIL_EXPORTED")
        assert await session.scalar(counted) == 0
    assert (await export(served, await token_with(served, both))).status_code == 200


async def test_what_goes_meanwhile_is_left_out(tenant: TenantUnderTest) -> None:
    """Retention may take entries that were found before their page is read."""
    await write_in_turn(tenant, 4)
    pages = await EXPORTED["audit-trail"].begin(tenant.database, tenant.actor(), {})
    owner = await asyncpg.connect(tenant.database.connections.owner.url)
    try:
        async with owner.transaction():
            await owner.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant.id))
            assert await owner.execute("DELETE FROM audit_logs WHERE action = 'LOG_1'") == "DELETE 1"
    finally:
        await owner.close()
    assert [said(dict(line))[1] async for page in pages for line in page] == ["LOG_3", "change 2", "change 1"]
