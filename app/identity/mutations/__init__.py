"""Mutations of tenancy and identity."""

from app.identity.mutations import bootstrap, organisation, people, places, privacy

FIELDS = (*bootstrap.FIELDS, *places.FIELDS, *people.FIELDS, *organisation.FIELDS, *privacy.FIELDS)
"""Each is one command, with its record."""
