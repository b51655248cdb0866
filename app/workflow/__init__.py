"""Workflow orchestration: definitions of procedures, and their runs."""
