"""The npm suite graphql-http: its audits of GraphQL over HTTP, all of them (issue 2, point 8)."""

from __future__ import annotations

import asyncio
import json

from tests.app.http.conftest import running
from tests.app.http.fleet import fleet
from tests.npm.packages import HERE, installed


async def test_all_61_audits_pass() -> None:
    """trap 1, trap 5 and what else the specification says."""
    node = await asyncio.to_thread(installed)
    async with running(fleet()) as live:
        process = await asyncio.create_subprocess_exec(
            str(node.program),
            str(HERE / "audits.mjs"),
            live.url,
            "good",
            env=node.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    audits = json.loads(out)
    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert len(audits) == 61
