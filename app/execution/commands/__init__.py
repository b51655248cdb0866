"""Commands of execution."""

from app.execution.commands import assigning, graphs, intake, tasks, transitions

__all__ = ["assigning", "graphs", "intake", "tasks", "transitions"]
