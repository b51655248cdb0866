"""Mutations of execution."""

from app.execution.mutations import runs, tasks

FIELDS = (*tasks.FIELDS, *runs.FIELDS)
