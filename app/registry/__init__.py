"""Agents: templates, their immutable versions, the instances that run them, and their identities."""
