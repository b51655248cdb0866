"""Mutations of the platform."""

from app.platform.mutations import controls, flags, views, webhooks

FIELDS = (*controls.FIELDS, *flags.FIELDS, *views.FIELDS, *webhooks.FIELDS)
