"""The three journals: governed changes, telemetry of execution, and security."""
