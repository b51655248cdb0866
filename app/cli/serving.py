"""`fleetgraph serve`: everything from an empty directory to a gateway that answers, and back again on Ctrl-C."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from app import log
from app.cli.failing import CommandError
from app.cli.huge_pages import use_huge_pages
from app.cli.preparing import has_tenants, ready_database, seed_demo
from app.cli.tokens import issue
from app.cli.workers import run_workers
from app.http.server import DrainingServer, server_config
from app.main import Application
from app.settings import PREFIX, Settings, load_settings

_BACKLOG = 2048
_COLLECTOR = (100_000, 10, 20)
"""Objects made and not freed before a pass over the young; passes before one over the middle, and over all."""


def run(settings: Settings) -> None:
    """Serves until the process is told to stop (SIGINT, SIGTERM, SIGHUP); then stops the server and lets Postgres go.

    Raises CommandError, SettingsError, EmbeddedPostgresError or DatabaseSetupError where it cannot begin.
    """
    embedded = settings.database_url is None
    with _stopping(), listen(settings) as listener, ready_database(settings) as settings:
        if embedded and not settings.production and not has_tenants(settings):
            seed_demo(settings, "small")
        lines = _lines(settings, _address(settings.host, listener))
        _serve(settings, listener, lambda: _say(lines))
    print("Stopped.", file=sys.stderr)


@contextlib.contextmanager
def listen(settings: Settings) -> Iterator[socket.socket]:
    """The socket of the gateway, opened before anything else: a port that is taken shows at once."""
    try:
        family, _, _, _, place = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(place[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}. Stop what uses "
            f"it, or choose another: {PREFIX}PORT={settings.port + 1 if 0 < settings.port < 65535 else 8000}."
        ) from None
    with listener:
        yield listener


def _serve(settings: Settings, listener: socket.socket, announce: Callable[[], None]) -> None:
    if settings.workers > 1:
        # Workers read their settings from the environment; what was found out about the database goes the same way.
        for name in ("database_url", "owner_database_url", "platform_database_url", "read_database_url"):
            if value := getattr(settings, name):
                os.environ[PREFIX + name.upper()] = value
        started = run_workers(settings.workers, _work, listener, announce, 2 * settings.shutdown_seconds + 5)
    else:
        server = _Announcing(settings, announce)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        started = server.started
    if not started:
        raise CommandError("The gateway did not start; the lines above say why.")


def _work(listener: socket.socket, announce: Callable[[], None]) -> None:
    """One of several worker processes."""
    settings = load_settings()
    log.configure(settings)
    _Announcing(settings, announce).run(sockets=[listener])


def configured(application: Application, settings: Settings, **others: Any) -> uvicorn.Config:
    """Uvicorn's configuration as the settings have it; `others` are its own names, and win."""
    ours: dict[str, Any] = {
        "ws_max_size": settings.ws_max_message_bytes,
        "ws_ping_interval": settings.ws_ping_seconds,
        "ws_ping_timeout": settings.ws_ping_seconds,
        "lifespan": "on",
        "forwarded_allow_ips": settings.trusted_proxies,
        "timeout_graceful_shutdown": max(1, round(settings.shutdown_seconds)),
    }
    return server_config(application, **{**ours, **others})


class _Announcing(DrainingServer):
    """Tells its address once it takes requests, not before."""

    def __init__(self, settings: Settings, announce: Callable[[], None]) -> None:
        application = Application(settings)
        super().__init__(
            configured(application, settings),
            application.drain,
            settings.shutdown_seconds,
            settings.busy_poll_microseconds / 1_000_000,
        )
        self._announce = announce
        self._huge_pages = settings.huge_pages

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()
            settle_collector()
            if self._huge_pages:
                use_huge_pages()


def settle_collector() -> None:
    """Tell the garbage collector what kind of process this has become, once it takes requests.

    Code, schema and pools live as long as the process, so no pass need look at them. What a request makes is freed by
    its reference counts, and a large answer is tens of thousands of objects at once: passes in the middle of it, which
    find nothing, were half of its time. Cycles are rare (exceptions, futures) and small, so they may wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)
    gc.enable()


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command in good order, as Ctrl-C does, also while it still prepares."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def hang_up(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)  # which the server, while it runs, takes for itself

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop), signal.SIGHUP: signal.signal(signal.SIGHUP, hang_up)}
    try:
        yield
    except KeyboardInterrupt:
        print("Stopped before it was ready.", file=sys.stderr)
        sys.exit(130)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _address(host: str, listener: socket.socket) -> str:
    """The address to type into a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{listener.getsockname()[1]}"


def _lines(settings: Settings, address: str) -> list[str]:
    """What people wait for: the address, in development also a link that signs in, and its token alone."""
    lines = ["", f"Fleetgraph serves {address}/graphql (Ctrl-C stops it)"]
    if settings.production or settings.oidc_issuer is not None:
        return lines
    try:
        issued = issue(settings, tenant="northwind", role="admin")
    except CommandError as error:
        return [*lines, f"No token to try it with: {error}"]
    return [
        *lines,
        # A fragment is not sent to any server, and the page takes it out of the address at once.
        f"GraphiQL, signed in as an admin of northwind: {address}/graphql#token={issued.text}",
        f"The token alone, good until {issued.expires_at:%Y-%m-%d %H:%M} UTC:",
        issued.text,
    ]


def _say(lines: list[str]) -> None:
    """To the output; progress and logs go to the error output."""
    print(*lines, sep="\n", flush=True)
