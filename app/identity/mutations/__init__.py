"""Mutations of tenancy and identity."""

from app.identity.mutations import people, places

FIELDS = (*places.FIELDS, *people.FIELDS)
"""Each is one command, with its record."""
