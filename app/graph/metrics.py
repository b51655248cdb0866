"""What the graph tells of itself in numbers."""

from prometheus_client import Histogram

_BATCH_SIZES = Histogram(
    "fleetgraph_loader_batch_size",
    "Keys that one loader statement served.",
    ["type"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000),
)


def observe_batch(type_name: str, keys: int) -> None:
    """Count one batch of a loader; the label is one of the 55 types."""
    _BATCH_SIZES.labels(type_name).observe(keys)
