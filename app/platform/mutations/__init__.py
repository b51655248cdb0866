"""Mutations of the platform."""

from app.platform.mutations import captures, controls, flags, views, webhooks

FIELDS = (*captures.FIELDS, *controls.FIELDS, *flags.FIELDS, *views.FIELDS, *webhooks.FIELDS)
