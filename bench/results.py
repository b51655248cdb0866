"""The results that lie in bench/results, read back from their JSON; a file that is not there is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from bench import ingest, writes
from bench.growth_page import Curve, Point
from bench.live.fanout import Figures
from bench.live.idle import Soaked
from bench.policy import Timed
from bench.report import RESULTS
from bench.rounds import Cell, Measurement

Page = Mapping[str, Any]
"""The circumstances of a run, `began` and `ended` as times."""

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Reads:
    """`python -m bench`."""

    page: Page
    cells: Mapping[Cell, Sequence[Measurement]]

    @property
    def queries(self) -> Sequence[str]:
        """Names of the queries that were asked."""
        return list(dict.fromkeys(query for _, query, _ in self.cells))

    @property
    def contenders(self) -> Sequence[str]:
        """Names of those who took part, the gateway first."""
        return list(dict.fromkeys(contender for contender, _, _ in self.cells))

    @property
    def connections(self) -> Sequence[int]:
        """The numbers of connections."""
        return sorted({count for _, _, count in self.cells})


@dataclass(frozen=True)
class Writes:
    """`python -m bench.writes`."""

    page: Page
    cells: Mapping[writes.Cell, Sequence[Measurement]]


@dataclass(frozen=True)
class Ingest:
    """`python -m bench.ingest`."""

    page: Page
    cells: Mapping[ingest.Cell, Sequence[ingest.Measured]]


@dataclass(frozen=True)
class Fanout:
    """`python -m bench.live.fanout`."""

    page: Page
    figures: Sequence[Figures]


@dataclass(frozen=True)
class Idle:
    """`python -m bench.live.idle`."""

    page: Page
    figures: Soaked


@dataclass(frozen=True)
class Policy:
    """`python -m bench.policy`."""

    page: Page
    figures: Sequence[Timed]


@dataclass(frozen=True)
class Growth:
    """`python -m bench.growth`."""

    page: Page
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Results:
    """All that there is."""

    reads: Reads | None = None
    writes: Writes | None = None
    ingest: Ingest | None = None
    fanout: Fanout | None = None
    idle: Idle | None = None
    policy: Policy | None = None
    growth: Growth | None = None


def load(directory: Path = RESULTS) -> Results:
    """Reads what lies in the directory. Raises KeyError or TypeError for a file of another form."""
    found: dict[str, Any] = {}
    for name, read in _READERS.items():
        path = directory / f"{name}.json"
        if path.exists():
            data = orjson.loads(path.read_bytes())
            times = {key: datetime.fromisoformat(data[key]) for key in ("began", "ended") if key in data}
            found[name] = read({**data, **times})
    return Results(**found)


def _made(kind: type[_Made], values: Mapping[str, Any]) -> _Made:
    """A dataclass of figures; what it does not know is left out, and a figure that was none is NaN."""
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if name in known}
    for name, value in given.items():
        if value is None and known[name].type in ("float", float):
            given[name] = float("nan")
    return kind(**given)


def _rounds(kind: type[_Made], cell: Mapping[str, Any]) -> list[_Made]:
    return [_made(kind, one) for one in cell["rounds"]]


def _reads(data: Page) -> Reads:
    cells = data["cells"]
    return Reads(
        data,
        {(one["contender"], one["query"], one["connections"]): _rounds(Measurement, one) for one in cells},
    )


def _writes(data: Page) -> Writes:
    return Writes(data, {tuple(one["cell"]): _rounds(Measurement, one) for one in data["cells"]})


def _ingest(data: Page) -> Ingest:
    return Ingest(data, {tuple(one["cell"]): _rounds(ingest.Measured, one) for one in data["cells"]})


def _growth(data: Page) -> Growth:
    curves = [
        Curve(
            one["name"],
            one["what"],
            [Point(point["x"], _rounds(Measurement, point)) for point in one["points"]],
        )
        for one in data["curves"]
    ]
    return Growth(data, curves)


_READERS: Final[Mapping[str, Any]] = {
    "reads": _reads,
    "writes": _writes,
    "ingest": _ingest,
    "fanout": lambda data: Fanout(data, [_made(Figures, one) for one in data["figures"]]),
    "idle": lambda data: Idle(data, _made(Soaked, data["figures"])),
    "policy": lambda data: Policy(data, [_made(Timed, one) for one in data["figures"]]),
    "growth": _growth,
}
"""By the name of the file, and of the field of `Results`."""
