"""`python -m bench.live.idle`: many idle subscriptions on one process, for minutes, with heartbeats; what they cost."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from app.cli.showing import console
from bench import report
from bench.live.fanout import queries
from bench.live.listeners import Listeners, Listening, listeners
from bench.live.stage import Stage, open_stage
from bench.processes import cpu_seconds, resident_bytes


@dataclass(frozen=True)
class Soaked:
    """What idle subscriptions cost; none of them was lost."""

    connections: int
    groups: int
    minutes: float
    opening_seconds: float
    first_bytes: float
    """Resident memory of the server for each subscription, when all were open."""
    last_bytes: float
    """The same, at the end."""
    cpu: float
    """CPU seconds a second, pings included."""
    told_seconds: float
    """How long one event took to reach all of them."""

    @property
    def said(self) -> str:
        """The figures in words."""
        return (
            f"{self.connections:,} idle subscriptions in {self.groups} groups on one process for {self.minutes:g} "
            f"minutes: none was lost. Opened in {self.opening_seconds:.1f} s; {self.first_bytes / 1024:.1f} KB of "
            f"memory each at first, {self.last_bytes / 1024:.1f} KB at the end; {self.cpu:.1%} of a CPU with a ping "
            f"every 20 s each; one event reached all of them in {self.told_seconds:.2f} s."
        )


async def soak(stage: Stage, ear: Listeners, connections: int, minutes: float, groups: int) -> Soaked:
    """Open the subscriptions, wait, publish one event.

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
    return Soaked(connections, groups, minutes, opening, each, later, idle, told)


async def _run(connections: int, minutes: float, groups: int) -> Soaked:
    async with open_stage() as stage:
        with listeners() as ear:
            return await soak(stage, ear, connections, minutes, groups)


def main(
    connections: Annotated[int, typer.Option(min=1, help="Subscriptions, each on a socket of its own.")] = 10_000,
    minutes: Annotated[float, typer.Option(min=0.05, help="How long they are to stay up.")] = 10.0,
    groups: Annotated[int, typer.Option(min=1, help="How many different documents they ask for.")] = 10,
    name: Annotated[str, typer.Option(help="Name of the files in bench/results.")] = "idle",
) -> None:
    """Hold idle subscriptions for a while, and write bench/results/NAME.md and NAME.json."""
    began, load_before = report.now(), os.getloadavg()[0]
    found = asyncio.run(_run(connections, minutes, groups))
    console.print(found.said)
    page = report.circumstances(began, load_before)
    for path in report.save(name, markdown(page, found), {**page, "figures": asdict(found)}):
        console.print(f"Written: {path}")


def markdown(page: Mapping[str, Any], found: Soaked) -> str:
    """The page of results."""
    return f"# Idle subscriptions\n\n{report.told(page)}\n\n{found.said}\n"


if __name__ == "__main__":
    typer.run(main)
