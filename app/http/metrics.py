"""`/metrics` for Prometheus: what the gateway did, by operation and outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.graph.execution import Report

Gauges = Callable[[], Mapping[str, float]]
"""A gauge's values at this moment, by the value of its label."""

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


class Metrics:
    """The gateway's metrics, in a registry of their own."""

    def __init__(self, names: int = 200) -> None:
        self.registry: Final = CollectorRegistry()
        self._names = OperationNames(names)
        self._loaders: dict[str, Histogram] = {}
        self._found: dict[tuple[str, str, str], tuple[Counter, Histogram, Histogram]] = {}
        self._operations = Counter(
            "fleetgraph_operations",
            "Operations and subscription events that were executed or refused.",
            ("operation", "kind", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "fleetgraph_operation_seconds",
            "How long they took.",
            ("operation", "kind"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._statements = Histogram(
            "fleetgraph_operation_statements",
            "Data statements that one of them sent to the database.",
            ("kind",),
            buckets=_STATEMENTS,
            registry=self.registry,
        )
        self._batches = Histogram(
            "fleetgraph_loader_batch_rows",
            "Keys that a loader fetched in one statement.",
            ("loader",),
            buckets=_ROWS,
            registry=self.registry,
        )

    def observe(self, report: Report) -> None:
        """Count an operation: the executor's hook. Its context's ``statements``, where there is one, is counted too."""
        operation, kind = self._names.label(report.operation.name), report.operation.kind.value
        count, seconds, statements = self._of(operation, kind, report.outcome.code)
        count.inc()
        seconds.observe(report.seconds)
        sent = getattr(report.context, "statements", None)
        if isinstance(sent, int):
            statements.observe(sent)

    def _of(self, operation: str, kind: str, outcome: str) -> tuple[Counter, Histogram, Histogram]:
        """The three figures of one operation and outcome; finding them by labels each time costs more than counting."""
        key = operation, kind, outcome
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = (
                self._operations.labels(operation, kind, outcome),
                self._seconds.labels(operation, kind),
                self._statements.labels(kind),
            )
        return found

    def loader_batch(self, loader: str, keys: int) -> None:
        """Count a loader's batch. `loader` is a name from the code, never from a client."""
        found = self._loaders.get(loader)
        if found is None:
            found = self._loaders[loader] = self._batches.labels(loader)
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
