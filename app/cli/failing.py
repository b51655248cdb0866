"""What a command says when it cannot do its work: a sentence with the remedy, and exit code 1."""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot do what was asked; the message says why and how to go on."""


def is_for_people(error: Exception) -> bool:
    """Whether the message is written for whoever runs the command, so that a traceback would only be in the way."""
    from app.auth.keys import KeyUnusable
    from app.legacy.snapshot import CannotImportError
    from app.settings import SettingsError
    from db.account import EmbeddedPostgresError
    from db.connections import DatabaseSetupError
    from db.demo import DemoRefused

    return isinstance(
        error,
        CommandError
        | SettingsError
        | KeyUnusable
        | EmbeddedPostgresError
        | DatabaseSetupError
        | CannotImportError
        | DemoRefused,
    )
