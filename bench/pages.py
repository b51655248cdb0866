"""`python -m bench.pages` (a part of `make docs`): what is told of the results that lie in bench/results.

`docs/performance.md` with its plots, and the block «Speed» of README.md. Both follow from the JSON files alone, so that
a test can say when they are out of date; a part whose file is not there is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench import aims, growth_page, ingest, report, writes
from bench.aims import GATEWAY, PLAIN, POSTGRAPHILE
from bench.contenders import ROOT
from bench.drawing import picture
from bench.live import fanout
from bench.results import Growth, Page, Reads, Results, Writes, load
from bench.rounds import Measurement, median, median_ratio

PAGE: Final = Path("docs/performance.md")
PICTURES: Final = Path("docs/performance")
README: Final = Path("README.md")
BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
"""Around the block of README."""

_AT: Final = 16
"""Connections of what README shows."""
_CONTENDERS: Final = {GATEWAY: "Fleetgraph", POSTGRAPHILE: "PostGraphile", PLAIN: "plain Strawberry"}
_WRITERS: Final = {GATEWAY: "M1", POSTGRAPHILE: "M1, PostGraphile", PLAIN: "M1, plain"}

Row = Mapping[str, Sequence[Measurement]]
"""Contender -> its rounds of one query."""


def files(results: Results, readme: str) -> dict[Path, str]:
    """Path in the repository -> text, of everything that follows from the results. `readme` is README as it is."""
    pictures = {} if results.growth is None else _pictures(results.growth)
    return {
        **{PICTURES / f"{name}.svg": text for name, text in pictures.items()},
        PAGE: page(results),
        README: with_block(readme, block(results)),
    }


def _pictures(growth: Growth) -> dict[str, str]:
    drawn = ((topic, growth_page.panels(topic, growth.curves)) for topic in growth_page.TOPICS)
    return {topic.name: picture(f"How cost grows: {topic.title.lower()}", panels) for topic, panels in drawn if panels}


# --- docs/performance.md ----------------------------------------------------------------------------------------------


def page(results: Results) -> str:
    """`docs/performance.md`."""
    lines = [
        "# Performance",
        "",
        "Printed by `make docs` from the files in `bench/results`; `make bench` measures all of them anew. How, and "
        "what the figures do not say, is in [bench/README.md](../bench/README.md). Whatever is compared was measured "
        "on one machine in turns, and what counts are the ratios within a run. The gateway works as it does in "
        "production: it verifies tokens, keeps tenants apart by its own condition and by row-level security, checks "
        "permissions and limits, and counts and logs every request. Nothing that it is compared with does any of "
        "that, but for `same`, which is behind row-level security too.",
        "",
        "## Aims",
        "",
        "What was set beforehand, and what came of it. Where there are several numbers of connections, an aim is met "
        "if it is met at each.",
        "",
        *_aims(results),
        *_reads(results.reads),
        *_writes(results.writes),
        *_ingest(results),
        *_live(results),
        *_policy(results),
        *_growth(results.growth),
    ]
    return "\n".join(lines) + "\n"


def _aims(results: Results) -> list[str]:
    lines = ["| Issue | Aim | Measured | |", "|--:|---|---|---|"]
    return lines + [f"| {one.issue} | {one.text} | {one.figure} | {one.verdict} |" for one in aims.aims(results)]


def _section(title: str, page: Page, name: str) -> list[str]:
    """The head of a part: when and where it ran, and where the rest of its figures is."""
    told = f"{report.told(page)} " if "ended" in page and "commit" in page else ""
    return ["", f"## {title}", "", f"{told}All figures: [results/{name}.md](../bench/results/{name}.md).", ""]


def _reads(reads: Reads | None) -> list[str]:
    if reads is None:
        return []
    queries = reads.page["queries"]
    lines = [
        *_section("Reads", reads.page, "reads"),
        f"Medians of {reads.page['rounds']} interleaved rounds of {reads.page['seconds']:g} s, closed loop over HTTP "
        "on loopback. The queries:",
        "",
        *(f"- **{name}**: {queries[name]['what']}" for name in reads.queries),
        "",
        "Who answers them:",
        "",
        *(f"- **{name}**: {reads.page['contenders'][name]}" for name in reads.contenders),
    ]
    if len(reads.contenders) > 1:
        table = report.ratio_table(reads.cells, reads.contenders, reads.queries, reads.connections)
        lines += ["", report.RATIOS, "", *table]
    return lines


def _writes(found: Writes | None) -> list[str]:
    if found is None:
        return []
    described = [*writes.WRITES, *writes.RIVALS]
    names = {cell[0] for cell in found.cells}
    return [
        *_section("Writes", found.page, "writes"),
        *(f"- **{write.name}**: {write.what}" for write in described if write.name in names),
        *writes.against_others(found.cells),
    ]


def _ingest(results: Results) -> list[str]:
    if results.ingest is None:
        return []
    table = ingest.table(results.ingest.cells)
    return [*_section("Op events coming in", results.ingest.page, "ingest"), *table]


def _live(results: Results) -> list[str]:
    lines: list[str] = []
    if results.fanout is not None:
        lines += [*_section("Live", results.fanout.page, "fanout"), fanout.table(list(results.fanout.figures))]
    if results.idle is not None:
        lines += [*_section("Idle subscriptions", results.idle.page, "idle"), results.idle.figures.said]
    return lines


def _policy(results: Results) -> list[str]:
    if results.policy is None:
        return []
    return [*_section("Policy", results.policy.page, "policy"), *(f"- {one.said}" for one in results.policy.figures)]


def _growth(growth: Growth | None) -> list[str]:
    if growth is None:
        return []
    lines = [*_section("How cost grows", growth.page, "growth"), growth_page.taken(growth.page)]
    for topic in growth_page.TOPICS:
        found = [curve for curve in growth.curves if curve.name in topic.curves]
        if found:
            image = f"![{topic.title}: response time and cost]({PICTURES.name}/{topic.name}.svg)"
            lines += ["", f"### {topic.title}", "", image, ""]
            lines += [f"- **{curve.name}**: {curve.what}" for curve in found]
            sentences = [sentence for curve in found if (sentence := growth_page.fitted(topic, curve))]
            lines += ["", "Their lines:", "", *sentences] if sentences else []
    return lines


# --- README -----------------------------------------------------------------------------------------------------------


def with_block(readme: str, text: str) -> str:
    """README with this between the two marks. Raises ValueError where they are not there, each once and in order."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"README.md needs {BEGIN} and, behind it, {END}, each once.")
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{text}\n{END}", readme, flags=re.DOTALL)


def block(results: Results) -> str:
    """What README says of speed."""
    rows = _rows(results)
    if not rows or results.reads is None:
        return "Nothing has been measured yet; `make bench` does it."
    shown = [name for name in _CONTENDERS if any(name in row for row in rows.values())]
    rivals = [name for name in shown if name != GATEWAY]
    lines = [
        f"| | {' | '.join([_CONTENDERS[name] for name in shown] + [f'x {_CONTENDERS[name]}' for name in rivals])} |",
        f"|---|{'---|' * len(shown)}{'--:|' * len(rivals)}",
    ]
    for query, row in rows.items():
        ratios = [
            report.multiple(median_ratio(row[GATEWAY], row[name], lambda one: one.per_second)) if name in row else ""
            for name in rivals
        ]
        lines.append(f"| {query} | {' | '.join([_cell(row.get(name)) for name in shown] + ratios)} |")
    taken = results.reads.page
    return "\n".join([*lines, "", _legend(taken, results), "", _verdict(results)])


def _rows(results: Results) -> dict[str, Row]:
    """Query -> contender -> rounds, at the number of connections that README shows."""
    rows: dict[str, Row] = {}
    if results.reads is not None and _AT in results.reads.connections:
        cells = results.reads.cells
        for query in results.reads.queries:
            rows[query] = {one: cells[one, query, _AT] for one in _CONTENDERS if (one, query, _AT) in cells}
    if results.writes is not None and ("M1", 8, _AT) in results.writes.cells:
        found = results.writes.cells
        rows["M1"] = {name: found[write, 8, _AT] for name, write in _WRITERS.items() if (write, 8, _AT) in found}
    return rows


def _cell(rounds: Sequence[Measurement] | None) -> str:
    if rounds is None:
        return ""
    rate = report.number(median(rounds, lambda one: one.per_second))
    return f"{rate} · {report.slowest(rounds)} · {report.number(median(rounds, lambda one: one.cpu_ms))}"


def _legend(taken: Page, results: Results) -> str:
    queries = [f"{name} {one['what']}" for name, one in taken["queries"].items()]
    if results.writes is not None:
        queries.append("M1 an instance transition with its change record, over eight tenants")
    return (
        f"Requests a second · 99th percentile in ms · CPU ms a request, of server and Postgres, at {_AT} connections: "
        f"medians of {taken['rounds']} rounds in turns on {taken['machine']}, {taken['began']:%Y-%m-%d}. The gateway "
        "verifies tokens, tenants, permissions and limits at each request and journals each change; the others check "
        f"nothing. {'; '.join(queries)}."
    )


def _verdict(results: Results) -> str:
    found = [one for one in aims.aims(results) if one.met is not None]
    missed = [one.text for one in found if not one.met]
    said = f"Of the {len(found)} aims that were measured {len(found) - len(missed)} are met"
    missing = f"; not met: {'; '.join(missed)}" if missed else ""
    return f"{said}{missing}. The figures: [docs/performance.md](docs/performance.md)."


def main() -> None:
    """Write the files, and remove plots that nothing is measured for any more."""
    made = files(load(), (ROOT / README).read_text())
    (ROOT / PICTURES).mkdir(exist_ok=True)
    for path, text in made.items():
        (ROOT / path).write_text(text)
    for path in sorted((ROOT / PICTURES).glob("*.svg")):
        if path.relative_to(ROOT) not in made:
            path.unlink()
    if not any((ROOT / PICTURES).iterdir()):
        (ROOT / PICTURES).rmdir()


if __name__ == "__main__":
    main()
