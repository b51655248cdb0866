"""`fleetgraph doctor`: what is wrong with the set-up, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rich.console import Console

from app.settings import PREFIX, Settings, SettingsError, load_settings, unknown_variables

_OLDEST_PYTHON = (3, 11)


class Verdict(Enum):
    """How a check ended; only WRONG makes the exit code 1."""

    GOOD = ("ok", "green")
    WARNING = ("warning", "yellow")
    WRONG = ("wrong", "red")


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, how it is, and for what is not good how to mend it."""

    subject: str
    verdict: Verdict
    what: str
    remedy: str = ""


def examine() -> int:
    """Prints every finding; returns the exit code: 1 when something is wrong."""
    output = Console(highlight=False)
    worst = 0
    for finding in findings():
        word, colour = finding.verdict.value
        output.print(f"[{colour}]{word:>8}[/]  ", end="")
        output.print(f"{finding.subject}: {finding.what}", markup=False, soft_wrap=True)
        if finding.remedy:
            output.print(f"          {finding.remedy}", markup=False, soft_wrap=True)
        worst |= finding.verdict is Verdict.WRONG
    output.print("Something is wrong." if worst else "Nothing is wrong.")
    return int(worst)


def findings() -> Iterator[Finding]:
    """Every check, in the order in which they build on each other."""
    yield _python()
    try:
        settings = load_settings()
    except SettingsError as error:
        for line in str(error).splitlines():
            yield Finding("Settings", Verdict.WRONG, line, "Meanings and defaults are in docs/settings.md.")
        return
    yield Finding("Settings", Verdict.GOOD, f"{settings.environment.value}, all can be used")
    for name in unknown_variables():
        yield Finding("Settings", Verdict.WARNING, f"{name} is no setting", "Is it misspelt? See docs/settings.md.")
    yield _directory(settings.data_dir)
    yield from _database(settings)
    yield from _keys(settings)
    yield _page()
    yield _port(settings)
    yield from _production(settings)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Finding("Python", Verdict.WRONG, f"{version} is too old", "Install Python 3.11 or newer.")
    return Finding("Python", Verdict.GOOD, version)


def _directory(path: Path) -> Finding:
    place = path.absolute()
    existing = next(each for each in (place, *place.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            "Data directory",
            Verdict.WRONG,
            f"{place} cannot be written",
            f"Make {existing} writable, or set {PREFIX}DATA_DIR to a directory of your own.",
        )
    return Finding("Data directory", Verdict.GOOD, str(place))


def _database(settings: Settings) -> Iterator[Finding]:
    from app.database import find_connections, owner_url, postgres
    from db.account import EmbeddedPostgresError
    from db.connections import DatabaseSetupError, examine

    try:
        with postgres(settings) as ready:
            login = asyncio.run(examine(owner_url(ready)))
            kind = "embedded" if settings.database_url is None else "external"
            yield Finding("Postgres", Verdict.GOOD, f"{kind}, version {login.version}, owner {login.name}")
            found = asyncio.run(find_connections(ready))
            for warning in found.warnings:
                yield Finding("Roles", Verdict.WARNING, warning)
            if not found.warnings:
                yield Finding("Roles", Verdict.GOOD, "requests run behind row-level security")
            yield _migrations(ready)
    except EmbeddedPostgresError as error:
        yield Finding("Postgres", Verdict.WRONG, str(error))
    except DatabaseSetupError as error:
        yield Finding(
            "Postgres",
            Verdict.WRONG,
            str(error),
            f"Check {PREFIX}DATABASE_URL and its companions, then run `fleetgraph migrate`.",
        )


def _migrations(settings: Settings) -> Finding:
    from app.cli.preparing import versions

    current, newest = versions(settings)
    if current is None:
        return Finding("Migrations", Verdict.WRONG, "the database has no tables", "Run `fleetgraph migrate`.")
    if current != newest:
        return Finding(
            "Migrations",
            Verdict.WRONG,
            f"the database is at version {current}, this gateway needs {newest}",
            "Run `fleetgraph migrate`.",
        )
    return Finding("Migrations", Verdict.GOOD, "the tables are at the newest version")


def _keys(settings: Settings) -> Iterator[Finding]:
    from app.auth.keys import KeyUnusable
    from app.auth.setup import open_local_tokens

    try:
        local = open_local_tokens(settings)
    except KeyUnusable as error:
        yield Finding("Signing key", Verdict.WRONG, str(error))
        return
    if local is not None:
        yield Finding("Signing key", Verdict.GOOD, "can be used")
    elif settings.oidc_issuer is None:
        yield Finding(
            "Signing key",
            Verdict.WRONG,
            "there is none, and no OpenID provider: nobody can sign in",
            f"Set {PREFIX}SECRET_KEY, or {PREFIX}OIDC_ISSUER and {PREFIX}OIDC_AUDIENCE.",
        )
    else:
        yield Finding(
            "Signing key",
            Verdict.WARNING,
            "there is none: people sign in at the provider, but agents cannot be given tokens",
            f"Set {PREFIX}SECRET_KEY to the same secret on every gateway.",
        )


def _page() -> Finding:
    from app.http.graphiql import Page

    missing = Page().status()
    if missing is not None:
        return Finding("GraphiQL", Verdict.WARNING, missing)
    return Finding("GraphiQL", Verdict.GOOD, "the page for browsers is built")


def _port(settings: Settings) -> Finding:
    place = f"{settings.host}, port {settings.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family):
            return Finding("Port", Verdict.GOOD, f"{place} is free")
    except OSError as error:
        if settings.port and _is_gateway(settings):
            return Finding("Port", Verdict.GOOD, f"a gateway serves on {place}")
        return Finding(
            "Port",
            Verdict.WRONG,
            f"{place} cannot be used: {error.strerror or error}",
            f"Stop what uses it, or set {PREFIX}PORT or {PREFIX}HOST.",
        )


def _is_gateway(settings: Settings) -> bool:
    import httpx

    try:
        answer = httpx.get(f"http://{settings.host}:{settings.port}/healthz", timeout=2)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code == 200


def _production(settings: Settings) -> Iterator[Finding]:
    if not settings.production:
        if settings.host not in ("127.0.0.1", "::1", "localhost"):
            yield Finding(
                "Development",
                Verdict.WARNING,
                f"other machines can call this gateway ({settings.host}), and its keys are those made on first run",
                f"Set {PREFIX}ENVIRONMENT=production with keys of your own, or {PREFIX}HOST=127.0.0.1.",
            )
        return
    checks: list[tuple[Callable[[], bool], Verdict, str, str]] = [
        (
            lambda: settings.database_url is None,
            Verdict.WARNING,
            "the embedded Postgres keeps everything on this machine, without backups",
            f"Set {PREFIX}DATABASE_URL to a Postgres of your own.",
        ),
        (
            lambda: settings.secret_key is None,
            Verdict.WRONG,
            f"{PREFIX}SECRET_KEY is missing: secrets at rest cannot be encrypted",
            "Make one with `openssl rand -base64 32` and give it to every gateway.",
        ),
        (
            lambda: settings.oidc_issuer is None,
            Verdict.WARNING,
            "people sign in with tokens of `fleetgraph token` alone",
            f"Set {PREFIX}OIDC_ISSUER and {PREFIX}OIDC_AUDIENCE to your OpenID provider.",
        ),
        (
            lambda: bool(settings.oidc_issuer and not settings.oidc_issuer.startswith("https://")),
            Verdict.WRONG,
            f"the keys of {settings.oidc_issuer} come over an open line",
            f"Give {PREFIX}OIDC_ISSUER an https:// address.",
        ),
    ]
    for applies, verdict, what, remedy in checks:
        if applies():
            yield Finding("Production", verdict, what, remedy)
