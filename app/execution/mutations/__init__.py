"""Mutations of execution."""

from app.execution.mutations import heartbeat, runs, tasks

FIELDS = (*tasks.FIELDS, *runs.FIELDS, *heartbeat.FIELDS)
