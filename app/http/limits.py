"""The limits of the transports; those of the operations themselves are `app.graph.limits.Limits`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """What one request and one socket may ask of the gateway. Each is a setting."""

    max_body_bytes: int = 1_048_576
    """A request's body, as sent and also as inflated (trap 4)."""
    compress_over_bytes: int = 4_096
    """Answers longer than this are sent as brotli or gzip to clients that take it; 0 for never."""
    max_batch: int = 0
    """Operations in one request; with 0 or 1 an array of operations is refused."""
    ws_init_timeout_seconds: float = 10.0
    """How long a socket may take until ``connection_init`` is accepted (trap 14)."""
    ws_max_message_bytes: int = 1_048_576
    ws_max_connections: int = 10_000
    """Open sockets of this process."""
    ws_max_operations: int = 100
    """Operations that run on one socket at once."""
    connections_per_caller: int = 500
    """Open sockets and streams over HTTP of one caller, in this process."""
    queue_messages: int = 1_000
    """Events that wait for one subscriber who reads slowly."""
    queue_bytes: int = 1_048_576
    """Their size together."""
    heartbeat_seconds: float = 12.0
    """Longest silence on a stream over HTTP, so that no proxy takes it for dead."""
