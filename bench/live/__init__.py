"""The benchmark of live data: fan-out to subscribers, and what idle ones cost."""
