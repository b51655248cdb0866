"""Notifications: events to be told, what each recipient is told, and what each of them wants to hear."""
