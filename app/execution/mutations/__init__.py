"""Mutations of execution."""

from app.execution.mutations import tasks

FIELDS = (*tasks.FIELDS,)
