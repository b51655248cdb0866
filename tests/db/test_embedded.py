"""The embedded Postgres: starting, stopping, sharing, surviving force, and who may connect (issue 2, point 1)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.db.servers import FAST, OTHER_PROCESS, ask, postmaster


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


def _wait_until_over(process_id: int) -> None:
    """A stopped server lets go of its files first; its entry among the processes goes when its parent has looked."""
    _wait_until(lambda: not _alive(process_id), "the server still runs")


@contextlib.contextmanager
def _other(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(directory)],
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
    with EmbeddedPostgres(directory, settings=FAST) as started:
        yield started


def test_first_start_makes_database_and_roles(server: EmbeddedPostgres) -> None:
    assert ask(server.url(), "SELECT current_database() || ' ' || current_user") == "fleetgraph fleetgraph_owner"
    assert ask(server.url(), "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'fleetgraph'") == (
        "fleetgraph_owner"
    )
    assert ask(server.url(), "SHOW server_version_num") >= "180000"
    assert ask(server.url(), "SELECT pg_catalog.getdatabaseencoding()") == "UTF8"
    assert ask(server.url(), "SHOW fsync") == "off"
    assert ask(server.url(), "SHOW listen_addresses") == ""
    ask(server.url(), "CREATE TABLE owned (id int)")


def test_no_role_has_more_power_than_its_work_needs(server: EmbeddedPostgres) -> None:
    """Decisions 10 and 24: only the platform's role passes row-level security, and no role is a superuser."""
    powers = """
        SELECT string_agg(concat_ws(' ', rolname, rolcanlogin, rolbypassrls), ', ' ORDER BY rolname)
        FROM pg_roles WHERE rolname LIKE 'fleetgraph%'
    """
    assert ask(server.url(), powers) == ("fleetgraph_gateway t f, fleetgraph_owner t f, fleetgraph_platform t t")
    mighty = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'fleetgraph%' AND (rolsuper OR rolcreaterole)"
    assert ask(server.url(), mighty) == 0
    # Nor can the gateway take on the rights of another role.
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ask(server.url(user="fleetgraph_gateway"), "SET ROLE fleetgraph_owner")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ask(server.url(user="fleetgraph_gateway"), "SET ROLE fleetgraph_platform")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ask(server.url(user="fleetgraph_gateway"), "CREATE TABLE public.mine (id int)")


def test_data_outlives_a_restart_and_the_second_start_is_quick(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=FAST) as first:
        ask(first.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
        process_id = postmaster(directory)
    _wait_until_over(process_id)
    assert not (directory / "postgres/postmaster.pid").exists()
    before = time.monotonic()
    with EmbeddedPostgres(directory, settings=FAST) as second:
        assert ask(second.url(), "SELECT answer FROM kept") == 42
    assert time.monotonic() - before < 5


def test_two_in_one_process_share_the_server(directory: Path) -> None:
    first, second = (EmbeddedPostgres(directory, settings=FAST) for _ in range(2))
    first.start()
    first.start()
    second.start()
    process_id = postmaster(directory)
    first.stop()
    first.stop()
    assert ask(second.url(), "SELECT 1") == 1
    assert postmaster(directory) == process_id
    second.stop()
    _wait_until_over(process_id)
    with pytest.raises(EmbeddedPostgresError, match="not started"):
        second.url()


def test_another_process_attaches_and_does_not_stop_the_server_under_us(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=FAST) as server, _other(directory) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline().strip() == server.url()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline().strip() == "stopped"
        assert ask(server.url(), "SELECT 1") == 1


def test_the_starter_may_leave_first(directory: Path) -> None:
    with _other(directory) as starter:
        assert starter.stdout is not None
        assert starter.stdin is not None
        starter.stdout.readline()
        with EmbeddedPostgres(directory, settings=FAST) as server:
            process_id = postmaster(directory)
            starter.stdin.write("\n")
            starter.stdin.flush()
            assert starter.stdout.readline().strip() == "stopped"
            assert ask(server.url(), "SELECT 1") == 1
        _wait_until_over(process_id)


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
        process_id = postmaster(directory)
        other.kill()
        _wait_until(lambda: not _alive(process_id), "the server still runs after its only user was killed")
    with EmbeddedPostgres(directory, settings=FAST) as server:
        assert ask(server.url(), "SELECT 1") == 1


def test_start_while_the_server_of_a_killed_user_shuts_down(directory: Path) -> None:
    with _other(directory) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
        with EmbeddedPostgres(directory, settings=FAST) as server:
            for _ in range(20):
                assert ask(server.url(), "SELECT 1") == 1
                time.sleep(0.02)


def test_restart_after_the_server_was_killed(directory: Path) -> None:
    server = EmbeddedPostgres(directory, settings=FAST)
    server.start()
    ask(server.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(postmaster(directory), signal.SIGKILL)
    server.stop()
    server.start()
    assert ask(server.url(), "SELECT answer FROM kept") == 42
    server.stop()


def test_a_stale_pid_file_with_the_number_of_a_living_process(directory: Path) -> None:
    """After a reboot, or in a container, the number may belong to any process; Postgres alone would refuse."""
    with EmbeddedPostgres(directory, settings=FAST):
        remains = (directory / "postgres/postmaster.pid").read_text().split("\n")
        lock = next((directory / "postgres").glob(".s.PGSQL.*.lock")).name
    remains[0] = str(os.getpid())
    (directory / "postgres/postmaster.pid").write_text("\n".join(remains))
    (directory / "postgres" / lock).write_text("\n".join(remains))
    with EmbeddedPostgres(directory, settings=FAST) as server:
        assert ask(server.url(), "SELECT 1") == 1


def test_an_interrupted_first_start_is_made_anew(directory: Path) -> None:
    (directory / "postgres.new/base").mkdir(parents=True)
    (directory / "postgres.new/PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory, settings=FAST) as server:
        assert ask(server.url(), "SELECT 1") == 1
    assert not (directory / "postgres.new").exists()


@pytest.mark.parametrize("name", ["a long directory name, with spaces & ünïcode " * 3, 'quote"s'])
def test_paths_that_do_not_fit_a_socket_or_need_quoting(tmp_path: Path, name: str) -> None:
    with EmbeddedPostgres(tmp_path / name / name, settings=FAST) as server:
        assert ask(server.url(), "SELECT 1") == 1
        sockets = Path(ask(server.url(user="postgres"), "SHOW unix_socket_directories").strip('"').replace('""', '"'))
        assert sockets.stat().st_mode & 0o077 == 0
    assert not list(sockets.glob(".s.PGSQL*")), "the socket is gone when the server is"


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
    with EmbeddedPostgres(directory, settings=FAST) as server:
        assert ask(server.url(), "SELECT 1") == 1
    with pytest.raises(ValueError, match="not the name"):
        EmbeddedPostgres(directory, settings={"fsync=off -c x": "1"})


async def test_starts_inside_a_running_event_loop(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=FAST) as server:
        connection = await asyncpg.connect(server.url(user="fleetgraph_platform"))
        assert await connection.fetchval("SELECT current_user") == "fleetgraph_platform"
        await connection.close()
