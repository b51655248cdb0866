"""Documents that no sane system wrote: the import goes on, and says what it could not take (MIG-0c)."""

import hashlib
from pathlib import Path
from typing import Any

from db import models
from db.session import Database
from tests.app.legacy.importing import DAY, NOW, agent, fleet, land, task
from tests.app.legacy.zips import row

KEY = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(200))
"""Longer than an index takes, also after compression."""


async def test_odd_values_break_no_import(database: Database, tmp_path: Path) -> None:
    """Objects where texts belong, keys of any length, nesting: each is a rejection, or kept, and nothing stops."""
    own: dict[str, Any] = {"tenantId": "tenant"}
    odd: dict[str, Any] = {"a": [1]}
    deep = "[" * 900 + "]" * 900
    moved = {
        "tenantId": "tenant",
        "taskId": "task",
        "fromStatus": "INBOX",
        "toStatus": "ASSIGNED",
        "actorType": "SYSTEM",
    }
    tables = fleet(
        tenants=[row("tenant", NOW - DAY, name=odd, slug="acme", missionStatement=odd)],
        agents=[agent("atlas"), agent("b", role=odd), agent("c", metadata=odd | {"model": odd})],
        tasks=[
            task("task"),
            task("t1", idempotencyKey=KEY),
            task("t2", projectId=odd),
            task("t3", assigneeIds=odd),
        ],
        policies=[row("p", NOW, **own, name="P", scopeType="AGENT", scopeId=odd)],
        roles=[row("r", NOW, **own, name=odd, permissions=[odd])],
        orgMembers=[row("m", NOW, **own, name="M", role="x", level=0, active=True, email="m@x", projectAccess=odd)],
        activities=[
            row("a", NOW, **own, action="X", actorType="SYSTEM", actorId=odd, targetId=odd, targetType=odd),
            row("b", NOW, **own, action=odd),
            row("c", NOW, **own, action="PROJECT_UPDATED", targetType=odd),
        ],
        taskTransitions=[row("x", NOW, idempotencyKey=KEY, **moved), row("y", NOW, idempotencyKey=7, **moved)],
        changeRecords=[row("cr", NOW, **own, type=odd)],
        opEvents=[row("oe", NOW, **own, type="HEARTBEAT", timestamp=NOW, payload=[odd])],
        evaluationRuns=[row("er", NOW, **own, suiteId=odd, versionId=odd, triggeredBy=odd, status=odd)],
        notificationPreferences=[row("np", NOW, **own, operatorId=odd, channels=odd)],
        webhooks=[row("w", NOW, **own, filters=[odd], secret=odd)],
    )
    extra: dict[str, str | bytes] = {"meetings/documents.jsonl": f'{{"_id":"deep","_creationTime":1,"title":{deep}}}\n'}
    landed = await land(database, tmp_path, tables, extra=extra)
    assert landed.report.committed
    assert all(table.balanced for table in landed.report.tables.values())
    assert {one.id for one in landed.report.rejects if one.table == "tasks"} == {"t1", "t2", "t3"}
    assert {one.id for one in landed.report.rejects if one.table == "meetings"} == {"deep"}
    kept = next(one for one in await landed.rows(models.ChangeRecord) if one["metadata"].get("legacyId") == "x")
    assert kept["idempotency_key"] is None
    assert (await landed.row(models.Tenant, slug=landed.slug))["name"] == landed.slug
    assert not (await landed.again()).changed
