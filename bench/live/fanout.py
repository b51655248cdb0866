"""`python -m bench.live.fanout`: deliveries, their delay and their cost, for 1, 100 and 1,000 subscribers."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from app.cli.showing import console
from bench import report
from bench.live.listeners import Heard, Listeners, Listening, listeners
from bench.live.stage import Publisher, Server, Stage, open_stage
from bench.processes import cpu_seconds, resident_bytes

_FIELDS: Final = "opEvents { seq type timestamp payload }"
_CELLS: Final = "1:1,100:1,100:100,1000:1,1000:100"
"""Subscribers and groups of each cell."""
_DRAIN_SECONDS: Final = 60.0
STREAMS: Final = 3
"""Steady streams of a cell, one after the other."""


@dataclass(frozen=True)
class Figures:
    """What one server did with one number of subscribers and groups."""

    server: str
    subscribers: int
    groups: int
    deliveries_per_second: float
    deliveries_per_cpu_second: float
    events_per_second: float
    """Of the flood: as many as every subscriber gets."""
    rate: float
    """Events a second of the steady stream, over which the delays are measured."""
    p50_ms: float
    p99_ms: float
    """These two are medians of the streams; a hiccup of the machine is one stream's."""
    worst_p99_ms: float
    """Of the worst stream."""
    steady_cpu: float
    """CPU seconds of the server a second, during the steady stream."""
    idle_bytes: float
    """Resident memory of the server for each subscriber, before the first event."""
    listeners_cpu: float
    """CPU seconds a second of the listeners during the flood: close to 1, it is they who were measured."""


def queries(groups: int) -> list[str]:
    """Documents that differ in their operation's name alone, and so are as many groups."""
    return [f"subscription Tail{number} {{ {_FIELDS} }}" for number in range(groups)]


async def measure(
    stage: Stage, ear: Listeners, server: Server, subscribers: int, groups: int, seconds: float
) -> Figures:
    """One cell: open the sockets, a flood, then a steady stream."""
    before = resident_bytes([server.pid])
    ask = asyncio.to_thread
    await ask(ear.open, Listening(server.port, stage.token, subscribers, queries(groups)))
    await asyncio.sleep(1.5)
    idle = (resident_bytes([server.pid]) - before) / subscribers
    publisher = stage.publisher
    await _settled(stage, ear, subscribers, 1)  # connections, plans and caches are warm
    flood = await _flood(stage, ear, server, subscribers, seconds)
    rate = min(1_000.0, max(2.0, 0.4 * flood[0] / subscribers))
    streams = [await _steady(publisher, ear, server, subscribers, rate, seconds) for _ in range(STREAMS)]
    await ask(ear.close)
    tails = [1_000 * sorted(delays)[int(0.99 * (len(delays) - 1))] for delays, _ in streams]
    deliveries, per_cpu, ears = flood
    return Figures(
        server.name,
        subscribers,
        groups,
        deliveries,
        per_cpu,
        deliveries / subscribers,
        rate,
        1_000 * statistics.median(statistics.median(delays) for delays, _ in streams),
        statistics.median(tails),
        max(tails),
        statistics.median(cpu for _, cpu in streams),
        idle,
        ears,
    )


async def _settled(stage: Stage, ear: Listeners, subscribers: int, count: int) -> Heard:
    """Publish, and wait until everybody has heard all of it."""
    await stage.publisher.publish(count)
    return await _hear(ear, count * subscribers)


async def _hear(ear: Listeners, frames: int) -> Heard:
    """Listen until so many deliveries have been counted. Raises RuntimeError for what is lost."""
    total = Heard()
    until = time.monotonic() + _DRAIN_SECONDS
    while total.frames < frames:
        one = await asyncio.to_thread(ear.heard)
        total.frames += one.frames
        total.arrivals += one.arrivals
        total.cpu_seconds = one.cpu_seconds
        total.closed += one.closed
        if one.complaint or one.closed or time.monotonic() > until:
            raise RuntimeError(
                f"{total.frames} of {frames} deliveries came, {one.closed} sockets closed: {one.complaint}"
            )
        await asyncio.sleep(0.01)
    return total


async def _flood(
    stage: Stage, ear: Listeners, server: Server, subscribers: int, seconds: float
) -> tuple[float, float, float]:
    """As fast as all have heard: a batch follows the other when half of it has been delivered everywhere."""
    batch = max(5, min(500, 50_000 // subscribers))
    cpu, began = cpu_seconds([server.pid]), time.monotonic()
    ears = (await asyncio.to_thread(ear.heard)).cpu_seconds
    frames = published = 0
    last = Heard()
    while time.monotonic() - began < seconds:
        while published * subscribers - frames < batch * subscribers:
            await stage.publisher.publish(batch)
            published += batch
        last = await _hear(ear, batch * subscribers // 2)
        frames += last.frames
    frames += (await _hear(ear, published * subscribers - frames)).frames
    took = time.monotonic() - began
    used = cpu_seconds([server.pid]) - cpu
    ears = (await asyncio.to_thread(ear.heard)).cpu_seconds - ears
    return frames / took, frames / max(used, 0.01), ears / took


async def _steady(
    publisher: Publisher, ear: Listeners, server: Server, subscribers: int, rate: float, seconds: float
) -> tuple[list[float], float]:
    """Events at a rate, whatever becomes of them; the delays from the begin of the write to the arrival."""
    publisher.began.clear()
    cpu, began = cpu_seconds([server.pid]), time.monotonic()
    published = 0
    while (elapsed := time.monotonic() - began) < seconds:
        due = int(elapsed * rate) - published
        if due > 0:
            await publisher.publish(due)
            published += due
        await asyncio.sleep(0.005)
    heard = await _hear(ear, published * subscribers)
    took = time.monotonic() - began
    used = cpu_seconds([server.pid]) - cpu
    return [when - publisher.began[number] for number, when in heard.arrivals], used / took


def table(figures: list[Figures]) -> str:
    """The figures as Markdown, with the ratio to plain Strawberry in the same cell."""
    plain = {(one.subscribers, one.groups): one for one in figures if one.server == "plain"}
    lines = [
        "| | subscribers | groups | deliveries/s | deliveries/CPU s | x plain | at events/s | p50 ms | p99 ms | "
        "worst p99 ms | CPU | KB/idle subscriber |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in figures:
        other = plain.get((one.subscribers, one.groups))
        ratio = (
            ""
            if other is None or other is one
            else (f"{one.deliveries_per_cpu_second / other.deliveries_per_cpu_second:.1f}")
        )
        busy = " (listeners busy)" if one.listeners_cpu > 0.9 else ""
        lines.append(
            f"| {one.server} | {one.subscribers:,} | {one.groups} | {one.deliveries_per_second:,.0f}{busy} | "
            f"{one.deliveries_per_cpu_second:,.0f} | {ratio} | {one.rate:,.0f} | {one.p50_ms:.1f} | {one.p99_ms:.1f} | "
            f"{one.worst_p99_ms:.1f} | "
            f"{one.steady_cpu:.0%} | {one.idle_bytes / 1024:.1f} |"
        )
    return "\n".join(lines)


async def run(cells: list[tuple[int, int]], servers: list[str], seconds: float) -> list[Figures]:
    """Every cell for every server, each with a server that was just started."""
    found = []
    async with open_stage() as stage:
        for subscribers, groups in cells:
            for name in servers:
                with stage.server(name) as server, listeners() as ear:
                    one = await measure(stage, ear, server, subscribers, groups, seconds)
                console.print(
                    f"{name}: {subscribers} subscribers in {groups} groups: {one.deliveries_per_second:,.0f} "
                    f"a second, {one.deliveries_per_cpu_second:,.0f} a CPU second, p99 {one.p99_ms:.0f} ms at "
                    f"{one.rate:,.0f} events a second, {one.idle_bytes / 1024:.1f} KB for an idle one"
                )
                found.append(one)
    return found


def main(
    seconds: Annotated[float, typer.Option(min=0.5, help="How long the flood and the stream last.")] = 10.0,
    servers: Annotated[str, typer.Option(help="gateway, plain or both, separated by a comma.")] = "gateway,plain",
    cells: Annotated[str, typer.Option(help="subscribers:groups, separated by commas.")] = _CELLS,
    name: Annotated[str, typer.Option(help="Name of the files in bench/results.")] = "fanout",
) -> None:
    """Measure the fan-out of op events, and write bench/results/NAME.md and NAME.json."""
    chosen = [(int(one.split(":")[0]), int(one.split(":")[1])) for one in cells.split(",")]
    began, load = report.now(), os.getloadavg()[0]
    figures = asyncio.run(run(chosen, servers.split(","), seconds))
    text = table(figures)
    console.print(text, markup=False, soft_wrap=True)
    page = {**report.circumstances(began, load), "seconds": seconds}
    method = f"{seconds:g} s a flood and a stream; delays are medians of {STREAMS} streams."
    heading = f"# Fan-out\n\n{report.told(page)} {method}\n\n"
    for path in report.save(name, f"{heading}{text}\n", {**page, "figures": [asdict(one) for one in figures]}):
        console.print(f"Written: {path}")


if __name__ == "__main__":
    typer.run(main)
