"""What requests leave to be done once they are answered."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
import structlog

from app.graph.execution import Report
from app.http import server
from app.http.server import Afterwards
from db.connections import Connections
from tests.app.live.gateway import running
from tests.conftest import TenantUnderTest


async def test_what_is_left_is_done_together_in_its_order_and_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails is logged, and keeps nobody else's from being done."""
    monkeypatch.setattr(server, "AFTERWARDS_SECONDS", 0.05)
    done: list[int] = []

    def do(number: int) -> None:
        if number == 2:
            raise RuntimeError("out of order")
        done.append(number)

    afterwards = Afterwards()
    with structlog.testing.capture_logs() as lines:
        for number in range(4):
            afterwards.add(do, number)
        await asyncio.sleep(0)
        assert done == []
        await asyncio.sleep(0.2)
        assert done == [0, 1, 3]
        assert [line["event"] for line in lines] == ["left_undone"]
        afterwards.add(do, 4)
        await asyncio.sleep(0.2)
    assert done == [0, 1, 3, 4]


async def test_an_operation_is_reported_after_its_answer_and_before_the_server_is_gone(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon it stops."""
    monkeypatch.setattr(server, "AFTERWARDS_SECONDS", 60)
    reports: list[Report] = []
    async with running(connections, tmp_path) as gateway:
        gateway.application.gateway.executor.observe = reports.append  # type: ignore[misc]
        headers = {"Authorization": f"Bearer {await gateway.token(tenant)}"}
        async with httpx.AsyncClient() as client:
            found = await client.post(gateway.url, json={"query": "{ projects { totalCount } }"}, headers=headers)
        assert found.json()["data"] == {"projects": {"totalCount": 1}}
        assert not reports
    assert [report.outcome.code for report in reports] == ["OK"]
