"""Mutations of tenancy and identity."""

from app.identity.mutations import bootstrap, people, places

FIELDS = (*bootstrap.FIELDS, *places.FIELDS, *people.FIELDS)
"""Each is one command, with its record."""
