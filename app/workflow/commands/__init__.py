"""Commands of workflows."""

from app.workflow.commands import definitions, runs, steps

__all__ = ["definitions", "runs", "steps"]
