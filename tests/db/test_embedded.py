"""The embedded Postgres: starting, stopping, sharing, surviving force, and who may connect (issue 2, point 1)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from db import cluster
from db.account import Account, account_for
from db.embedded import EmbeddedPostgres, EmbeddedPostgresError

_FAST = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}

_OTHER_PROCESS = """
import sys, time
from pathlib import Path
from db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"})
server.start()
print(server.url(), flush=True)
sys.stdin.readline()
server.stop()
print("stopped", flush=True)
"""


def _ask(url: str, query: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(ask())


def _postmaster(directory: Path) -> int:
    return int((directory / "postgres/postmaster.pid").read_text().split()[0])


def _alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(condition: Any, what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextlib.contextmanager
def _other(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER_PROCESS, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(directory: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(directory, settings=_FAST) as started:
        yield started


def test_first_start_makes_database_and_roles(server: EmbeddedPostgres) -> None:
    assert _ask(server.url(), "SELECT current_database() || ' ' || current_user") == "fleetgraph fleetgraph_owner"
    assert _ask(server.url(), "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'fleetgraph'") == (
        "fleetgraph_owner"
    )
    assert _ask(server.url(), "SHOW server_version_num") >= "180000"
    assert _ask(server.url(), "SELECT pg_catalog.getdatabaseencoding()") == "UTF8"
    assert _ask(server.url(), "SHOW fsync") == "off"
    assert _ask(server.url(), "SHOW listen_addresses") == ""
    _ask(server.url(), "CREATE TABLE owned (id int)")


def test_no_role_has_more_power_than_its_work_needs(server: EmbeddedPostgres) -> None:
    """Decisions 10 and 24: only the platform's role passes row-level security, and no role is a superuser."""
    powers = """
        SELECT string_agg(concat_ws(' ', rolname, rolcanlogin, rolbypassrls), ', ' ORDER BY rolname)
        FROM pg_roles WHERE rolname LIKE 'fleetgraph%'
    """
    assert _ask(server.url(), powers) == ("fleetgraph_gateway t f, fleetgraph_owner t f, fleetgraph_platform t t")
    mighty = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'fleetgraph%' AND (rolsuper OR rolcreaterole)"
    assert _ask(server.url(), mighty) == 0
    # Nor can the gateway take on the rights of another role.
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        _ask(server.url(user="fleetgraph_gateway"), "SET ROLE fleetgraph_owner")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        _ask(server.url(user="fleetgraph_gateway"), "SET ROLE fleetgraph_platform")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        _ask(server.url(user="fleetgraph_gateway"), "CREATE TABLE public.mine (id int)")


def test_data_outlives_a_restart_and_the_second_start_is_quick(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=_FAST) as first:
        _ask(first.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
        process_id = _postmaster(directory)
    assert not _alive(process_id)
    assert not (directory / "postgres/postmaster.pid").exists()
    before = time.monotonic()
    with EmbeddedPostgres(directory, settings=_FAST) as second:
        assert _ask(second.url(), "SELECT answer FROM kept") == 42
    assert time.monotonic() - before < 5


def test_two_in_one_process_share_the_server(directory: Path) -> None:
    first, second = (EmbeddedPostgres(directory, settings=_FAST) for _ in range(2))
    first.start()
    first.start()
    second.start()
    process_id = _postmaster(directory)
    first.stop()
    first.stop()
    assert _ask(second.url(), "SELECT 1") == 1
    assert _postmaster(directory) == process_id
    second.stop()
    assert not _alive(process_id)
    with pytest.raises(EmbeddedPostgresError, match="not started"):
        second.url()


def test_another_process_attaches_and_does_not_stop_the_server_under_us(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=_FAST) as server, _other(directory) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline().strip() == server.url()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline().strip() == "stopped"
        assert _ask(server.url(), "SELECT 1") == 1


def test_the_starter_may_leave_first(directory: Path) -> None:
    with _other(directory) as starter:
        assert starter.stdout is not None
        assert starter.stdin is not None
        starter.stdout.readline()
        with EmbeddedPostgres(directory, settings=_FAST) as server:
            process_id = _postmaster(directory)
            starter.stdin.write("\n")
            starter.stdin.flush()
            assert starter.stdout.readline().strip() == "stopped"
            assert _ask(server.url(), "SELECT 1") == 1
        assert not _alive(process_id)


def test_two_first_starts_at_once(directory: Path) -> None:
    with _other(directory) as one, _other(directory) as two:
        assert one.stdout is not None
        assert two.stdout is not None
        urls = {one.stdout.readline().strip(), two.stdout.readline().strip()}
    assert len(urls) == 1
    assert urls.pop().startswith("postgresql://")


def test_a_killed_user_leaves_no_server_behind(directory: Path) -> None:
    with _other(directory) as other:
        assert other.stdout is not None
        other.stdout.readline()
        process_id = _postmaster(directory)
        other.kill()
        _wait_until(lambda: not _alive(process_id), "the server still runs after its only user was killed")
    with EmbeddedPostgres(directory, settings=_FAST) as server:
        assert _ask(server.url(), "SELECT 1") == 1


def test_start_while_the_server_of_a_killed_user_shuts_down(directory: Path) -> None:
    with _other(directory) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
        with EmbeddedPostgres(directory, settings=_FAST) as server:
            for _ in range(20):
                assert _ask(server.url(), "SELECT 1") == 1
                time.sleep(0.02)


def test_restart_after_the_server_was_killed(directory: Path) -> None:
    server = EmbeddedPostgres(directory, settings=_FAST)
    server.start()
    _ask(server.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(_postmaster(directory), signal.SIGKILL)
    server.stop()
    server.start()
    assert _ask(server.url(), "SELECT answer FROM kept") == 42
    server.stop()


def test_a_stale_pid_file_with_the_number_of_a_living_process(directory: Path) -> None:
    """After a reboot, or in a container, the number may belong to any process; Postgres alone would refuse."""
    with EmbeddedPostgres(directory, settings=_FAST):
        remains = (directory / "postgres/postmaster.pid").read_text().split("\n")
        lock = next((directory / "postgres").glob(".s.PGSQL.*.lock")).name
    remains[0] = str(os.getpid())
    (directory / "postgres/postmaster.pid").write_text("\n".join(remains))
    (directory / "postgres" / lock).write_text("\n".join(remains))
    with EmbeddedPostgres(directory, settings=_FAST) as server:
        assert _ask(server.url(), "SELECT 1") == 1


def test_an_interrupted_first_start_is_made_anew(directory: Path) -> None:
    (directory / "postgres.new/base").mkdir(parents=True)
    (directory / "postgres.new/PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory, settings=_FAST) as server:
        assert _ask(server.url(), "SELECT 1") == 1
    assert not (directory / "postgres.new").exists()


@pytest.mark.parametrize("name", ["a long directory name, with spaces & ünïcode " * 3, 'quote"s'])
def test_paths_that_do_not_fit_a_socket_or_need_quoting(tmp_path: Path, name: str) -> None:
    with EmbeddedPostgres(tmp_path / name / name, settings=_FAST) as server:
        assert _ask(server.url(), "SELECT 1") == 1
        sockets = Path(_ask(server.url(user="postgres"), "SHOW unix_socket_directories").strip('"').replace('""', '"'))
        assert sockets.stat().st_mode & 0o077 == 0
    assert not list(sockets.glob(".s.PGSQL*")), "the socket is gone when the server is"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory that the server's account cannot enter")
def test_root_in_a_directory_that_nobody_else_may_enter(tmp_path: Path) -> None:
    """Postgres runs as another account, reaches its data all the same, and no directory is opened for it."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "data", settings=_FAST) as server:
        assert _ask(server.url(), "SELECT 1") == 1
        status = Path(f"/proc/{_postmaster(closed / 'data')}/status").read_text()
        owner = (closed / "data/postgres").stat().st_uid
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert set(uids) == {str(owner)}
    assert owner != 0
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_keeps_the_account_that_owns_the_data(tmp_path: Path) -> None:
    open_to_all = Path("/")
    data = tmp_path / "postgres"
    data.mkdir()
    os.chown(data, 12345, 12346)
    chosen = account_for(data, [open_to_all])
    assert chosen is not None
    assert chosen[:2] == (12345, 12346)
    os.chown(data, 0, 0)
    chosen = account_for(data, [open_to_all])
    assert chosen is not None
    assert chosen.uid != 0


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root to take privileges from root")
def test_the_server_keeps_one_privilege_at_most() -> None:
    """Root's processes of Postgres have either no capability or the one to pass closed directories."""
    for capability, mask in ((None, 0), (1, 2)):
        account = Account(65534, 65534, capability)
        shown = subprocess.run(
            [*cluster.keeper_command(), "run", *account.arguments(), "--", "/bin/cat", "/proc/self/status"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        lines = dict(line.split(":", 1) for line in shown.splitlines())
        assert lines["Uid"].split() == ["65534"] * 4
        assert lines["Groups"].split() == []
        assert int(lines["CapEff"], 16) == mask
        assert int(lines["CapPrm"], 16) == mask


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root to be an ordinary user")
def test_an_ordinary_user_needs_nobody_else(tmp_path: Path) -> None:
    """The user's own account runs the server. The one privilege is for the way to this interpreter and these tests."""
    os.chown(tmp_path, 65534, 65534)
    account = Account(65534, 65534, 1)
    code = _OTHER_PROCESS.replace("sys.stdin.readline()", "print(server.directory.stat().st_mode & 0o777, flush=True)")
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    shown = subprocess.run(
        [*cluster.keeper_command(), "run", *account.arguments(), "--", *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.split()
    assert shown[1:] == [str(0o700), "stopped"]
    assert (tmp_path / "data/postgres").stat().st_uid == 65534


@pytest.mark.skipif(shutil.which("setpriv") is None or os.geteuid() != 0, reason="needs root and setpriv")
def test_root_without_its_privileges_is_told(tmp_path: Path) -> None:
    """A container may leave root so little that it can neither run Postgres nor become somebody who can."""
    told = subprocess.run(
        ["setpriv", "--bounding-set", "-dac_override", sys.executable, "-c", _OTHER_PROCESS, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert told.returncode == 1
    assert "withholds CAP_DAC_OVERRIDE from root" in told.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_of_the_machine_cannot_connect(server: EmbeddedPostgres, directory: Path) -> None:
    """Not even one who could reach the socket: the kernel tells the server who calls."""
    sockets = directory / "postgres"
    for step in (directory, *directory.parents[:3], sockets):
        step.chmod(step.stat().st_mode | 0o055)
    (sockets / ".s.PGSQL.5432").chmod(0o777)
    account = Account(65534, 65534, 1)
    refused = subprocess.run(
        [
            *cluster.keeper_command(),
            "run",
            *account.arguments(),
            "--",
            str(cluster.programs() / "psql"),
            server.url(user="postgres"),
            "-c",
            "SELECT 1",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "peer authentication failed" in refused.stderr.lower()


def test_data_of_another_version_is_refused(directory: Path) -> None:
    (directory / "postgres").mkdir(parents=True)
    (directory / "postgres/PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="made by Postgres 16"):
        EmbeddedPostgres(directory).start()


def test_a_directory_with_other_things_in_it_is_left_alone(directory: Path) -> None:
    (directory / "postgres").mkdir(parents=True)
    (directory / "postgres/letter.txt").write_text("dear")
    with pytest.raises(EmbeddedPostgresError, match="not empty"):
        EmbeddedPostgres(directory).start()
    assert (directory / "postgres/letter.txt").read_text() == "dear"


def test_a_place_that_cannot_hold_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match="FLEETGRAPH_DATA_DIR"):
        EmbeddedPostgres(tmp_path / "file").start()
    with pytest.raises(EmbeddedPostgresError, match="cannot be used"):
        EmbeddedPostgres(tmp_path / "file/below").start()


def test_a_setting_that_postgres_refuses_is_reported_with_its_log(directory: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        EmbeddedPostgres(directory, settings={"no_such_setting": "1"}).start()
    with EmbeddedPostgres(directory, settings=_FAST) as server:
        assert _ask(server.url(), "SELECT 1") == 1
    with pytest.raises(ValueError, match="not the name"):
        EmbeddedPostgres(directory, settings={"fsync=off -c x": "1"})


async def test_starts_inside_a_running_event_loop(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=_FAST) as server:
        connection = await asyncpg.connect(server.url(user="fleetgraph_platform"))
        assert await connection.fetchval("SELECT current_user") == "fleetgraph_platform"
        await connection.close()
