"""Mutations of execution."""

from app.execution.mutations import heartbeat, requests, runs, tasks, threads

FIELDS = (*tasks.FIELDS, *runs.FIELDS, *requests.FIELDS, *threads.FIELDS, *heartbeat.FIELDS)
