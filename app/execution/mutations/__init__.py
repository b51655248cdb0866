"""Mutations of execution."""

from app.execution.mutations import heartbeat, runs, tasks, threads

FIELDS = (*tasks.FIELDS, *runs.FIELDS, *threads.FIELDS, *heartbeat.FIELDS)
