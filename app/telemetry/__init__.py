"""Telemetry from outside: op events and traces that agents send, checked and appended in batches."""
