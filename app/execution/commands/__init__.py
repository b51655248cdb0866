"""Commands of execution."""

from app.execution.commands import (
    assigning,
    graphs,
    intake,
    requests,
    reviews,
    runs,
    tasks,
    threads,
    tool_calls,
    traces,
    transitions,
)

__all__ = [
    "assigning",
    "graphs",
    "intake",
    "requests",
    "reviews",
    "runs",
    "tasks",
    "threads",
    "tool_calls",
    "traces",
    "transitions",
]
