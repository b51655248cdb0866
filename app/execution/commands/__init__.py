"""Commands of execution."""

from app.execution.commands import assigning, graphs, intake, runs, tasks, tool_calls, transitions

__all__ = ["assigning", "graphs", "intake", "runs", "tasks", "tool_calls", "transitions"]
