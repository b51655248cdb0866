"""Live data: the doorbell, the tail of the logs, and its fan-out to subscribers."""
