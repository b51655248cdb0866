"""`python -m bench.live.idle`: many idle subscriptions on one process, for minutes, with heartbeats; what they cost."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from app.cli.preparing import console
from bench import report
from bench.live.fanout import RESULTS, queries
from bench.live.listeners import Listeners, Listening, listeners
from bench.live.stage import Stage, open_stage
from bench.processes import cpu_seconds, resident_bytes


async def soak(stage: Stage, ear: Listeners, connections: int, minutes: float, groups: int) -> str:
    """Open the subscriptions, wait, publish one event; what was heard and what it cost, in words.

    Raises RuntimeError where a socket was lost or did not hear the event.
    """
    with stage.server("gateway") as server:
        before = resident_bytes([server.pid])
        opened = time.monotonic()
        await asyncio.to_thread(ear.open, Listening(server.port, stage.token, connections, queries(groups)))
        opening = time.monotonic() - opened
        await asyncio.sleep(2)
        each = (resident_bytes([server.pid]) - before) / connections
        cpu, began = cpu_seconds([server.pid]), time.monotonic()
        while time.monotonic() - began < 60 * minutes:
            await asyncio.sleep(5)
            heard = await asyncio.to_thread(ear.heard)
            if heard.open < connections or heard.frames:
                raise RuntimeError(f"{connections - heard.open} of {connections} are gone: {heard.complaint}")
        idle = (cpu_seconds([server.pid]) - cpu) / (time.monotonic() - began)
        later = (resident_bytes([server.pid]) - before) / connections
        sent = time.monotonic()
        await stage.publisher.publish(1)
        frames = 0
        while frames < connections:
            frames += (await asyncio.to_thread(ear.heard)).frames
            if time.monotonic() - sent > 60:
                raise RuntimeError(f"{frames} of {connections} heard the event")
            await asyncio.sleep(0.02)
        told = time.monotonic() - sent
        await asyncio.to_thread(ear.close)
    return (
        f"{connections:,} idle subscriptions in {groups} groups on one process for {minutes:g} minutes: none was lost. "
        f"Opened in {opening:.1f} s; {each / 1024:.1f} KB of memory each at first, {later / 1024:.1f} KB at the "
        f"end; {idle:.1%} of a CPU with a ping every 20 s each; one event reached all of them in {told:.2f} s."
    )


async def _run(connections: int, minutes: float, groups: int) -> str:
    async with open_stage() as stage:
        with listeners() as ear:
            return await soak(stage, ear, connections, minutes, groups)


def main(
    connections: Annotated[int, typer.Option(min=1, help="Subscriptions, each on a socket of its own.")] = 10_000,
    minutes: Annotated[float, typer.Option(min=0.05, help="How long they are to stay up.")] = 10.0,
    groups: Annotated[int, typer.Option(min=1, help="How many different documents they ask for.")] = 10,
    name: Annotated[str, typer.Option(help="Name of the file in bench/results.")] = "idle",
) -> None:
    """Hold idle subscriptions for a while, and write bench/results/NAME.md."""
    began = report.now()
    said = asyncio.run(_run(connections, minutes, groups))
    console.print(said)
    (RESULTS / f"{name}.md").write_text(f"# Idle subscriptions\n\nBegan {began}.\n\n{said}\n")


if __name__ == "__main__":
    typer.run(main)
