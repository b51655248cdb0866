"""The entry point of ``fleetgraph``: the commands are in `app.cli.commands`."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings


def main() -> None:
    """Runs a command, and turns what people can mend into a message without a traceback."""
    try:
        if sys.argv[1:] == ["serve"]:
            # There is nothing to parse, and what parses (Typer, Pydantic) would be 10 MB for as long as it serves.
            start_serving()
        else:
            from app.cli.commands import app

            app()
    except Exception as error:
        from app.cli.failing import is_for_people

        if not is_for_people(error):
            raise
        print(f"\033[31m{error}\033[0m" if sys.stderr.isatty() else error, file=sys.stderr)
        sys.exit(1)


def start_serving(workers: int | None = None) -> None:
    """The command `serve`; `workers` wins over the setting."""
    # Nearly all that the start makes stays for good, so looking for garbage in it only costs time. The server turns
    # the collector on again when it is ready.
    gc.disable()
    from msgspec.structs import replace

    from app.cli.serving import run

    settings = open_settings()
    run(settings if workers is None else replace(settings, workers=workers))


def open_settings() -> Settings:
    """The settings of the environment, and logging as they say. Raises SettingsError."""
    from app import log
    from app.settings import load_settings

    settings = load_settings()
    log.configure(settings)
    return settings
