"""Mutations of the platform."""

from app.platform.mutations import controls, flags

FIELDS = (*controls.FIELDS, *flags.FIELDS)
