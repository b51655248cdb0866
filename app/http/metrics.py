"""`/metrics` for Prometheus: what the gateway did, by operation and outcome."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.graph.execution import Report

Gauges = Callable[[], Mapping[str, float]]
"""A gauge's values at this moment, by the value of its label."""

_Counts = Iterator[tuple[tuple[str, str, str], int]]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STATEMENTS: Final = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 25, 50)
_ROWS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000)


class OperationNames:
    """Names of operations as labels, of which there are at most so many.

    Clients choose the names, and each new label is a time series for ever: after the first `limit` names the others
    are one.
    """

    OTHER: Final = "(other)"
    ANONYMOUS: Final = "(anonymous)"

    def __init__(self, limit: int = 200) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def label(self, name: str | None) -> str:
        """The name itself, or one of the two that stand for others. GraphQL names hold no brackets."""
        if name is None:
            return self.ANONYMOUS
        if name not in self._known:
            if len(self._known) >= self._limit or len(name) > 64:
                return self.OTHER
            self._known.add(name)
        return name


class _Gauge(Collector):
    """A gauge that is read when it is asked for."""

    def __init__(self, name: str, description: str, label: str, values: Gauges) -> None:
        self._name, self._description, self._label, self._values = name, description, label, values

    def collect(self) -> list[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._description, labels=[self._label])
        for label, value in self._values().items():
            family.add_metric([label], value)
        return [family]


class _Series:
    """Values of one set of labels, counted by the buckets that they fall into.

    Prometheus' own series lock and look at every bucket, since any thread may write to them. These are written to by
    the event loop's thread alone, several times for each request.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class _Histogram(Collector):
    """A histogram of several series, by the values of its labels."""

    def __init__(self, name: str, description: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._name, self._description, self._labels, self._bounds = name, description, labels, bounds
        self._series: dict[tuple[str, ...], _Series] = {}

    def of(self, *labels: str) -> _Series:
        """The series of these labels' values."""
        return self._series.setdefault(labels, _Series(self._bounds))

    def collect(self) -> list[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._description, labels=self._labels)
        ends = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, series in self._series.items():
            family.add_metric(labels, list(zip(ends, accumulate(series.counts), strict=True)), series.total)
        return [family]


class _Counter(Collector):
    """Counts by the values of some labels."""

    def __init__(self, name: str, description: str, labels: Sequence[str], counts: Callable[[], _Counts]) -> None:
        self._name, self._description, self._labels, self._counts = name, description, labels, counts

    def collect(self) -> list[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._description, labels=self._labels)
        for labels, count in self._counts():
            family.add_metric(labels, count)
        return [family]


class _Operation:
    """What is counted of the operations of one name, kind and outcome."""

    __slots__ = ("count", "seconds", "statements")

    def __init__(self, seconds: _Series, statements: _Series) -> None:
        self.count = 0
        self.seconds = seconds
        self.statements = statements


class Metrics:
    """The gateway's metrics, in a registry of their own."""

    def __init__(self, names: int = 200) -> None:
        self.registry: Final = CollectorRegistry()
        self._names = OperationNames(names)
        self._loaders: dict[str, _Series] = {}
        self._found: dict[tuple[str, str, str], _Operation] = {}
        operations = _Counter(
            "fleetgraph_operations",
            "Operations and subscription events that were executed or refused.",
            ("operation", "kind", "outcome"),
            lambda: ((labels, found.count) for labels, found in self._found.items()),
        )
        self._seconds = _Histogram(
            "fleetgraph_operation_seconds", "How long they took.", ("operation", "kind"), _SECONDS
        )
        self._statements = _Histogram(
            "fleetgraph_operation_statements",
            "Data statements that one of them sent to the database.",
            ("kind",),
            _STATEMENTS,
        )
        self._batches = _Histogram(
            "fleetgraph_loader_batch_rows", "Keys that a loader fetched in one statement.", ("loader",), _ROWS
        )
        for collector in (operations, self._seconds, self._statements, self._batches):
            self.registry.register(collector)

    def observe(self, report: Report) -> None:
        """Count an operation: the executor's hook. Its context's ``statements``, where there is one, is counted too."""
        operation = report.operation
        name, kind, outcome = self._names.label(operation.name), operation.kind.value, report.outcome.code
        found = self._found.get((name, kind, outcome))
        if found is None:
            found = _Operation(self._seconds.of(name, kind), self._statements.of(kind))
            self._found[name, kind, outcome] = found
        found.count += 1
        found.seconds.observe(report.seconds)
        sent = getattr(report.context, "statements", None)
        if isinstance(sent, int):
            found.statements.observe(sent)

    def loader_batch(self, loader: str, keys: int) -> None:
        """Count a loader's batch. `loader` is a name from the code, never from a client."""
        found = self._loaders.get(loader)
        if found is None:
            found = self._loaders[loader] = self._batches.of(loader)
        found.observe(keys)

    def gauge(self, name: str, description: str, label: str, values: Gauges) -> None:
        """Add a gauge that is read when Prometheus asks: connections of the pool by state, open sockets."""
        self.registry.register(_Gauge(f"fleetgraph_{name}", description, label, values))

    def routes(self) -> list[Route]:
        """`/metrics`."""
        return [Route("/metrics", self.metrics, methods=["GET"])]

    async def metrics(self, _request: Request) -> Response:
        """The metrics in Prometheus' text format. They hold no data of any tenant."""
        return Response(generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
